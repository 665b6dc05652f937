// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const patience = 10 * time.Second

// mount is a directory that a Secret is mounted at, kept as a kubelet does.
type mount struct {
	t       *testing.T
	path    string
	version int
}

func newMount(t *testing.T) *mount {
	t.Helper()
	t.Parallel()
	return &mount{t: t, path: t.TempDir()}
}

// put replaces all files at once: the link moves to the new version, and the old one goes.
func (m *mount) put(files map[string]string) {
	m.t.Helper()
	before := fmt.Sprintf("..v%d", m.version)
	m.version++
	now := fmt.Sprintf("..v%d", m.version)
	m.must(os.Mkdir(filepath.Join(m.path, now), 0o700))
	for name, content := range files {
		m.must(os.WriteFile(filepath.Join(m.path, now, name), []byte(content), 0o600))
	}
	m.must(os.Symlink(now, filepath.Join(m.path, "..data_tmp")))
	m.must(os.Rename(filepath.Join(m.path, "..data_tmp"), filepath.Join(m.path, "..data")))
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.path, name)); !errors.Is(err, os.ErrExist) {
			m.must(err)
		}
	}
	m.must(os.RemoveAll(filepath.Join(m.path, before)))
}

func (m *mount) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Error(err) // Not Fatal: versions are swapped beside the test, too.
	}
}

// lines is a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, args)
	}, funcr.Options{Verbosity: 1})
}

func (l *lines) with(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func encoded(t *testing.T, s Set) string {
	t.Helper()
	content, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func has(d *Dir, s Set) error {
	if got := fmt.Sprint(ids(d.Keys())); got != fmt.Sprint(ids(s)) {
		return fmt.Errorf("the keys are %s, want %v", got, ids(s))
	}
	return nil
}

func hasWebhook(d *Dir, application types.UID, want string) error {
	if secret, _ := d.WebhookSecret(application); secret.Reveal() != want {
		return fmt.Errorf("the webhook secret of %s is %q, want %q", application, secret.Reveal(), want)
	}
	return nil
}

// run keeps a Dir up to date until the test ends.
func run(t *testing.T, d *Dir) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestDirFollowsTheKubelet(t *testing.T) {
	m := newMount(t)
	first, second := aged(0), aged(0, 31*day)
	m.put(map[string]string{FileSealing: encoded(t, first), WebhookFile("a"): "secret of a\n", WebhookFile("empty"): "", "other": "?"})
	log := &lines{}
	d := NewDir(m.path, log.logger())
	if err := errors.Join(d.Ready(), has(d, first), hasWebhook(d, "a", "secret of a\n")); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.WebhookSecret("empty"); ok {
		t.Error("an empty file is taken for a secret")
	}
	run(t, d)
	m.put(map[string]string{FileSealing: encoded(t, second), WebhookFile("b"): "secret of b"})
	testenv.Eventually(t, patience, func() error {
		return errors.Join(has(d, second), hasWebhook(d, "b", "secret of b"), hasWebhook(d, "a", ""))
	})
	if n := log.with("secret of"); n > 0 {
		t.Errorf("%d lines of the log show a secret", n)
	}
}

// TestDirLooksWithoutBeingTold is about file systems that tell of no changes: nothing watches here but the clock.
func TestDirLooksWithoutBeingTold(t *testing.T) {
	m := newMount(t)
	clock := clocktesting.NewFakeClock(start())
	// The directory is not there when it is first watched, so nobody tells when it comes.
	path := filepath.Join(m.path, "later")
	log := &lines{}
	d := newDir(path, log.logger(), clock)
	run(t, d)
	testenv.Eventually(t, patience, func() error {
		if !clock.HasWaiters() {
			return errors.New("nobody waits for the clock")
		}
		return nil
	})
	if err := d.Ready(); err == nil || !strings.Contains(err.Error(), "gateway-keys") {
		t.Errorf("Ready says %v, want what to mount", err)
	}
	set := aged(0)
	m.must(os.Mkdir(path, 0o700))
	m.must(os.WriteFile(filepath.Join(path, FileSealing), []byte(encoded(t, set)), 0o600))
	testenv.Eventually(t, patience, func() error {
		clock.Step(lookAgain)
		return errors.Join(d.Ready(), has(d, set))
	})
	if n := log.with("has no keys"); n != 1 {
		t.Errorf("that there are no keys was logged %d times, want once", n)
	}
}

func TestDirNotReady(t *testing.T) {
	tests := map[string]struct {
		reason string
		make   func(m *mount)
		want   string
	}{
		"nothing mounted": {"it says what to mount", func(m *mount) { m.path = filepath.Join(m.path, "none") }, "mount the Secret gateway-keys"},
		"no file":         {"it says who writes it", func(*mount) {}, "no file sealing.json"},
		"optional Secret": {"an optional Secret that is not there gives an empty version", func(m *mount) { m.put(nil) }, "no file sealing.json"},
		"broken":          {"it says which file", func(m *mount) { m.put(map[string]string{FileSealing: "hush"}) }, "sealing.json is not a key set"},
		"a directory":     {"it is not read", func(m *mount) { m.must(os.Mkdir(filepath.Join(m.path, FileSealing), 0o700)) }, "not a file of at most"},
		"huge webhook": {"it is not read", func(m *mount) {
			m.put(map[string]string{FileSealing: encoded(m.t, aged(0)), WebhookFile("a"): strings.Repeat("x", maxFile+1)})
		}, "webhook-a is not a file of at most"},
		"a link to nowhere": {"it is not waited for for ever", func(m *mount) {
			m.must(os.Symlink("nowhere", filepath.Join(m.path, FileSealing)))
		}, "changed while it was read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMount(t)
			test.make(m)
			log := &lines{}
			d := NewDir(m.path, log.logger())
			err := d.Ready()
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), m.path) {
				t.Errorf("%s: Ready says %v, want %q and the directory", test.reason, err, test.want)
			}
			if _, ok := d.Keys().Sealing(start()); ok {
				t.Error("it has keys")
			}
			d.refresh()
			if n := log.with(`"error"=`); n != 1 {
				t.Errorf("%d errors were logged, want one", n)
			}
			if log.with("hush") > 0 || strings.Contains(fmt.Sprint(err), "hush") {
				t.Error("the content is shown")
			}
		})
	}
}

