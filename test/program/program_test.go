// SPDX-License-Identifier: Apache-2.0

package program_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
)

// start runs a script of the shell, in the place of the product.
func start(t *testing.T, ended func(error), script string) *program.Process {
	t.Helper()
	p, err := program.Start("/bin/sh", filepath.Join(t.TempDir(), "log"), ended, "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// said waits until a process has written something.
func said(t *testing.T, p *program.Process, what string) {
	t.Helper()
	testenv.Eventually(t, 10*time.Second, func() error {
		if now := p.LastWords(); !strings.Contains(now, what) {
			return errors.New("it says " + now)
		}
		return nil
	})
}

func TestStop(t *testing.T) {
	tests := map[string]struct {
		script string
		agrees bool
	}{
		"it ends in good order":         {script: "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done", agrees: true},
		"it does not listen to signals": {script: "echo ready; exec sleep 60", agrees: true},
		"it ends with an error":         {script: "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t, func(err error) { t.Errorf("it ended by itself: %v", err) }, test.script)
			said(t, p, "ready")
			if err := p.Stop(); (err == nil) != test.agrees {
				t.Errorf("got %v", err)
			}
			if err := syscall.Kill(p.PID, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the process is still there: %v", err)
			}
		})
	}
}

func TestEndsByItself(t *testing.T) {
	told := make(chan error, 1)
	p := start(t, func(err error) { told <- err }, "echo why; exit 1")
	if err := <-told; err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("told %v", err)
	}
	said(t, p, "why")
	if p.Stop() == nil {
		t.Error("a process that failed is said to have agreed")
	}
}

func TestStartNothing(t *testing.T) {
	if _, err := program.Start(filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "log"), nil, "x"); err == nil {
		t.Error("no error")
	}
}

func TestFreePort(t *testing.T) {
	port, err := program.FreePort()
	if err != nil || port == 0 {
		t.Errorf("port %d, %v", port, err)
	}
}
