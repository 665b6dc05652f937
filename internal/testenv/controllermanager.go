// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const controllerManagerGrace = 10 * time.Second

// controllerManager is a running kube-controller-manager. Its log is a file, whose end is part of the error when the
// program dies early.
type controllerManager struct {
	logPath string
	// terminate sends SIGTERM, and SIGKILL when that has had no effect for the grace period.
	terminate context.CancelFunc
	// ended is closed when the process is gone and outcome says how.
	ended   chan struct{}
	outcome string
}

func (e *Environment) startControllerManager() (*controllerManager, error) {
	program, err := asset(e.Root, "kube-controller-manager")
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(e.directory, "controller-manager.kubeconfig")
	if err := WriteKubeconfig(e.Config, kubeconfig); err != nil {
		return nil, err
	}
	manager := &controllerManager{logPath: filepath.Join(e.directory, "controller-manager.log"), ended: make(chan struct{})}
	log, err := os.Create(manager.logPath)
	if err != nil {
		return nil, fmt.Errorf("create the log of kube-controller-manager: %w", err)
	}

	var ctx context.Context
	ctx, manager.terminate = context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, controllerManagerArguments(kubeconfig, e.plane.ControlPlane.APIServer.CertDir)...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = controllerManagerGrace
	command.Stdout, command.Stderr = log, log
	// A group of its own: an interrupt at the terminal is for the test, which ends this process itself.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		manager.terminate()
		return nil, errors.Join(fmt.Errorf("start kube-controller-manager: %w", err), log.Close())
	}
	go func() {
		// The error repeats the state; the log is closed because nobody writes to it any more.
		_ = errors.Join(command.Wait(), log.Close())
		manager.outcome = command.ProcessState.String()
		close(manager.ended)
	}()
	return manager, nil
}

func controllerManagerArguments(kubeconfig, certificates string) []string {
	controllers := []string{
		"namespace-controller", "garbage-collector-controller", "clusterrole-aggregation-controller",
		"serviceaccount-controller", "serviceaccount-token-controller",
	}
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--controllers=" + strings.Join(controllers, ","),
		"--service-account-private-key-file=" + filepath.Join(certificates, "sa-signer.key"),
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
}

// stop ends the process. That it had ended before is an error.
func (m *controllerManager) stop() error {
	defer m.terminate()
	select {
	case <-m.ended:
		log, err := os.ReadFile(m.logPath)
		return errors.Join(fmt.Errorf("kube-controller-manager ended early: %s\n%s", m.outcome, tail(log)), err)
	default:
	}
	m.terminate()
	<-m.ended
	return nil
}

// tail returns the last lines of a log.
func tail(log []byte) string {
	const length = 2048
	return string(log[max(0, len(log)-length):])
}
