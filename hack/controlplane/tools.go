//go:build tools

// Package controlplane pins the programs of a real Kubernetes control plane, so that tests and the demo can
// compile them from Go modules instead of downloading binaries.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
