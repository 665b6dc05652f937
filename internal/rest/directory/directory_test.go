// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// epoch is when the first objects are made.
func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// connection makes a connection of application crm in its own namespace; change may be nil.
func connection(
	namespace, name string, uid types.UID, second int, change func(*v1alpha1.OAuthConnection),
) *v1alpha1.OAuthConnection {
	made := &v1alpha1.OAuthConnection{}
	made.Namespace, made.Name, made.UID = namespace, name, uid
	made.CreationTimestamp = metav1.NewTime(epoch().Add(time.Duration(second) * time.Second))
	made.Spec.ApplicationRef.Name = "crm"
	made.Status.Phase = v1alpha1.ConnectionActive
	if change != nil {
		change(made)
	}
	return made
}

func application(namespace, name string, uid types.UID, second int) *v1alpha1.OAuthApplication {
	made := &v1alpha1.OAuthApplication{}
	made.Namespace, made.Name, made.UID = namespace, name, uid
	made.CreationTimestamp = metav1.NewTime(epoch().Add(time.Duration(second) * time.Second))
	return made
}

func owned(by string) func(*v1alpha1.OAuthConnection) {
	return func(c *v1alpha1.OAuthConnection) { c.Spec.Owner = by }
}

func uids(all []*v1alpha1.OAuthConnection) string {
	var made []string
	for _, one := range all {
		made = append(made, string(one.UID))
	}
	return strings.Join(made, " ")
}

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// list reads all pages.
func list(t *testing.T, d *directory.Directory, q directory.Query, between func()) []*v1alpha1.OAuthConnection {
	t.Helper()
	var all []*v1alpha1.OAuthConnection
	for range 10_000 {
		page, next, more := d.Connections(q)
		if len(page) > q.Limit || (more && len(page) < q.Limit) {
			t.Fatalf("a page of %d with limit %d, more %t", len(page), q.Limit, more)
		}
		all = append(all, page...)
		if !more {
			if next != (directory.Cursor{}) {
				t.Fatal("a cursor after the last page")
			}
			return all
		}
		parsed, err := directory.ParseCursor(next.String())
		if err != nil {
			t.Fatal(err)
		}
		q.After = parsed
		if between != nil {
			between()
		}
	}
	t.Fatal("the pages have no end")
	return nil
}

func TestOrderIsCreationThenUID(t *testing.T) {
	d := directory.New()
	handler := d.ConnectionHandler()
	for _, c := range []*v1alpha1.OAuthConnection{
		connection("b", "late", "u1", 9, nil), connection("a", "twin-2", "u3", 5, nil), connection("c", "twin-1", "u2", 5, nil),
		connection("z", "first", "u9", 0, nil),
	} {
		handler.OnAdd(c, false)
	}
	for limit := 1; limit <= 5; limit++ {
		if got := uids(list(t, d, directory.Query{Limit: limit}, nil)); got != "u9 u2 u3 u1" {
			t.Errorf("pages of %d: %s", limit, got)
		}
	}
	if got := uids(list(t, d, directory.Query{Application: named("a", "crm"), Limit: 5}, nil)); got != "u3" {
		t.Errorf("of the application: %s", got)
	}
	if got := strings.Join(d.Namespaces(), " "); got != "a b c z" {
		t.Errorf("namespaces %s", got)
	}
}

