// SPDX-License-Identifier: Apache-2.0

package ownwrites_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/ownwrites"
)

func object(uid, version string) *metav1.ObjectMeta {
	return &metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}
}

func TestVersions(t *testing.T) {
	var v ownwrites.Versions
	if !v.Visible(object("a", "1")) {
		t.Error("nothing was written, so nothing can be behind")
	}
	v.Wrote(object("a", "10"))
	v.Wrote(object("a", "9"))
	for version, want := range map[string]bool{"8": false, "9": false, "10": true, "100": true, "": true, "odd": true} {
		if got := v.Visible(object("a", version)); got != want {
			t.Errorf("version %q after writing 10: visible %v, want %v", version, got, want)
		}
	}
	for version, want := range map[string]bool{"9": false, "10": true, "11": false, "": false} {
		if got := v.Newest(object("a", version)); got != want {
			t.Errorf("version %q after writing 10: newest %v, want %v", version, got, want)
		}
	}
	if !v.Visible(object("b", "1")) {
		t.Error("another object is not behind")
	}
	v.Wrote(object("c", "odd"))
	if !v.Visible(object("c", "1")) {
		t.Error("a version that is no number must not hold anything up")
	}
	v.Forget("a")
	if !v.Visible(object("a", "1")) {
		t.Error("a forgotten object is remembered")
	}
}
