#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# progress.sh LABEL COMMAND...: run a long command and say every 15 seconds that it is still at work.
set -euo pipefail

label=$1
shift
start=$SECONDS
echo "$label: started"
"$@" &
command=$!
trap 'kill "$command" 2>/dev/null || true' INT TERM
# One-second steps, so that a command that ends soon is not waited for.
while kill -0 "$command" 2>/dev/null; do
	sleep 1
	elapsed=$((SECONDS - start))
	if ((elapsed > 0 && elapsed % 15 == 0)); then
		echo "$label: ${elapsed} s"
	fi
done
if ! wait "$command"; then
	echo "$label: failed after $((SECONDS - start)) s" >&2
	exit 1
fi
echo "$label: done in $((SECONDS - start)) s"
