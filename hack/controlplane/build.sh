#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh DIRECTORY NAME...: compile parts of a Kubernetes control plane (etcd, kube-apiserver,
# kube-controller-manager) from the modules that go.mod pins. DIRECTORY is named for the version; what is there stays.
set -euo pipefail

directory=$1
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
version=$(basename "$directory")
cd "$root/hack/controlplane"
export CGO_ENABLED=0 GOWORK=off

missing=()
for name in "$@"; do
	[[ -x $directory/$name ]] || missing+=("$name")
done
if ((${#missing[@]} == 0)); then
	exit 0
fi
echo "control plane $version: compiling ${missing[*]} once (about 7 minutes on 2 cores with nothing cached)"

minor=${version#v1.}
stamp=k8s.io/component-base/version
ldflags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
for name in "${missing[@]}"; do
	package=k8s.io/kubernetes/cmd/$name
	if [[ $name == etcd ]]; then
		package=go.etcd.io/etcd/server/v3
	fi
	# Built beside its place and moved: a build that is interrupted leaves nothing that looks finished.
	"$root/hack/progress.sh" "building $name" \
		go build -trimpath -ldflags "$ldflags" -o "$directory/.$name.partial" "$package"
	mv "$directory/.$name.partial" "$directory/$name"
done
