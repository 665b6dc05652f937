#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# browser-tools.sh DIRECTORY: what the tests in a browser need besides Go. Chromium and npm must be installed; what
# DIRECTORY/package-lock.json pins is installed beside it, unless it is there already.
set -euo pipefail

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v npm >/dev/null || missing+=(npm)
if ((${#missing[@]})); then
	echo "the tests in a browser need ${missing[*]}; on Debian: apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 2
fi

cd "$1"
installed=node_modules/.lock.sha256
pinned=$(sha256sum package-lock.json)
[[ -e $installed && $(<"$installed") == "$pinned" ]] && exit
# Packages are checked against the lock's hashes, and none may run a script of its own.
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
echo "$pinned" >"$installed"