// What comes and goes while somebody pages makes them miss nothing that stays, and see nothing twice.
func TestPagesWithChangesInBetween(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 1))
			d := directory.New()
			handler := d.ConnectionHandler()
			held, stays := map[types.UID]*v1alpha1.OAuthConnection{}, map[types.UID]bool{}
			add := func() {
				uid := types.UID(fmt.Sprintf("u%016x", dice.Uint64()))
				held[uid] = connection("ns", string(uid), uid, dice.IntN(50), nil)
				handler.OnAdd(held[uid], false)
			}
			for range 200 {
				add()
			}
			for uid := range held {
				stays[uid] = true
			}
			listed := list(t, d, directory.Query{Limit: 1 + dice.IntN(20)}, func() {
				for range dice.IntN(4) {
					add()
				}
				for _, uid := range sortedUIDs(held)[:dice.IntN(4)] {
					handler.OnDelete(held[uid])
					delete(held, uid)
					delete(stays, uid)
				}
				for _, uid := range sortedUIDs(held)[:dice.IntN(4)] {
					changed := held[uid].DeepCopy()
					changed.Status.Phase = v1alpha1.ConnectionInactive
					handler.OnUpdate(held[uid], changed)
					held[uid] = changed
				}
			})
			times := map[types.UID]int{}
			for _, c := range listed {
				times[c.UID]++
			}
			for uid, n := range times {
				if n > 1 {
					t.Errorf("%s was listed %d times", uid, n)
				}
			}
			for uid := range stays {
				if times[uid] != 1 {
					t.Errorf("%s was always there and was listed %d times", uid, times[uid])
				}
			}
			if !slices.IsSortedFunc(listed, byCreation) {
				t.Error("the pages are out of order")
			}
		})
	}
}

func sortedUIDs(held map[types.UID]*v1alpha1.OAuthConnection) []types.UID {
	var all []types.UID
	for uid := range held {
		all = append(all, uid)
	}
	slices.Sort(all)
	return all
}

func byCreation(a, b *v1alpha1.OAuthConnection) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}

// A cursor is good in another process, and after the connection that it names is gone.
func TestCursorAfterRestart(t *testing.T) {
	fill := func(without types.UID) *directory.Directory {
		d := directory.New()
		for i := range 10 {
			c := connection("ns", fmt.Sprint(i), types.UID(fmt.Sprintf("u%d", i)), i/3, nil)
			if c.UID != without {
				d.ConnectionHandler().OnAdd(c, true)
			}
		}
		return d
	}
	page, next, more := fill("").Connections(directory.Query{Limit: 4})
	if uids(page) != "u0 u1 u2 u3" || !more {
		t.Fatalf("first page %s, more %t", uids(page), more)
	}
	for _, without := range []types.UID{"", "u3", "u0"} {
		cursor, err := directory.ParseCursor(next.String())
		if err != nil {
			t.Fatal(err)
		}
		if rest := list(t, fill(without), directory.Query{Limit: 4, After: cursor}, nil); uids(rest) != "u4 u5 u6 u7 u8 u9" {
			t.Errorf("without %q: %s", without, uids(rest))
		}
	}
}

// The last page is known to be the last, also when it is full.
func TestLastPage(t *testing.T) {
	d := directory.New()
	for i := range 4 {
		c := connection("ns", fmt.Sprint(i), types.UID(fmt.Sprint("u", i)), i, nil)
		if i == 3 {
			c.Status.Phase = v1alpha1.ConnectionInactive
		}
		d.ConnectionHandler().OnAdd(c, false)
	}
	page, _, more := d.Connections(directory.Query{Limit: 3, Statuses: []string{directory.StatusActive}})
	if len(page) != 3 || more {
		t.Errorf("%d connections, more %t: the next one is filtered out", len(page), more)
	}
	if page, _, more = d.Connections(directory.Query{Limit: 3}); len(page) != 3 || !more {
		t.Errorf("%d connections, more %t", len(page), more)
	}
}

func TestParseCursor(t *testing.T) {
	d := directory.New()
	for i := range 2 {
		d.ConnectionHandler().OnAdd(connection("ns", fmt.Sprint(i), types.UID(fmt.Sprint("u", i)), i, nil), false)
	}
	_, next, _ := d.Connections(directory.Query{Limit: 1})
	good := next.String()
	for name, text := range map[string]string{
		"empty": "", "no base64": "!!", "no JSON": "AAAA", "padded": good + "=", "cut": good[:len(good)-4],
		"no UID":          "eyJjcmVhdGVkIjoxLCJ1aWQiOiIifQ",
		"other JSON":      "eyJjcmVhdGVkIjoxLCJ1aWQiOiJ1MSIsIngiOjF9",
		"a list":          "W10",
		"much too long":   strings.Repeat("A", 10_000),
		"trailing spaces": good + " ",
	} {
		if _, err := directory.ParseCursor(text); err == nil {
			t.Errorf("%s: %q is taken", name, text)
		}
	}
	if read, err := directory.ParseCursor(good); err != nil || read != next {
		t.Errorf("%v, %v", read, err)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("eyJjcmVhdGVkIjoxLCJ1aWQiOiJ1MSJ9")
	f.Fuzz(func(t *testing.T, text string) {
		if read, err := directory.ParseCursor(text); err == nil && read.String() != text {
			t.Errorf("%q is read as %q", text, read)
		}
	})
}

// Whatever happened before, look-ups and lists agree with a plain walk over all connections.
func TestQueriesAgreeWithAPlainWalk(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWalk(seed)
			for range 400 {
				w.change()
			}
			all := w.all()
			for range 60 {
				w.compare(t, all)
			}
			w.compareLookups(t, all)
		})
	}
}

