#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh NAME OUTPUT: build the one tool that hack/tools/NAME/go.mod pins.
set -euo pipefail

name=$1 output=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root/hack/tools/$name"
export CGO_ENABLED=0 GOWORK=off
"$root/hack/progress.sh" "building $(basename "$output")" \
	go build -trimpath -ldflags "-s -w" -o "$output" "$(awk '$1 == "tool" {print $2}' go.mod)"
# go build leaves the time of an unchanged file alone, and make would come back each time.
touch "$output"
