// SPDX-License-Identifier: Apache-2.0

// Command demo tells the product's story on one machine and without a cluster: a real control plane, a real OAuth server
// (fosite), the operator's own binary under the permissions of its installation, and the samples of config/samples. It
// prints what a person at a terminal would see, checks each step, and ends everything that it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	hold := flag.Bool("hold", false, "before the deletions, wait for Enter or Ctrl-C and let the reader look around with kubectl")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out, started := newConsole(os.Stdout), time.Now()
	err := run(ctx, out, *hold)
	switch {
	case err == nil:
		out.say("\ndemo: done in %.0f s", time.Since(started).Seconds())
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		out.say("\ndemo: interrupted; all that was started has ended")
		os.Exit(1)
	default:
		fmt.Fprintf(os.Stderr, "\ndemo: failed: %v\n", err)
		os.Exit(1)
	}
}

// run tells the story between raising the stage and striking it, which happens however the story ends.
func run(ctx context.Context, out *console, hold bool) (err error) {
	out.step("A control plane, an OAuth server, and the operator")
	stage, err := raise(ctx, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.strike()) }()
	story, err := newStory(stage, out, hold)
	if err != nil {
		return err
	}
	if err := story.tell(stage.alive); err != nil {
		return errors.Join(err, stage.operator.lastWords(err))
	}
	return nil
}