// walk changes a directory at random and holds it to a map.
type walk struct {
	*rand.Rand
	directory *directory.Directory
	handler   toolscache.ResourceEventHandler
	held      map[types.NamespacedName]*v1alpha1.OAuthConnection
	serial    int
}

func newWalk(seed uint64) *walk {
	d := directory.New()
	return &walk{
		Rand: rand.New(rand.NewPCG(seed, 2)), directory: d, handler: d.ConnectionHandler(),
		held: map[types.NamespacedName]*v1alpha1.OAuthConnection{},
	}
}

func (w *walk) one(texts ...string) string { return texts[w.IntN(len(texts))] }

func (w *walk) make(name types.NamespacedName) *v1alpha1.OAuthConnection {
	w.serial++
	return connection(name.Namespace, name.Name, types.UID(fmt.Sprintf("u%05d", w.IntN(10_000)*1000+w.serial)), w.IntN(20), w.alter)
}

func (w *walk) alter(c *v1alpha1.OAuthConnection) {
	if c.Status.Phase == v1alpha1.ConnectionActive && c.Spec.Owner == "" { // Immutable after.
		c.Spec.Owner = w.one("", "ann", "bob", "eve")
		c.Spec.ApplicationRef = v1alpha1.ApplicationReference{Namespace: w.one("", "n1", "n2"), Name: w.one("crm", "erp")}
	}
	c.Status.Phase = v1alpha1.ConnectionPhase(w.one("", "Active", "Active", "Inactive", "Deleted"))
	c.Status.ID = w.one("", "p1", "p2", "p3")
	if w.IntN(5) == 0 {
		c.DeletionTimestamp = &metav1.Time{Time: epoch()}
	}
}

func (w *walk) change() {
	name := named(w.one("n1", "n2", "n3", "n4", "n5"), fmt.Sprint(w.IntN(20)))
	old := w.held[name]
	switch {
	case old == nil:
		w.held[name] = w.make(name)
		w.handler.OnAdd(w.held[name], false)
	case w.IntN(3) == 0:
		delete(w.held, name)
		gone := toolscache.DeletedFinalStateUnknown{Key: name.String()}
		switch w.IntN(3) {
		case 0:
			w.handler.OnDelete(old)
		case 1:
			gone.Obj = old
			w.handler.OnDelete(gone)
		default:
			w.handler.OnDelete(gone)
		}
	case w.IntN(4) == 0: // Deleted and made anew while nobody watched.
		w.held[name] = w.make(name)
		w.handler.OnUpdate(old, w.held[name])
	default:
		changed := old.DeepCopy()
		w.alter(changed)
		changed.Spec = old.Spec
		w.held[name] = changed
		w.handler.OnUpdate(old, changed)
	}
}

func (w *walk) all() []*v1alpha1.OAuthConnection {
	var all []*v1alpha1.OAuthConnection
	for _, c := range w.held {
		all = append(all, c)
	}
	slices.SortFunc(all, byCreation)
	return all
}

func appOf(c *v1alpha1.OAuthConnection) types.NamespacedName {
	namespace, name := c.ApplicationKey()
	return named(namespace, name)
}

func ownerOf(c *v1alpha1.OAuthConnection) string {
	if namespace, _ := c.ApplicationKey(); namespace != c.Namespace {
		return ""
	}
	return c.Spec.Owner
}

