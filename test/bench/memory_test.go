// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const many = 5000

// BenchmarkMemory reads the resident memory of the real program: with nothing to look after, after it has connected
// 5,000 connections, and freshly started with them.
func BenchmarkMemory(b *testing.B) {
	server, namespace := startProvider(b), newNamespace(b)
	kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
	config, err := plane.Controller(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := testenv.WriteKubeconfig(config, kubeconfig); err != nil {
		b.Fatal(err)
	}
	empty, stop := startProgram(b, kubeconfig, namespace)
	b.ReportMetric(resident(b, empty), "0-connections-MiB")
	createApplication(b, namespace, "app", server.URL)
	inParallel(b, many, func(i int) error {
		c := newConnection(namespace, fmt.Sprintf("c-%05d", i), "app")
		c.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: c.Name}
		c.Spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantClientCredentials}
		return plane.Client().Create(b.Context(), c)
	})
	waitReady(b, namespace, many)
	b.ReportMetric(resident(b, empty), "after-connecting-5000-MiB")
	stop()
	fresh, stop := startProgram(b, kubeconfig, namespace)
	b.ReportMetric(resident(b, fresh), "started-with-5000-MiB")
	stop()
	b.ReportMetric(0, "ns/op")
}

// startProgram starts bin/oauth-operator and waits until it is ready.
func startProgram(b *testing.B, kubeconfig, namespace string) (pid int, stop func()) {
	b.Helper()
	const probes = "127.0.0.1:18081"
	command := exec.CommandContext(context.WithoutCancel(b.Context()), filepath.Join(plane.Root, "bin", "oauth-operator"), "controller",
		"--kubeconfig", kubeconfig, "--watch-namespaces", namespace, "--allow-private-networks", "127.0.0.0/8",
		"--metrics-bind-address", "0", "--health-probe-bind-address", probes, "--log-level", "error")
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	err := testenv.Wait(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+probes+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz answers %s", response.Status)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return command.Process.Pid, func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
	}
}

// resident returns the resident memory of a process in MiB.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kilobytes) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
