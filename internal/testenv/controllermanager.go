// SPDX-License-Identifier: Apache-2.0

package testenv

import (
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
	process *os.Process
	logPath string
	ended   chan error
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
	manager := &controllerManager{logPath: filepath.Join(e.directory, "controller-manager.log"), ended: make(chan error, 1)}
	log, err := os.Create(manager.logPath)
	if err != nil {
		return nil, fmt.Errorf("create the log of kube-controller-manager: %w", err)
	}
	defer log.Close()

	command := exec.Command(program, controllerManagerArguments(kubeconfig, e.plane.ControlPlane.APIServer.CertDir)...)
	command.Stdout, command.Stderr = log, log
	// A group of its own: an interrupt at the terminal is for the test, which ends this process itself.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start kube-controller-manager: %w", err)
	}
	manager.process = command.Process
	go func() { manager.ended <- command.Wait() }()
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
	select {
	case err := <-m.ended:
		log, readErr := os.ReadFile(m.logPath)
		if err == nil {
			err = errors.New("exit status 0")
		}
		return errors.Join(fmt.Errorf("kube-controller-manager ended early: %w\n%s", err, tail(log)), readErr)
	default:
	}
	if err := m.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end kube-controller-manager: %w", err)
	}
	timer := time.NewTimer(controllerManagerGrace)
	defer timer.Stop()
	select {
	case <-m.ended:
		return nil
	case <-timer.C:
	}
	if err := m.process.Kill(); err != nil {
		return fmt.Errorf("kill kube-controller-manager: %w", err)
	}
	<-m.ended
	return nil
}

// tail returns the last lines of a log.
func tail(log []byte) string {
	const length = 2048
	return string(log[max(0, len(log)-length):])
}
