// SPDX-License-Identifier: Apache-2.0

package headers_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/gateway/headers"
)

func policy(t *testing.T, external, logo string) headers.Policy {
	t.Helper()
	parsed, err := url.Parse(external)
	if err != nil {
		t.Fatal(err)
	}
	return headers.New(parsed, logo)
}

func TestEveryAnswer(t *testing.T) {
	header := http.Header{}
	policy(t, "https://oauth.example.com", "https://cdn.example.com/logo.svg").Set(header)
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' https://cdn.example.com; base-uri 'none'; " +
			"frame-ancestors 'none'; form-action 'self'",
		"Cache-Control":                "no-store",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"X-Robots-Tag":                 "noindex",
		"Strict-Transport-Security":    "max-age=31536000",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(header.Get("Permissions-Policy"), "camera=()") {
		t.Errorf("Permissions-Policy = %q", header.Get("Permissions-Policy"))
	}
}

func TestNoHSTSWithoutHTTPS(t *testing.T) {
	header := http.Header{}
	policy(t, "http://127.0.0.1:8080", "").Set(header)
	if got := header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("Strict-Transport-Security = %q on loopback", got)
	}
}

func TestAllow(t *testing.T) {
	for _, test := range []struct{ reason, logo, target, images, forms string }{
		{"nothing more", "", "", "'self'", "'self'"},
		{
			"a provider and its sister hosts", "https://www.example.co.uk/logo.png", "https://auth.example.co.uk/authorize?x=y",
			"'self' https://www.example.co.uk", "'self' https://auth.example.co.uk https://*.example.co.uk",
		},
		{"a port belongs to the origin", "", "https://auth.example.com:8443/a", "'self'", "'self' https://auth.example.com:8443 https://*.example.com"},
		{"an address has no sister hosts", "", "https://192.0.2.1/a", "'self'", "'self' https://192.0.2.1"},
		{"an IPv6 address", "http://[::1]:9000/l", "https://[2001:db8::1]:8443/a", "'self' http://[::1]:9000", "'self' https://[2001:db8::1]:8443"},
		{"http has no sister hosts", "", "http://login.example.com/a", "'self'", "'self' http://login.example.com"},
		{"a public suffix is nobody's", "", "https://github.io/a", "'self'", "'self' https://github.io"},
		{"a name without a dot", "", "https://localhost:1234/a", "'self'", "'self' https://localhost:1234"},
		{"names of other alphabets", "https://bücher.example/l", "https://bücher.example/a", "'self'", "'self' https://xn--bcher-kva.example https://*.xn--bcher-kva.example"},
		{"a logo by plain http is for this machine alone", "http://example.com/l", "", "'self'", "'self'"},
		{"capitals", "", "https://Auth.Example.COM/a", "'self'", "'self' https://auth.example.com https://*.example.com"},
		{"a semicolon ends no directive", "https://a;script-src/x", "https://a;form-action/x", "'self'", "'self'"},
		{"a comma begins no second policy", "https://a,b.example/x", "https://a,b.example/x", "'self'", "'self'"},
		{"quotes and stars", "https://*/x", "https://'unsafe-inline'/x", "'self'", "'self'"},
		{"other schemes", "javascript:alert(1)", "data:text/html,x", "'self'", "'self'"},
		{"no URL", "://", "%", "'self'", "'self'"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			header := http.Header{}
			p := policy(t, "https://oauth.example.com", "")
			p.Set(header)
			p.Allow(header, test.logo, test.target)
			got := strings.Split(header.Get("Content-Security-Policy"), "; ")
			if !slices.Contains(got, "img-src "+test.images) || !slices.Contains(got, "form-action "+test.forms) {
				t.Errorf("policy %q", got)
			}
		})
	}
}

func FuzzAllow(f *testing.F) {
	f.Add("https://a.example/x")
	f.Add("https://a;b/x")
	f.Add("https://[::1%25eth0]/x")
	f.Fuzz(func(t *testing.T, raw string) {
		header := http.Header{}
		p := policy(t, "https://oauth.example.com", "")
		p.Allow(header, raw, raw)
		value := header.Get("Content-Security-Policy")
		if got := len(strings.Split(value, ";")); got != 6 || strings.ContainsAny(value, ",\r\n\"") {
			t.Errorf("%q gives the policy %q", raw, value)
		}
		for _, char := range value {
			if char < ' ' || char > '~' {
				t.Errorf("%q gives the policy %q", raw, value)
			}
		}
	})
}