func TestDirKeepsTheLastGoodVersion(t *testing.T) {
	m := newMount(t)
	set, webhook := aged(0), map[string]string{FileSealing: "", WebhookFile("a"): "newer"}
	m.put(map[string]string{FileSealing: encoded(t, set), WebhookFile("a"): "good"})
	log := &lines{}
	d := NewDir(m.path, log.logger())
	kept := func(why string) {
		t.Helper()
		d.refresh()
		d.refresh()
		if err := errors.Join(d.Ready(), has(d, set), hasWebhook(d, "a", "good")); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	webhook[FileSealing] = "broken"
	m.put(webhook)
	kept("the key set is broken")
	if n := log.with("goes on with those that it has"); n != 1 {
		t.Errorf("that was logged %d times, want once", n)
	}
	m.put(map[string]string{})
	kept("the files are gone")
	m.must(os.RemoveAll(m.path))
	kept("the directory is gone")
	if n := log.with("goes on with those that it has"); n != 3 {
		t.Errorf("three causes were logged %d times", n)
	}
	m.must(os.Mkdir(m.path, 0o700))
	next := aged(0)
	m.put(map[string]string{FileSealing: encoded(t, next)})
	d.refresh()
	d.refresh()
	if err := errors.Join(d.Ready(), has(d, next), hasWebhook(d, "a", "")); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
	if n := log.with("read the gateway's keys"); n != 2 {
		t.Errorf("good versions were logged %d times, want twice", n)
	}
}

// TestDirIsReadWhole swaps versions as fast as it can: no reader sees a mixture of two.
func TestDirIsReadWhole(t *testing.T) {
	m := newMount(t)
	sets := []Set{aged(0), aged(0, day)}
	versions := make([]map[string]string, len(sets))
	for i, set := range sets {
		versions[i] = map[string]string{FileSealing: encoded(t, set), WebhookFile("a"): fmt.Sprint(i)}
	}
	m.put(versions[0])
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				m.put(versions[i%len(versions)])
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	read := 0
	for range 500 {
		v, err := load(m.path)
		if errors.Is(err, errTakenAway) {
			continue // It was swapped that often in a row.
		}
		if err != nil {
			t.Fatal(err)
		}
		read++
		if got, want := v.webhooks["a"].Reveal(), fmt.Sprint(len(v.keys.Keys)-1); got != want {
			t.Fatalf("the webhook is of version %s, and the keys of version %s", got, want)
		}
	}
	if read == 0 {
		t.Error("nothing could be read")
	}
}
