// SPDX-License-Identifier: Apache-2.0

package census

import (
	"slices"
	"testing"
	"time"
)

func at(hour int) time.Time { return time.Date(2026, 8, 1, hour, 0, 0, 0, time.UTC) }

func TestFind(t *testing.T) {
	t.Parallel()
	old := Entry{ID: "a", Subject: "group_1", Status: "inactive", CreatedAt: at(1), DeletedAt: at(3)}
	live := Entry{ID: "b", Subject: "group_1", Status: "active", Active: true, CreatedAt: at(2)}
	late := Entry{ID: "c", Subject: "group_1", Status: "inactive", CreatedAt: at(4)}
	twin := Entry{ID: "d", Subject: "group_2", CreatedAt: at(1)}
	other := Entry{ID: "e", Subject: "group_2", CreatedAt: at(1)}
	nobody := Entry{ID: "f"}
	second := Entry{ID: "g", Subject: "group_1", Status: "active", Active: true, CreatedAt: at(5)}
	for _, test := range []struct {
		reason      string
		entries     []Entry
		id, subject string
		granted     time.Time
		want        string
	}{
		{reason: "the id decides, even when the account has another grant that lives", entries: []Entry{old, live}, id: "a", subject: "group_1", want: "a"},
		{reason: "a grant that is not listed is not taken for another one of the account", entries: []Entry{live}, id: "a", subject: "group_1"},
		{reason: "without an id the grant that lives counts", entries: []Entry{old, live, late}, subject: "group_1", want: "b"},
		{reason: "else the newest", entries: []Entry{late, old}, subject: "group_1", want: "c"},
		{reason: "of two that are equal it is always the same one", entries: []Entry{twin, other}, subject: "group_2", want: "e"},
		{reason: "somebody else's grant is none", entries: []Entry{live}, subject: "group_2"},
		{reason: "who is not known is not found", entries: []Entry{nobody, live}},
		{reason: "of two that live, each grant has its own", entries: []Entry{live, second}, subject: "group_1", granted: at(2).Add(time.Minute), want: "b"},
		{reason: "of two that live, each grant has its own", entries: []Entry{live, second}, subject: "group_1", granted: at(5).Add(time.Minute), want: "g"},
		{reason: "a clock that is behind does not hide it", entries: []Entry{live}, subject: "group_1", granted: at(1), want: "b"},
		{reason: "one that lives goes before a nearer one that does not", entries: []Entry{live, late}, subject: "group_1", granted: at(4), want: "b"},
		{reason: "what ended before the grant is another one's", entries: []Entry{old}, subject: "group_1", granted: at(3).Add(time.Second)},
		{reason: "times are in whole seconds", entries: []Entry{old}, subject: "group_1", granted: at(3).Add(time.Second / 2), want: "a"},
		{reason: "by its id it is found although it seems to have ended before", entries: []Entry{old}, id: "a", granted: at(4), want: "a"},
	} {
		for range 2 {
			got, ok := Census{Entries: test.entries}.Find(test.id, test.subject, test.granted)
			if got.ID != test.want || ok != (test.want != "") {
				t.Errorf("%s: found %q, %t, want %q", test.reason, got.ID, ok, test.want)
			}
			slices.Reverse(test.entries)
		}
	}
}

func TestUnmanaged(t *testing.T) {
	t.Parallel()
	c := Census{Entries: []Entry{{ID: "a", Active: true}, {ID: "b", Active: true}, {ID: "c"}}}
	if got := c.Unmanaged(map[string]bool{"a": true, "x": true}); got != 1 {
		t.Errorf("%d grants are unmanaged, want 1: b lives and is nobody's, c has ended", got)
	}
}

func TestSameEntries(t *testing.T) {
	t.Parallel()
	base := Census{StartedAt: at(1), Entries: []Entry{{ID: "a", CreatedAt: at(1)}, {ID: "b", Active: true}}}
	elsewhere := time.FixedZone("east", 3600)
	for _, test := range []struct {
		reason string
		other  Census
		want   bool
	}{
		{"later, in another order, in another zone", Census{StartedAt: at(2), Entries: []Entry{{ID: "b", Active: true}, {ID: "a", CreatedAt: at(1).In(elsewhere)}}}, true},
		{"one more", Census{Entries: []Entry{{ID: "a", CreatedAt: at(1)}, {ID: "b", Active: true}, {ID: "c"}}}, false},
		{"one has ended", Census{Entries: []Entry{{ID: "a", CreatedAt: at(1)}, {ID: "b"}}}, false},
		{"another one", Census{Entries: []Entry{{ID: "a", CreatedAt: at(1)}, {ID: "c", Active: true}}}, false},
		{"another application", Census{ApplicationID: "x", Entries: base.Entries}, false},
	} {
		if got := base.SameEntries(test.other); got != test.want {
			t.Errorf("%s: the same is %t, want %t", test.reason, got, test.want)
		}
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	var store Store
	if _, ok := store.Get("u"); ok {
		t.Error("an empty store has a census")
	}
	store.Set("u", Census{StartedAt: at(2), ApplicationID: "newer"})
	store.Set("u", Census{StartedAt: at(1), ApplicationID: "older"})
	store.Set("v", Census{StartedAt: at(1)})
	if c, ok := store.Get("u"); !ok || c.ApplicationID != "newer" {
		t.Errorf("the census is %+v: an older one has replaced it", c)
	}
	store.Forget("u")
	if _, ok := store.Get("u"); ok {
		t.Error("a forgotten census is still there")
	}
	if _, ok := store.Get("v"); !ok {
		t.Error("another application's census is gone")
	}
}
