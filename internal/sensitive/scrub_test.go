// SPDX-License-Identifier: Apache-2.0

package sensitive_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func TestScrub(t *testing.T) {
	secret := "s3cr+t/=ü val"
	tests := []struct {
		reason string
		text   string
		limit  int
		want   string
	}{
		{reason: "the value itself", text: "token " + secret + " expired", limit: 100, want: "token [redacted] expired"},
		{reason: "in a query", text: "t=" + url.QueryEscape(secret), limit: 100, want: "t=[redacted]"},
		{reason: "in a path", text: "/" + url.PathEscape(secret), limit: 100, want: "/[redacted]"},
		{reason: "all percent-encoding in lower case", text: "s3cr%2bt%2f%3d%c3%bc+val", limit: 100, want: "[redacted]"},
		{reason: "Base64", text: "Basic " + base64.StdEncoding.EncodeToString([]byte(secret)), limit: 100, want: "Basic [redacted]="},
		{reason: "Base64 for URLs", text: base64.RawURLEncoding.EncodeToString([]byte(secret)), limit: 100, want: "[redacted]"},
		{reason: "a control character hides nothing", text: "s3cr\x00+t/=ü val", limit: 100, want: "[redacted]"},
		{reason: "line breaks become spaces, escapes go", text: "a\r\nb\x1b[31m\u202ec", limit: 100, want: "a  b[31mc"},
		{reason: "bytes that are no text go", text: "a\xffb", limit: 100, want: "ab"},
		{reason: "cut between characters", text: "üüüüü", limit: 8, want: "üü…"},
		{reason: "a cut comes after the search", text: "aaaa " + secret, limit: 10, want: "aaaa [r…"},
		{reason: "no room at all", text: "abc", limit: 0, want: ""},
		{reason: "less room than the mark needs", text: "abcd", limit: 2, want: ""},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			got := sensitive.Scrub(test.text, test.limit, sensitive.New(secret))
			if got != test.want {
				t.Errorf("Scrub(%q) = %q, want %q", test.text, got, test.want)
			}
		})
	}
}

func TestScrubSeveral(t *testing.T) {
	got := sensitive.Scrub("abcdef abcd xyz", 100, sensitive.New("abcd"), sensitive.New("abcdef"), sensitive.New("xyz"), sensitive.String{})
	if want := "[redacted] [redacted] xyz"; got != want {
		t.Errorf("got %q, want %q: the longer secret first, none under four characters", got, want)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("token abc-123 expired", "abc-123", 20)
	f.Add("\xff\u202e", "\xff\xfe\xfd\xfc", 3)
	f.Fuzz(func(t *testing.T, text, secret string, limit int) {
		got := sensitive.Scrub(text, limit, sensitive.New(secret))
		if !utf8.ValidString(got) || len(got) > max(limit, 0) {
			t.Errorf("Scrub(%q, %d) = %q", text, limit, got)
		}
		if len(secret) >= 4 && !strings.Contains(sensitive.Redacted, secret) && strings.Contains(strings.ReplaceAll(got, sensitive.Redacted, "\x00"), secret) {
			t.Errorf("Scrub(%q) = %q leaks %q", text, got, secret)
		}
	})
}
