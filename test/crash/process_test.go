// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output collects what a process writes.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// keep writes all of it into a file that stays, and shows its end: what a program says at debug level would bury what the
// test has to say.
func (o *output) keep(t testing.TB, who string) {
	t.Helper()
	said := o.String()
	path := "no file"
	file, err := os.CreateTemp("", "crash-*.log") //nolint:usetesting // the directory of the test goes with it
	if err == nil {
		path = file.Name()
		_, err = file.WriteString(said)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Logf("what %s said could not be kept: %v", who, err)
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	shown := lines[max(0, len(lines)-shownLines):]
	t.Logf("%s said %d lines, kept in %s; the last %d:\n%s", who, len(lines), path, len(shown), strings.Join(shown, "\n"))
}

// shownLines is how much of a program's output is shown of a test that has failed.
const shownLines = 10

// process is one run of the program.
type process struct {
	command *exec.Cmd
	output  *output
	ended   chan struct{}
}

// launch starts the program. It is killed when the test ends, if it still runs then.
func launch(t testing.TB, arguments ...string) *process {
	t.Helper()
	// The end of the test's context would kill it before the cleanups, which may still have to do with it.
	command := exec.CommandContext(context.WithoutCancel(t.Context()), program, arguments...)
	p := &process{command: command, output: &output{}, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = p.output, p.output
	if err := p.command.Start(); err != nil {
		t.Fatalf("start the program: %v", err)
	}
	go func() {
		defer close(p.ended)
		// How it ended is in ProcessState.
		_ = p.command.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			p.output.keep(t, fmt.Sprintf("the program, pid %d, which ended with %d,", p.command.Process.Pid, p.command.ProcessState.ExitCode()))
		}
	})
	return p
}

// kill ends the process as a crash does, and returns when it is gone.
func (p *process) kill() {
	// An error means that it is gone already.
	_ = p.command.Process.Kill()
	<-p.ended
}

// terminate asks it to end, as Kubernetes does.
func (p *process) terminate(t testing.TB) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("send SIGTERM: %v", err)
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// exit waits until it has ended by itself, and returns its exit code.
func (p *process) exit(t testing.TB) int {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		t.Fatalf("the program still runs after %s", patience)
	}
	return p.command.ProcessState.ExitCode()
}

// finish ends it in good order.
func (p *process) finish(t testing.TB) {
	t.Helper()
	p.terminate(t)
	if code := p.exit(t); code != 0 {
		t.Fatalf("the program ended with %d after SIGTERM", code)
	}
}
