// SPDX-License-Identifier: Apache-2.0

package retryafter_test

import (
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/retryafter"
)

func testNow() time.Time { return time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC) }

func TestRead(t *testing.T) {
	const unreadable = -1
	for value, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "3600": time.Hour, "3601": time.Hour, "99999999999999999999": time.Hour,
		"": unreadable, " ": unreadable, "-5": unreadable, "1.5": unreadable, "soon": unreadable, "7s": unreadable,
		"Sat, 01 Aug 2026 12:00:30 GMT":    30 * time.Second,
		"Saturday, 01-Aug-26 12:00:30 GMT": 30 * time.Second,
		"Sat Aug  1 12:00:30 2026":         30 * time.Second,
		"Sat, 01 Aug 2026 11:00:00 GMT":    0,
		"Sun, 02 Aug 2026 12:00:00 GMT":    time.Hour,
	} {
		got, ok := retryafter.Read(value, testNow())
		if ok != (want != unreadable) || got != max(want, 0) {
			t.Errorf("Read(%q) = %s, %t, want %s", value, got, ok, want)
		}
		if parsed := retryafter.Parse(value, testNow()); parsed != got {
			t.Errorf("Parse(%q) = %s, but it is read as %s", value, parsed, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"7", "-1", "99999999999999999999", "Sat, 01 Aug 2026 12:00:30 GMT", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got, ok := retryafter.Read(value, testNow()); got < 0 || got > retryafter.Max || !ok && got != 0 {
			t.Errorf("Read(%q) = %s, %t", value, got, ok)
		}
	})
}
