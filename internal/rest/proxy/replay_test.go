// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

func replayOf(body io.Reader) *replay {
	return newReplay(body, http.Header{"X-Sum": {"42"}, "X-Other": {"43"}}, newBuffers(maxReplayed), &watch{clock: clock.RealClock{}})
}

func TestReplay(t *testing.T) {
	for name, row := range map[string]struct {
		size       int
		rewindable bool
	}{"empty": {0, true}, "small": {5, true}, "as much as is kept": {maxReplayed, true}, "more": {maxReplayed + 1, false}} {
		t.Run(name, func(t *testing.T) {
			content := bytes.Repeat([]byte("x"), row.size)
			r := replayOf(bytes.NewReader(content))
			trailer := http.Header{"X-Sum": nil}
			if got, err := io.ReadAll(r.open(trailer)); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if len(trailer) != 1 || trailer.Get("X-Sum") != "42" {
				t.Errorf("%v: only what was announced is passed on", trailer)
			}
			if r.rewindable() != row.rewindable || r.hold() != row.rewindable || r.read() != int64(row.size) {
				t.Errorf("rewindable: %t, read: %d", r.rewindable(), r.read())
			}
			r.release()
			got, err := io.ReadAll(r.open(nil))
			if row.rewindable && (err != nil || !bytes.Equal(got, content)) || !row.rewindable && !errors.Is(err, errGone) {
				t.Errorf("again: %d bytes, %v", len(got), err)
			}
			r.close(func() bool { return false })
		})
	}
}

// The first attempt is blocked in the caller's body when the second begins: nothing is lost or doubled.
func TestReplayOfABodyThatIsBeingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, write := io.Pipe()
		r := replayOf(body)
		first, second := r.open(nil), r.open(nil)
		firstGot := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(first)
			firstGot <- err
		}()
		_, _ = io.WriteString(write, "one ")
		synctest.Wait()
		if !r.stuck() || !r.hold() {
			t.Error("the first attempt is not blocked, or nothing can be sent again")
		}
		_ = first.Close()
		secondGot := make(chan string, 1)
		go func() {
			content, err := io.ReadAll(second)
			if err != nil {
				t.Error(err)
			}
			secondGot <- string(content)
		}()
		synctest.Wait()
		_, _ = io.WriteString(write, "two ") // The first attempt gets it, and keeps it for the second.
		synctest.Wait()
		r.release()
		_, _ = io.WriteString(write, "three")
		_ = write.Close()
		if got := <-secondGot; got != "one two three" {
			t.Errorf("%q", got)
		}
		if err := <-firstGot; !errors.Is(err, errGone) && err != nil {
			t.Error(err)
		}
	})
}

// While it is held, an attempt does not use up what can be sent again.
func TestHeldReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := replayOf(strings.NewReader("content"))
		if !r.hold() {
			t.Fatal("it cannot be sent again")
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.ReadAll(r.open(nil))
		}()
		synctest.Wait()
		if r.read() != 0 {
			t.Errorf("%d bytes were read", r.read())
		}
		r.release()
		<-done
		if r.read() != 7 {
			t.Errorf("%d bytes were read", r.read())
		}
	})
}

// Nobody reads from the body after close, however it is done.
func TestClosedReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, write := io.Pipe()
		r := replayOf(body)
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(r.open(nil))
			read <- err
		}()
		synctest.Wait()
		r.close(func() bool {
			go func() { _ = write.CloseWithError(context.Canceled) }()
			return true
		})
		if r.stuck() {
			t.Error("somebody still reads")
		}
		if err := <-read; !errors.Is(err, errGone) {
			t.Error(err)
		}
		if _, err := r.open(nil).Read(make([]byte, 1)); !errors.Is(err, errGone) {
			t.Error(err)
		}
	})
}

// A transport that finds its connection closed before it has written anything gets the body anew.
func TestBodyForAnotherConnection(t *testing.T) {
	for size, want := range map[int]bool{maxReplayed: true, maxReplayed + 1: false} {
		x := &exchange{body: replayOf(bytes.NewReader(make([]byte, size)))}
		request := x.request(t.Context())
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			t.Fatal(err)
		}
		again, err := request.GetBody()
		if (err == nil) != want {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !want {
			continue
		}
		if n, err := io.Copy(io.Discard, again); err != nil || n != int64(size) {
			t.Errorf("%d of %d bytes, %v", n, size, err)
		}
	}
}

func TestWatch(t *testing.T) {
	const header, idle, form = 10 * time.Second, 3 * time.Second, 5 * time.Second
	stuck := func() bool { return true }
	for name, row := range map[string]struct {
		// play has no bounds; it returns whether something stands still after it, and when.
		play  func(w *watch, body func() bool)
		stage stage
		after time.Duration // since the beginning; 0: never
		body  bool
	}{
		"no head":                             {func(*watch, func() bool) {}, asking, header, false},
		"a body that stalls":                  {func(*watch, func() bool) {}, sending, idle, true},
		"a body that goes on":                 {func(w *watch, _ func() bool) { after(2*time.Second, w.touch) }, sending, 2*time.Second + idle, true},
		"no head for a body":                  {func(w *watch, _ func() bool) { after(2*time.Second, w.bodySent) }, asking, 2*time.Second + header, true},
		"bytes are no head":                   {func(w *watch, _ func() bool) { after(2*time.Second, w.touch) }, asking, header, false},
		"an answer that stalls":               {func(w *watch, _ func() bool) { after(2*time.Second, w.answered) }, answering, 2*time.Second + idle, true},
		"the rest of the body after the head": {func(w *watch, _ func() bool) { w.answered(); after(2*time.Second, w.bodySent) }, answering, idle, true},
		"a pause":                             {func(w *watch, _ func() bool) { after(time.Second, w.pause) }, pausing, 0, true},
		"a form":                              {func(w *watch, _ func() bool) { w.read(); after(2*time.Second, w.touch) }, reading, form, true},
		"the end":                             {func(w *watch, _ func() bool) { after(time.Second, func() { _ = w.end() }) }, pausing, 0, true},
		"another attempt": {func(w *watch, body func() bool) {
			w.pause()
			after(time.Minute, func() { w.begin(func(error) {}, body) })
		}, sending, time.Minute + idle, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, fired := time.Now(), []time.Duration(nil)
				w := &watch{clock: clock.RealClock{}, header: header, idle: idle, form: form, expired: func(late *lateError) {
					fired = append(fired, time.Since(began))
					if late.callers != row.body || late.Error() == "" {
						t.Errorf("%+v", late)
					}
				}}
				body := stuck
				if !row.body {
					body = nil
				}
				w.begin(func(error) {}, body)
				row.play(w, body)
				<-time.After(time.Hour)
				synctest.Wait()
				late := w.end()
				if row.after == 0 {
					if late != nil || len(fired) > 0 {
						t.Errorf("%v at %s", late, fired)
					}
					return
				}
				if late == nil || late.stage != row.stage || len(fired) != 1 || fired[0] != row.after {
					t.Errorf("%v at %s, want stage %d at %s", late, fired, row.stage, row.after)
				}
			})
		})
	}
}

// after does something later, in the time of a synctest bubble.
func after(d time.Duration, do func()) { time.AfterFunc(d, do) }
