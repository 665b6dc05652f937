// SPDX-License-Identifier: Apache-2.0

// Package program runs the product's own binary as processes of a test or a demo, each of which is ended by whoever has
// started it.
package program

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// grace is how long a process may take to end before it is killed.
const grace = 10 * time.Second

// Build compiles the product into a directory and returns the path of the binary. root is that of its module.
func Build(ctx context.Context, root, directory string) (string, error) {
	path := filepath.Join(directory, "oauth-operator")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/oauth-operator")
	build.Dir, build.Env = root, append(os.Environ(), "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, output)
	}
	return path, nil
}

// Process is one run of the binary.
type Process struct {
	// PID while it runs.
	PID int

	logPath string
	command *exec.Cmd
	// killed tells that Kill was called.
	killed atomic.Bool
	// terminate sends SIGTERM, and SIGKILL if that has no effect.
	terminate context.CancelFunc
	// ended is closed when the process is gone and outcome says how.
	ended   chan struct{}
	outcome string
}

// Start runs the binary. What it says goes to the end of the file logPath. A process that ends although nobody has called
// Stop or Kill is told to ended, unless that is nil.
func Start(path, logPath string, ended func(error), arguments ...string) (*Process, error) {
	log, err := os.OpenFile(logPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	p := &Process{logPath: logPath, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.terminate = cancel
	command := exec.CommandContext(ctx, path, arguments...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = grace
	command.Stdout, command.Stderr = log, log
	// A group of its own: Ctrl-C at the terminal is for whoever has started it, which ends it itself.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("start %s: %w", filepath.Base(path), err), log.Close())
	}
	p.PID, p.command = command.Process.Pid, command
	go func() {
		// The error repeats the state; the log is closed because nobody writes to it any more.
		_ = errors.Join(command.Wait(), log.Close())
		p.outcome = command.ProcessState.String()
		close(p.ended)
		if ctx.Err() == nil && !p.killed.Load() && ended != nil {
			ended(fmt.Errorf("%s %s ended: %s", filepath.Base(path), arguments[0], p.outcome))
		}
	}()
	return p, nil
}

// Stop ends the process as Kubernetes does, and wants it to agree.
func (p *Process) Stop() error {
	p.terminate()
	<-p.ended
	switch p.outcome {
	case "exit status 0", "signal: terminated": // The latter: before it had begun to listen for signals.
		return nil
	}
	return fmt.Errorf("pid %d ended with %s, not exit status 0", p.PID, p.outcome)
}

// Kill ends the process as a crash does, and returns when it is gone.
func (p *Process) Kill() {
	p.killed.Store(true)
	// An error means that it is gone already.
	_ = p.command.Process.Kill()
	<-p.ended
	p.terminate() // It has nobody to end; what waits for that goes.
}

// LastWords is the end of its log.
func (p *Process) LastWords() string {
	log, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	const lines = 30
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// FreePort is a port of 127.0.0.1 that nobody listens on now.
func FreePort() (int, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.Join(errors.New("find a free port: no TCP address"), listener.Close())
	}
	return address.Port, listener.Close()
}
