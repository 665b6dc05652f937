// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// lookAgain is how often the directory is read although nothing was heard of a change: not all file systems tell.
	lookAgain = 10 * time.Second
	// dataLink is the link that a kubelet moves from one version of a mounted Secret to the next.
	dataLink = "..data"
	// maxFile bounds a file in bytes: that of a Secret.
	maxFile = 1 << 20
	// readAttempts bounds how often a version is followed that is taken away while it is read.
	readAttempts = 5
)

// Dir is a Source: the directory at which the Secret v1alpha1.GatewayKeysSecret is mounted. Each version of it is taken as
// a whole; when a newer one cannot be read, the last good one stays. Safe for concurrent use.
type Dir struct {
	path  string
	log   logr.Logger
	clock clock.WithTicker

	mu      sync.RWMutex
	current *version
	err     error // why the newest version could not be read
}

// version is what the directory held at one time. Nothing in it is changed.
type version struct {
	keys     Set
	webhooks map[types.UID]sensitive.String
}

var _ Source = &Dir{}

// NewDir makes a Dir and reads the directory. Whether that was possible is said by Ready. Run keeps it up to date.
func NewDir(path string, log logr.Logger) *Dir { return newDir(path, log, clock.RealClock{}) }

func newDir(path string, log logr.Logger, clock clock.WithTicker) *Dir {
	d := &Dir{path: path, log: log.WithValues("directory", path), clock: clock}
	d.refresh()
	return d
}

// Keys implements Source.
func (d *Dir) Keys() Set {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.current == nil {
		return Set{}
	}
	return d.current.keys
}

// WebhookSecret implements Source.
func (d *Dir) WebhookSecret(application types.UID) (sensitive.String, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.current == nil {
		return sensitive.String{}, false
	}
	secret, ok := d.current.webhooks[application]
	return secret, ok
}

// Ready implements Source. Keys that were read once stay good.
func (d *Dir) Ready() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.current == nil {
		return d.err
	}
	return nil
}

// Run reads the directory again when it changes, until ctx ends.
func (d *Dir) Run(ctx context.Context) {
	ticker := d.clock.NewTicker(lookAgain)
	defer ticker.Stop()
	var changed <-chan fsnotify.Event
	var missed <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Info("the directory cannot be watched: changes of the gateway's keys are seen late", "within", lookAgain.String(), "cause", err.Error())
	} else {
		defer func() { _ = watcher.Close() }()
		changed, missed = watcher.Events, watcher.Errors
	}
	for {
		if watcher != nil {
			// Each time, for it may be another directory by now. That there is none is for refresh to say.
			_ = watcher.Add(d.path)
		}
		d.refresh()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		case <-changed:
		case err := <-missed:
			d.log.V(1).Info("a change of the directory may have been missed", "cause", err.Error())
		}
	}
}

// refresh reads the directory, and logs what is news of it.
func (d *Dir) refresh() {
	next, err := load(d.path)
	d.mu.Lock()
	before, beforeErr := d.current, d.err
	d.err = err
	if err == nil {
		d.current = next
	}
	d.mu.Unlock()
	switch {
	case err == nil && (beforeErr != nil || !next.equal(before)):
		d.log.Info("read the gateway's keys", "keys", len(next.keys.Keys), "webhooks", len(next.webhooks))
	case err == nil, beforeErr != nil && beforeErr.Error() == err.Error():
	case before == nil:
		d.log.Error(err, "the gateway has no keys: nobody can log in")
	default:
		d.log.Error(err, "the gateway's keys cannot be read: it goes on with those that it has")
	}
}

func (v *version) equal(other *version) bool {
	return other != nil && slices.EqualFunc(v.keys.Keys, other.keys.Keys, func(a, b Key) bool {
		return a.ID == b.ID && a.CreatedAt.Equal(b.CreatedAt) && a.Secret.Equal(b.Secret)
	}) && maps.EqualFunc(v.webhooks, other.webhooks, sensitive.String.Equal)
}

// load reads a whole version of the directory. Errors quote nothing of the files.
func load(path string) (*version, error) {
	var err error
	for range readAttempts {
		var v *version
		v, err = loadOnce(path)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, errTakenAway) {
			break
		}
	}
	return nil, fmt.Errorf("keys of the gateway in %s: %w", path, err)
}

// errTakenAway says that a file that was listed is not there any more.
var errTakenAway = errors.New("it changed while it was read")

func loadOnce(path string) (*version, error) {
	// A kubelet's link may be moved at any time: all files are read from where it points now.
	root, err := filepath.EvalSymlinks(filepath.Join(path, dataLink))
	if err != nil {
		root = path
	}
	files := os.DirFS(root)
	entries, err := fs.ReadDir(files, ".")
	if errors.Is(err, fs.ErrNotExist) && root != path {
		return nil, errTakenAway
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no such directory: mount the Secret %s of the operator's namespace there", v1alpha1.GatewayKeysSecret)
	}
	if err != nil {
		return nil, err
	}
	v, found := &version{webhooks: map[types.UID]sensitive.String{}}, false
	for _, entry := range entries {
		application, isWebhook := WebhookApplication(entry.Name())
		if entry.Name() != FileSealing && !isWebhook {
			continue
		}
		content, err := readFile(files, entry.Name())
		if err != nil {
			return nil, err
		}
		if isWebhook {
			if len(content) > 0 {
				v.webhooks[application] = sensitive.New(string(content))
			}
			continue
		}
		if v.keys, err = Parse(content); err != nil {
			return nil, fmt.Errorf("%s is %w", FileSealing, err)
		}
		found = true
	}
	if !found {
		return nil, fmt.Errorf("there is no file %s: the controller writes it into the Secret %s of its namespace, which is mounted there", FileSealing, v1alpha1.GatewayKeysSecret)
	}
	return v, nil
}

func readFile(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", name, maxFile)
	}
	var content []byte
	if err == nil {
		content, err = fs.ReadFile(files, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, errTakenAway)
	}
	return content, err
}
