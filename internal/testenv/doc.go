// SPDX-License-Identifier: Apache-2.0

// Package testenv runs a real Kubernetes control plane on loopback: etcd and kube-apiserver with RBAC on, the
// operator's CRDs installed and, on request, kube-controller-manager. The programs are those that
// `make controlplane` compiled; KUBEBUILDER_ASSETS names a directory of others.
//
// One environment for each test binary, started in TestMain and shared by its tests, is the norm: starting takes
// seconds, and Environment.Namespace keeps tests apart. Demo and benchmarks use the same environment.
package testenv
