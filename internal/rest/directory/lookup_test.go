// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
)

// An owner counts in the application's own namespace only: elsewhere anybody could write any name.
func TestOwnerCountsBesideTheApplication(t *testing.T) {
	d := directory.New()
	elsewhere := func(c *v1alpha1.OAuthConnection) {
		c.Spec.Owner, c.Spec.ApplicationRef.Namespace = "ann", "platform"
	}
	d.ConnectionHandler().OnAdd(connection("platform", "hers", "u1", 1, owned("ann")), false)
	d.ConnectionHandler().OnAdd(connection("platform", "hers-too", "u2", 2, elsewhere), false)
	d.ConnectionHandler().OnAdd(connection("tenant", "forged", "u3", 3, elsewhere), false)
	d.ConnectionHandler().OnAdd(connection("platform", "shared", "u4", 4, nil), false)
	if got := uids(d.OwnedBy("ann")); got != "u1 u2" {
		t.Errorf("ann owns %s", got)
	}
	if got := uids(d.HeldAt(named("platform", "crm"), "ann")); got != "u1 u2" {
		t.Errorf("ann holds %s", got)
	}
	if got := uids(d.HeldAt(named("platform", "crm"), "")); got != "u4" {
		t.Errorf("shared: %s", got)
	}
	sees := func(c *v1alpha1.OAuthConnection) bool { return ownerOf(c) == "ann" }
	if page, _, _ := d.Connections(directory.Query{Visible: sees, Owner: "ann", Limit: 10}); uids(page) != "u1 u2" {
		t.Errorf("ann's list is %s", uids(page))
	}
}

// With an owner, Visible is asked about namespaces, not about every connection; and what it refuses is never shown.
func TestVisibleIsAskedByNamespace(t *testing.T) {
	d := directory.New()
	for i := range 1000 {
		d.ConnectionHandler().OnAdd(connection(fmt.Sprint("n", i%10), fmt.Sprint(i), types.UID(fmt.Sprintf("u%03d", i)), i,
			owned(fmt.Sprint("user", i))), false)
	}
	asked := 0
	visible := func(c *v1alpha1.OAuthConnection) bool {
		asked++
		return ownerOf(c) == "user7" || ownerOf(c) == "user999"
	}
	page, _, more := d.Connections(directory.Query{Visible: visible, Owner: "user7", Limit: 100})
	if uids(page) != "u007" || more || asked > 11 {
		t.Errorf("the page is %s, more %t, and Visible was asked %d times", uids(page), more, asked)
	}
	refusing := func(c *v1alpha1.OAuthConnection) bool { return c.Name == "" }
	if page, _, _ := d.Connections(directory.Query{Visible: refusing, Owner: "user7", Limit: 100}); len(page) > 0 {
		t.Errorf("%s is shown although Visible refuses it", uids(page))
	}
}

func TestApplications(t *testing.T) {
	d := directory.New()
	handler := d.ApplicationHandler()
	one, two, three := application("n1", "a", "u3", 1), application("n2", "b", "u2", 1), application("n1", "c", "u1", 5)
	for _, a := range []*v1alpha1.OAuthApplication{three, one, two} {
		handler.OnAdd(a, true)
	}
	deleted := three.DeepCopy()
	deleted.Status.Phase = v1alpha1.ApplicationDeleted
	handler.OnUpdate(three, deleted)
	names := func(q directory.ApplicationQuery) (made string) {
		q.Limit = 1
		for {
			page, next, more := d.Applications(q)
			for _, a := range page {
				made += string(a.UID) + " "
			}
			if q.After = next; !more {
				return made
			}
		}
	}
	if got := names(directory.ApplicationQuery{}); got != "u2 u3 u1 " {
		t.Errorf("all are %s", got)
	}
	if got := names(directory.ApplicationQuery{Statuses: []string{directory.StatusActive}}); got != "u2 u3 " {
		t.Errorf("active are %s", got)
	}
	visible := func(a *v1alpha1.OAuthApplication) bool { return a.Namespace == "n1" }
	if got := names(directory.ApplicationQuery{Visible: visible}); got != "u3 u1 " {
		t.Errorf("visible are %s", got)
	}
	if d.Application("u1") != deleted || d.ApplicationNamed(named("n2", "b")) != two || d.Application("u9") != nil {
		t.Error("applications are not found")
	}
	anew := application("n2", "b", "u7", 9)
	handler.OnUpdate(two, anew) // Deleted and made anew while nobody watched.
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "n1/a"})
	if d.Application("u2") != nil || d.Application("u7") != anew || d.Application("u3") != nil ||
		d.ApplicationNamed(named("n1", "a")) != nil {
		t.Error("what is gone is still found")
	}
	if got := names(directory.ApplicationQuery{}); got != "u1 u7 " {
		t.Errorf("all are %s", got)
	}
}

