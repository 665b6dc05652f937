// SPDX-License-Identifier: Apache-2.0

// Command demo tells the product's story on one machine and without a cluster: a real control plane, an OAuth server, the
// operator's own binary under the permissions of its installation, and the samples of config/samples. It prints what a
// person at a terminal would see, checks each step, and ends everything that it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() {
	hold := flag.Bool("hold", false, "before the deletions, wait for Enter or Ctrl-C and let the reader look around with kubectl")
	click := flag.Bool("click", false, "in the play browser, have the demo click by itself; it does where nobody is at the terminal")
	play := flag.String("play", "samples",
		"what to show: samples (on fosite, a real OAuth server), increase (on a server with Increase's API), or browser (you click)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out, started := newConsole(os.Stdout), time.Now()
	err := run(ctx, out, *play, reader{hold: *hold, away: *click || !term.IsTerminal(int(os.Stdin.Fd()))})
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

// reader is who follows the story.
type reader struct {
	// hold : the story waits before the deletions.
	hold bool
	// away : nobody is there to click.
	away bool
}

// play is one story with the servers that it needs.
type play struct {
	// servers says what else there is besides control plane and operator.
	servers string
	// serve starts them.
	serve func(*stage, *console) error
	// parts are told one after the other.
	parts func(*story) []func(context.Context) error
}

func plays() map[string]play {
	return map[string]play{
		"samples":  {servers: "an OAuth server", serve: (*stage).startProvider, parts: (*story).ofSamples},
		"increase": {servers: "a server with Increase's API", serve: (*stage).startIncrease, parts: ofIncrease},
		"browser":  {servers: "an OAuth server with people", serve: (*stage).startForBrowser, parts: ofBrowser},
	}
}

// run tells the story between raising the stage and striking it, which happens however the story ends.
func run(ctx context.Context, out *console, name string, reader reader) (err error) {
	chosen, ok := plays()[name]
	if !ok {
		return fmt.Errorf("there is no demo %q; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(plays())), ", "))
	}
	out.step("A control plane, " + chosen.servers + ", and the operator")
	stage, err := raise(ctx, out, chosen.serve)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.strike()) }()
	story, err := newStory(stage, out, reader)
	if err != nil {
		return err
	}
	if err := story.tell(stage.alive, chosen.parts(story)); err != nil {
		return errors.Join(err, stage.operator.lastWords(err))
	}
	return nil
}
