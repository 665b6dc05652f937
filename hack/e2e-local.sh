#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# e2e-local.sh CLUSTER_DIR: run the real-cluster suite on a single-node cluster of this machine, without a registry and
# without docker. CLUSTER_DIR has build.sh, up.sh and down.sh, which compile, start and end that cluster; it lives in
# mount, process and network namespaces of its own below KC_HOME. Linux and root are needed.
#
# Where the cluster's binaries are there already this takes a few minutes; compiling them takes about 15 on 2 cores.
set -euo pipefail

cluster=$(cd "${1:?usage: e2e-local.sh CLUSTER_DIR}" && pwd)
cd "$(dirname "$0")/.."
export KC_HOME=${KC_HOME:-$HOME/.cache/onenode}
export E2E_IMAGE=e2e.local/oauth-operator:e2e
export E2E_TOOLS_IMAGE=e2e.local/oauth-operator-e2e-tools:e2e
# What the suite leaves after a failure goes with the cluster.
export E2E_KEEP=1

scratch=$(mktemp -d)
started=
clean_up() {
	local status=$?
	trap - EXIT
	if [[ -n $started ]]; then
		if ((status != 0)); then
			echo "==> e2e: failed; the last lines of the node's logs" >&2
			tail -n 15 "$KC_HOME"/run/log/{node,kubelet,containerd,apiserver}.log >&2 || true
		fi
		"$cluster/down.sh"
	fi
	rm -rf "$scratch"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() {
	printf '==> e2e: %s (at %d s)\n' "$1" "$SECONDS"
}

fail() {
	echo "e2e: $1" >&2
	exit 1
}

# check says what is missing before anything is built.
check() {
	[[ $EUID -eq 0 ]] || fail "a node needs root"
	unshare --mount --pid --net --fork true 2>/dev/null || fail "this machine lets nobody make namespaces (unshare)"
	[[ -e /sys/fs/cgroup/cgroup.controllers || -d /sys/fs/cgroup/memory ]] || fail "no cgroups at /sys/fs/cgroup"
	if [[ -s $KC_HOME/run/holder.pid ]] && kill -0 "$(<"$KC_HOME/run/holder.pid")" 2>/dev/null; then
		fail "a cluster runs already; $cluster/down.sh ends it"
	fi
}

# build_cluster compiles what is not there yet, and installs the Debian packages that it needs.
build_cluster() {
	local command
	for command in gcc pkg-config ip iptables nft conntrack socat; do
		if ! command -v "$command" >/dev/null; then
			# Package lists of a fresh machine are old or not there at all.
			apt-get update -qq
			break
		fi
	done
	"$cluster/build.sh"
}

# image PACKAGE COMMAND IMAGE: an image of one static binary.
image() {
	CGO_ENABLED=0 go build -C "$1" -trimpath -ldflags "-s -w" -o "$scratch/$2" .
	"$KC_HOME/bin/mkimage" -o "$scratch/$2.tar" -name "$3" -entrypoint "/$2" -user 65532 "/$2=$scratch/$2"
}

# load puts an image into the node's container runtime.
load() {
	nsenter --target "$(<"$KC_HOME/run/init.pid")" --mount --net "$KC_HOME/bin/ctr" \
		--address /run/containerd/containerd.sock --namespace k8s.io images import "$1" >/dev/null
}

export GOWORK=off
check
step "the cluster's binaries"
build_cluster
step "images"
image cmd/oauth-operator oauth-operator "$E2E_IMAGE"
image test/e2e/tools tools "$E2E_TOOLS_IMAGE"
# Compiled before the cluster competes for the processors.
go test -C test -tags e2e -run '^$' ./e2e/... >/dev/null
step "start the cluster"
started=yes
"$cluster/up.sh"
for tar in "$scratch"/*.tar; do
	load "$tar"
done
step "make test-e2e"
KUBECONFIG=$KC_HOME/run/pki/host-admin.kubeconfig make test-e2e
step "passed; end the cluster"
