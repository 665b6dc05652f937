#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# verify-generate.sh CONTROLLER_GEN: generate everything elsewhere and compare it with the repository, committed or not.
set -euo pipefail

cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
hack/generate.sh "$1" "$fresh"

stale=0
while IFS= read -r file; do
	diff -u "$file" "$fresh/$file" || stale=1
done < <(cd "$fresh" && find . -type f | sort)
# A CRD whose kind is gone is generated no more, so that the loop above does not see it.
diff <(ls config/crd/bases) <(ls "$fresh/config/crd/bases") || stale=1
if ((stale)); then
	echo "generated files are stale: run make generate and commit the result" >&2
	exit 1
fi
echo "generated files are up to date"
