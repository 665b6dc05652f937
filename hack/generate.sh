#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# generate.sh CONTROLLER_GEN OUTPUT: write every generated file below OUTPUT, at the place it has in the repository.
# The one list of what is generated: hack/verify-generate.sh compares all that this writes.
set -euo pipefail

controller_gen=$1 output=$2
cd "$(dirname "$0")/.."

rm -rf "$output/config/crd/bases"
mkdir -p "$output/api/v1alpha1" "$output/config/crd/bases" "$output/config/rbac"
"$controller_gen" object:headerFile=hack/boilerplate.go.txt paths=./api/... \
	output:object:dir="$output/api/v1alpha1"
"$controller_gen" crd paths=./api/... output:crd:dir="$output/config/crd/bases"
"$controller_gen" rbac:roleName=oauth-operator-controller paths=./internal/... \
	output:rbac:dir="$output/config/rbac"
mkdir -p "$output/docs"
go run ./hack/apidoc "$output/config/crd/bases" "$output/docs/reference.md"
go run ./hack/providerdoc hack/providerdoc/habits.yaml "$output/docs/providers.md"
go run ./hack/openapidoc "$output/docs/openapi.json"
