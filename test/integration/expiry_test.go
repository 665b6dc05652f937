// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// TestExpiry is what becomes of what providers say about the lifetime of tokens, and when they are refreshed.
func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	const never, unknown = 0, -1
	tests := map[string]struct {
		reason string
		says   any
		before string
		// lifetime that status shows, never or unknown.
		lifetime time.Duration
		// next refresh, counted from the request, at the earliest and at the latest.
		earliest, latest time.Duration
	}{
		"an hour":               {"the default margin is a fifth, with up to a tenth of it earlier", 3600, "", time.Hour, 46 * time.Minute, 48 * time.Minute},
		"an hour, a quarter":    {"a percentage of the lifetime", 3600, "25%", time.Hour, 43 * time.Minute, 45 * time.Minute},
		"an hour, ten minutes":  {"a duration", 3600, "10m", time.Hour, 49 * time.Minute, 50 * time.Minute},
		"an hour, two hours":    {"never in the first tenth of the life", 3600, "2h", time.Hour, 6 * time.Minute, 6 * time.Minute},
		"ten minutes":           {"five minutes at least, half of the lifetime at most", 600, "", 10 * time.Minute, 4 * time.Minute, 5 * time.Minute},
		"two minutes, 99 %":     {"not within 30 seconds of the last success", 120, "99%", 2 * time.Minute, 30 * time.Second, 32 * time.Second},
		"text":                  {"a number in quotes is a number", "3600", "", time.Hour, 46 * time.Minute, 48 * time.Minute},
		"a fraction":            {"floats are numbers", 3600.9, "", time.Hour, 46 * time.Minute, 48 * time.Minute},
		"missing":               {"unknown: refreshed hourly", hostile.Missing{}, "", unknown, 50 * time.Minute, time.Hour},
		"null":                  {"unknown", nil, "", unknown, 50 * time.Minute, time.Hour},
		"zero":                  {"unknown", 0, "", unknown, 50 * time.Minute, time.Hour},
		"negative":              {"unknown", -5, "", unknown, 50 * time.Minute, time.Hour},
		"garbage":               {"unknown", "soon", "", unknown, 50 * time.Minute, time.Hour},
		"an object":             {"unknown", map[string]any{"seconds": 5}, "", unknown, 50 * time.Minute, time.Hour},
		"eleven years":          {"more than ten years is for ever", int64(11 * 366 * 24 * 3600), "", never, 0, 0},
		"more than a time says": {"huge numbers do not wrap around", 1e300, "", never, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := w.hostile(t, harness.Options{})
			server.Always(record.Filter{Endpoint: record.Token}, hostile.ExpiresIn(test.says))
			s := w.connected(t, server, server.URL, func(spec *v1alpha1.OAuthConnectionSpec) {
				if test.before != "" {
					spec.Refresh = &v1alpha1.RefreshSpec{Before: test.before}
				}
			})
			sent := server.Requests(record.Filter{Endpoint: record.Token})[0].Time
			status, published := s.get(t).Status, get(t, w.namespace, s.name, &corev1.Secret{})
			expiresAt := string(published.Data["expires_at"])
			if test.lifetime <= 0 {
				if status.AccessTokenExpiresAt != nil || expiresAt != "" {
					t.Errorf("%s: expiry is %v in status and %q in the Secret", test.reason, status.AccessTokenExpiresAt, expiresAt)
				}
			} else if off := status.AccessTokenExpiresAt.Sub(sent) - test.lifetime; off > time.Second || off < -3*time.Second {
				t.Errorf("%s: expiry is off by %s", test.reason, off)
			}
			if test.latest == 0 {
				if status.NextRefreshAt != nil {
					t.Errorf("%s: next refresh at %s", test.reason, status.NextRefreshAt)
				}
				return
			}
			next := status.NextRefreshAt.Sub(sent)
			if next < test.earliest-3*time.Second || next > test.latest+3*time.Second {
				t.Errorf("%s: next refresh after %s, want %s to %s", test.reason, next, test.earliest, test.latest)
			}
		})
	}
}

// TestScopes is what status and Secret say was granted.
func TestScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	tests := map[string]struct {
		reason string
		says   any
		want   []string
		secret string
	}{
		"missing":   {"what was asked for was granted (RFC 6749 section 5.1)", hostile.Missing{}, []string{"api:read", "offline_access"}, "api:read offline_access"},
		"fewer":     {"the provider may grant less", "api:read", []string{"api:read"}, "api:read"},
		"none":      {"an empty scope is an answer", "", nil, ""},
		"by commas": {"some providers separate by commas", "api:read,api:write", []string{"api:read", "api:write"}, "api:read api:write"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := w.hostile(t, harness.Options{})
			server.Always(record.Filter{Endpoint: record.Token}, hostile.Scope(test.says))
			s := w.connected(t, server, server.URL)
			if err := scopes(test.want...)(s.get(t)); err != nil {
				t.Errorf("%s: %v, got %v", test.reason, err, s.get(t).Status.Scopes)
			}
			published := get(t, w.namespace, s.name, &corev1.Secret{})
			if got, ok := published.Data["scope"]; !ok || string(got) != test.secret {
				t.Errorf("%s: the Secret says %q, want %q", test.reason, got, test.secret)
			}
		})
	}
}
