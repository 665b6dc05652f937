// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// operator is the controller of bin/oauth-operator as a process of its own.
type operator struct {
	metricsURL string
	logPath    string
	pid        int
	// terminate sends SIGTERM, and SIGKILL if that has no effect.
	terminate context.CancelFunc
	// ended is closed when the process is gone and outcome says how.
	ended   chan struct{}
	outcome string
}

const operatorGrace = 10 * time.Second

// startOperator runs the controller with a config. When it ends, fail is told.
func startOperator(root, directory string, config *rest.Config, fail context.CancelCauseFunc) (*operator, error) {
	program := filepath.Join(root, "bin", "oauth-operator")
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%w: run make build", err)
	}
	kubeconfig := filepath.Join(directory, "operator.kubeconfig")
	if err := testenv.WriteKubeconfig(config, kubeconfig); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	o := &operator{
		metricsURL: "http://" + address + "/metrics", logPath: filepath.Join(directory, "operator.log"), ended: make(chan struct{}),
	}
	log, err := os.Create(o.logPath)
	if err != nil {
		return nil, fmt.Errorf("create the operator's log: %w", err)
	}
	var ctx context.Context
	ctx, o.terminate = context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, "controller",
		"--kubeconfig="+kubeconfig, "--allow-private-networks=127.0.0.0/8", "--leader-elect=false",
		"--metrics-bind-address="+address, "--metrics-secure=false", "--health-probe-bind-address=0")
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = operatorGrace
	command.Stdout, command.Stderr = log, log
	// A group of its own: Ctrl-C at the terminal is for the demo, which ends this process itself.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		o.terminate()
		return nil, errors.Join(fmt.Errorf("start the operator: %w", err), log.Close())
	}
	o.pid = command.Process.Pid
	go func() {
		// The error repeats the state; the log is closed because nobody writes to it any more.
		_ = errors.Join(command.Wait(), log.Close())
		o.outcome = command.ProcessState.String()
		close(o.ended)
		fail(fmt.Errorf("the operator ended: %s", o.outcome))
	}()
	return o, nil
}

// freeAddress is a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// stop ends the process as Kubernetes does, and wants it to agree.
func (o *operator) stop() error {
	o.terminate()
	<-o.ended
	switch o.outcome {
	case "exit status 0", "signal: terminated": // The latter: before it had begun to listen for signals.
		return nil
	}
	return fmt.Errorf("the operator ended with %s, not exit status 0", o.outcome)
}

// lastWords returns the end of the log as an error, unless it was the reader who ended the demo.
func (o *operator) lastWords(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return nil
	}
	log, err := os.ReadFile(o.logPath)
	if err != nil {
		return fmt.Errorf("read the operator's log: %w", err)
	}
	const lines = 30
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	return fmt.Errorf("the end of the operator's log:\n%s", strings.Join(all[max(0, len(all)-lines):], "\n"))
}