func TestStatus(t *testing.T) {
	for phase, want := range map[v1alpha1.ConnectionPhase]string{
		"": "inactive", v1alpha1.ConnectionPending: "inactive", v1alpha1.ConnectionAuthorizing: "inactive",
		v1alpha1.ConnectionActive: "active", v1alpha1.ConnectionInactive: "inactive", v1alpha1.ConnectionDeleted: "inactive",
	} {
		c := connection("ns", "c", "u", 0, func(c *v1alpha1.OAuthConnection) { c.Status.Phase = phase })
		if got := directory.Status(c); got != want {
			t.Errorf("phase %q is %s", phase, got)
		}
		if c.DeletionTimestamp = new(metav1.Now()); directory.Status(c) != "inactive" {
			t.Errorf("phase %q, being deleted, is active", phase)
		}
	}
	a := application("ns", "a", "u", 0)
	if got := directory.ApplicationStatus(a); got != "active" {
		t.Errorf("an application without a phase is %s", got)
	}
	if a.DeletionTimestamp = new(metav1.Now()); directory.ApplicationStatus(a) != "deleted" {
		t.Error("an application that is being deleted is active")
	}
}

func TestSubscribe(t *testing.T) {
	d := directory.New()
	handler := d.ConnectionHandler()
	first := connection("ns", "c", "u1", 0, nil)
	changes, release := d.Subscribe("u1")
	others, releaseOthers := d.Subscribe("u2")
	defer releaseOthers()
	told := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	handler.OnAdd(first, true)
	if !told(changes) || told(changes) {
		t.Error("one addition is not told once")
	}
	second := first.DeepCopy()
	handler.OnUpdate(first, second)
	handler.OnUpdate(second, second.DeepCopy())
	if !told(changes) || told(changes) {
		t.Error("two changes are not told as one")
	}
	if told(others) {
		t.Error("somebody else's change is told")
	}
	handler.OnUpdate(second, connection("ns", "c", "u2", 0, nil))
	if !told(changes) || !told(others) {
		t.Error("a deletion and creation in one is not told to both")
	}
	handler.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "ns/c"})
	if !told(others) {
		t.Error("a deletion is not told")
	}
	release()
	release()
	handler.OnAdd(first, false)
	if told(changes) {
		t.Error("a change is told after release")
	}
}

// Whoever hears of a change finds it.
func TestSubscribersFindTheChange(t *testing.T) {
	d := directory.New()
	changes, release := d.Subscribe("u1")
	defer release()
	c := connection("ns", "c", "u1", 0, nil)
	go d.ConnectionHandler().OnAdd(c, false)
	<-changes
	if d.Connection("u1") != c {
		t.Error("the change is not there yet")
	}
	go d.ConnectionHandler().OnDelete(c)
	<-changes
	if d.Connection("u1") != nil {
		t.Error("the deletion is not there yet")
	}
}

func TestForeignObjectsAreIgnored(t *testing.T) {
	d := directory.New()
	for _, handler := range []toolscache.ResourceEventHandler{d.ConnectionHandler(), d.ApplicationHandler()} {
		for _, object := range []any{nil, "text", &metav1.Status{}, toolscache.DeletedFinalStateUnknown{}} {
			handler.OnAdd(object, false)
			handler.OnUpdate(object, object)
			handler.OnDelete(object)
		}
	}
	if page, _, _ := d.Connections(directory.Query{Limit: 1}); len(page) > 0 {
		t.Error("there is a connection")
	}
}

// Readers and writers at once: pages are whole and in order. The race detector sees the rest.
func TestConcurrency(t *testing.T) {
	d := directory.New()
	handler := d.ConnectionHandler()
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := range 300 {
				uid, owner := types.UID(fmt.Sprintf("u%d-%03d", w, i)), fmt.Sprint("user", i%5)
				c := connection(fmt.Sprint("n", i%7), string(uid), uid, i%13, owned(owner))
				handler.OnAdd(c, false)
				if i%3 == 0 {
					handler.OnDelete(c)
				}
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			visible := func(c *v1alpha1.OAuthConnection) bool { return c.Namespace != "n3" }
			for {
				select {
				case <-done:
					return
				default:
				}
				page, _, _ := d.Connections(directory.Query{Limit: 50, Visible: visible, Owner: "user1"})
				if !slices.IsSortedFunc(page, byCreation) {
					t.Error("a page is out of order")
				}
				d.OwnedBy("user2")
				d.Namespaces()
				d.HeldIn(named("n1", "crm"), "n2")
				_, release := d.Subscribe("u0-000")
				release()
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if got := len(list(t, d, directory.Query{Limit: 100}, nil)); got != 4*200 {
		t.Errorf("%d connections are left", got)
	}
}