func (w *walk) compare(t *testing.T, all []*v1alpha1.OAuthConnection) {
	t.Helper()
	caller, sees := w.one("ann", "bob", "nobody"), map[string]bool{w.one("n1", "n2", "none"): true, w.one("n3", "none"): true}
	visible := func(c *v1alpha1.OAuthConnection) bool { return sees[c.Namespace] || ownerOf(c) == caller }
	q := directory.Query{Limit: 1 + w.IntN(30)}
	if w.IntN(4) > 0 {
		q.Visible = visible
		q.Owner = []string{"", caller}[w.IntN(2)]
	}
	if w.IntN(2) == 0 {
		q.Statuses = [][]string{{directory.StatusActive}, {directory.StatusInactive}, {}, {"active", "inactive"}}[w.IntN(4)]
	}
	if w.IntN(2) == 0 {
		q.Application = named(w.one("n1", "n2", "n3", "n9"), w.one("crm", "erp"))
	}
	var want []*v1alpha1.OAuthConnection
	for _, c := range all {
		if (q.Visible == nil || visible(c)) && (q.Statuses == nil || slices.Contains(q.Statuses, directory.Status(c))) &&
			(q.Application == types.NamespacedName{} || q.Application == appOf(c)) {
			want = append(want, c)
		}
	}
	if got := list(t, w.directory, q, nil); !slices.Equal(got, want) {
		t.Errorf("%+v sees %v:\n got %s\nwant %s", q, sees, uids(got), uids(want))
	}
}

func (w *walk) compareLookups(t *testing.T, all []*v1alpha1.OAuthConnection) {
	t.Helper()
	filter := func(keep func(*v1alpha1.OAuthConnection) bool) string {
		var kept []*v1alpha1.OAuthConnection
		for _, c := range all {
			if keep(c) {
				kept = append(kept, c)
			}
		}
		return uids(kept)
	}
	for _, owner := range []string{"ann", "bob", "eve", "nobody", ""} {
		if got, want := uids(w.directory.OwnedBy(owner)), filter(func(c *v1alpha1.OAuthConnection) bool {
			return owner != "" && ownerOf(c) == owner
		}); got != want {
			t.Errorf("%q owns %s, want %s", owner, got, want)
		}
		for _, app := range []types.NamespacedName{named("n1", "crm"), named("n2", "erp"), named("n5", "crm")} {
			if got, want := uids(w.directory.HeldAt(app, owner)), filter(func(c *v1alpha1.OAuthConnection) bool {
				return appOf(c) == app && c.Namespace == app.Namespace && c.Spec.Owner == owner
			}); got != want {
				t.Errorf("%q holds %s at %s, want %s", owner, got, app, want)
			}
			for _, other := range []string{"n1", "n2", "n3"} {
				if got, want := uids(w.directory.HeldIn(app, other)), filter(func(c *v1alpha1.OAuthConnection) bool {
					return appOf(c) == app && c.Namespace == other && other != app.Namespace
				}); got != want && other != app.Namespace {
					t.Errorf("in %s are %s of %s, want %s", other, got, app, want)
				}
			}
			if got, want := uids(list(t, w.directory, directory.Query{Application: app, Limit: 5}, nil)), filter(func(c *v1alpha1.OAuthConnection) bool {
				return appOf(c) == app
			}); got != want {
				t.Errorf("%s has %s, want %s", app, got, want)
			}
		}
	}
	for _, id := range []string{"p1", "p2", "p3", ""} {
		if got, want := uids(w.directory.WithProviderID(id)), filter(func(c *v1alpha1.OAuthConnection) bool {
			return id != "" && c.Status.ID == id
		}); got != want {
			t.Errorf("%q is the provider's id of %s, want %s", id, got, want)
		}
	}
	namespaces := map[string]bool{}
	for _, c := range all {
		namespaces[c.Namespace] = true
		if w.directory.Connection(c.UID) != c || w.directory.ConnectionNamed(named(c.Namespace, c.Name)) != c {
			t.Errorf("%s is not found", c.UID)
		}
	}
	for _, namespace := range w.directory.Namespaces() {
		if !namespaces[namespace] {
			t.Errorf("namespace %s holds nothing", namespace)
		}
		delete(namespaces, namespace)
	}
	if len(namespaces) > 0 {
		t.Errorf("namespaces %v are missing", namespaces)
	}
}
