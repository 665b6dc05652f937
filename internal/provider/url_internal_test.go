// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// definedBy makes definitions of inputs and captured values.
func definedBy(t testing.TB, inputs []v1alpha1.Input, captured []v1alpha1.Capture) definitions {
	t.Helper()
	defined, err := define(&v1alpha1.OAuthApplicationSpec{
		Inputs: inputs, TokenResponse: &v1alpha1.TokenResponseSpec{Capture: captured},
	})
	if err != nil {
		t.Fatal(err)
	}
	return defined
}

func restricted(pattern string, enum ...string) v1alpha1.Restriction {
	return v1alpha1.Restriction{Pattern: pattern, Enum: enum}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		reason, url string
		ok          bool
	}{
		{"an absolute URL", "https://login.example.com/token", true},
		{"a port, a query and no path", "https://login.example.com:8443?x=1", true},
		{"plain http is for the guard to judge", "http://localhost:8080/token", true},
		{"an IPv6 address", "https://[::1]:8443/token", true},
		{"an IPv6 address without a port", "https://[::1]/token", true},
		{"a scheme in capitals", "HTTPS://login.example.com/token", true},
		{"placeholders in each part", "https://{tenant}.example.com/{a}/b{c}?d={e}&f", true},
		{"a value that is scheme and host", "{instance_url}/services", true},
		{"a value that is everything", "{instance_url}", true},
		{"a value with a query", "{instance_url}?a=b", true},
		{"a query with a question mark", "https://a.example.com/x?y=?", true},
		{"a percent-encoded character", "https://a.example.com/x%20y", true},
		{"empty", "", false},
		{"no scheme", "login.example.com/token", false},
		{"another scheme", "ftp://login.example.com/token", false},
		{"no authority", "https:login.example.com/token", false},
		{"no host", "https:///token", false},
		{"no host but a port", "https://:443/token", false},
		{"a user name", "https://user@login.example.com/token", false},
		{"a user name of a placeholder", "https://{user}@login.example.com/token", false},
		{"a password of a placeholder", "https://x:{password}@login.example.com/token", false},
		{"a fragment", "https://login.example.com/token#x", false},
		{"a backslash", `https://login.example.com\@evil.example.com/`, false},
		{"a space", "https://login.example.com/a b", false},
		{"a tab", "https://login.example.com/a\tb", false},
		{"an international name", "https://löwe.example.com/", false},
		{"a brace alone", "https://login.example.com/{", false},
		{"an empty placeholder", "https://login.example.com/{}", false},
		{"a placeholder of two words", "https://login.example.com/{a b}", false},
		{"a placeholder in a placeholder", "https://login.example.com/{a{b}}", false},
		{"a scheme of a placeholder", "{scheme}://login.example.com/", false},
		{"a part of the host without a scheme", "{shop}.example.com/", false},
		{"two values at the beginning", "{a}{b}/x", false},
		{"a port of a placeholder", "https://login.example.com:{port}/", false},
		{"a port that is none", "https://login.example.com:99999999/", false},
		{"steps", "https://login.example.com/a/../b", false},
		{"encoded steps", "https://login.example.com/a/%2e%2e/b", false},
		{"a percent sign alone", "https://login.example.com/100%/b", false},
	} {
		if _, err := parseURL("f", test.url); (err == nil) != test.ok {
			t.Errorf("%s: %q: error %v", test.reason, test.url, err)
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	inputs := []v1alpha1.Input{
		{Name: "tenant", Restriction: restricted("[a-z0-9.-]+")},
		{Name: "domain", Restriction: restricted(`[a-z0-9-]+\.auth\.example`)},
		{Name: "dc", Restriction: restricted("", "com", "co.uk", "eu:444")},
		{Name: "free"},
		{Name: "host", Default: new("git.internal:8443")},
		{Name: "site", Default: new("http://localhost:8080/")},
		{Name: "none", Default: new("")},
	}
	captured := []v1alpha1.Capture{
		{Name: "instance_url", Path: "$.i", Restriction: restricted(`https://[a-z0-9.-]+\.my\.salesforce\.com`)},
		{Name: "loose", Path: "$.l", Restriction: restricted(`.*`)},
		{Name: "dashed", Path: "$.d", Restriction: restricted(`.*-example\.com`)},
		{Name: "any", Path: "$.a"},
	}
	defined := definedBy(t, inputs, captured)
	for _, test := range []struct {
		reason, url string
		values      map[string]string
		want        string // empty: an error
	}{
		{"nothing to fill", "https://a.example.com/x?y=z", nil, "https://a.example.com/x?y=z"},
		{"part of a host", "https://{tenant}.example.com/x", map[string]string{"tenant": "acme"}, "https://acme.example.com/x"},
		{"more labels stay within the domain", "https://{tenant}.example.com/x", map[string]string{"tenant": "a.b"}, "https://a.b.example.com/x"},
		{"a dot too many", "https://{tenant}.example.com/x", map[string]string{"tenant": "a."}, ""},
		{"a label that begins with a hyphen", "https://{tenant}.example.com/x", map[string]string{"tenant": "-a"}, ""},
		{"a value outside its pattern", "https://{tenant}.example.com/x", map[string]string{"tenant": "ACME"}, ""},
		{"a suffix without a dot pins nothing", "https://{tenant}example.com/x", map[string]string{"tenant": "evil"}, ""},
		{"a suffix that anybody can register under pins nothing", "https://{tenant}.co.uk/x", map[string]string{"tenant": "evil"}, ""},
		{"a top-level domain pins nothing", "https://{tenant}.com/x", map[string]string{"tenant": "evil"}, ""},
		{"a pattern with a domain", "https://{domain}/x", map[string]string{"domain": "acme.auth.example"}, "https://acme.auth.example/x"},
		{"a pattern with a domain, not matched", "https://{domain}/x", map[string]string{"domain": "acme.auth.example.evil.com"}, ""},
		{"a value before a pinned one", "https://{tenant}.{domain}/x", map[string]string{"tenant": "a", "domain": "b.auth.example"}, "https://a.b.auth.example/x"},
		{"an enum", "https://accounts.zoho.{dc}/x", map[string]string{"dc": "co.uk"}, "https://accounts.zoho.co.uk/x"},
		{"outside the enum", "https://accounts.zoho.{dc}/x", map[string]string{"dc": "evil.com"}, ""},
		{"a port in an enum", "https://accounts.zoho.{dc}/x", map[string]string{"dc": "eu:444"}, ""},
		{"a value before an enum that pins no domain", "https://{tenant}.{dc}/x", map[string]string{"tenant": "evil", "dc": "com"}, ""},
		{"a free value", "https://{free}.example.com/x", map[string]string{"free": "acme"}, ""},
		{"the application's own host, with its port", "https://{host}/x", map[string]string{"host": "git.internal:8443"}, "https://git.internal:8443/x"},
		{"another host in its place", "https://{host}/x", map[string]string{"host": "evil.com"}, ""},
		{"a second port", "https://{host}:1/x", map[string]string{"host": "git.internal:8443"}, ""},
		{"a port in the middle", "https://{host}.example.com/x", map[string]string{"host": "git.internal:8443"}, ""},
		{"a value before the application's own host", "https://{tenant}.{host}/x", map[string]string{"tenant": "a", "host": "git.internal:8443"}, "https://a.git.internal:8443/x"},
		{"the application's own address", "{site}/x", map[string]string{"site": "http://localhost:8080/"}, "http://localhost:8080/x"},
		{"another address in its place", "{site}/x", map[string]string{"site": "https://evil.com"}, ""},
		{"a captured address", "{instance_url}/x", map[string]string{"instance_url": "https://a.my.salesforce.com"}, "https://a.my.salesforce.com/x"},
		{"a captured address of another domain", "{instance_url}/x", map[string]string{"instance_url": "https://evil.com"}, ""},
		{"a captured address with a port", "{instance_url}/x", map[string]string{"instance_url": "https://a.my.salesforce.com:444"}, ""},
		{"a captured address with a path that looks pinned", "{loose}/x", map[string]string{"loose": "https://evil.com/.my.salesforce.com"}, ""},
		{"a captured address with a pattern that pins no domain", "{dashed}/x", map[string]string{"dashed": "https://evil-example.com"}, ""},
		{"a captured address without restriction", "{any}/x", map[string]string{"any": "https://a.example.com"}, ""},
		{"a path keeps its step", "https://a.example.com/{free}/x", map[string]string{"free": "a/b?c#d%2f"}, "https://a.example.com/a%2Fb%3Fc%23d%252f/x"},
		{"no way up", "https://a.example.com/{free}/x", map[string]string{"free": ".."}, ""},
		{"no way up with the literal", "https://a.example.com/.{free}/x", map[string]string{"free": "."}, ""},
		{"no way up behind a slash", "https://a.example.com/{free}/x", map[string]string{"free": "a/../b"}, ""},
		{"no way up behind a backslash", "https://a.example.com/{free}/x", map[string]string{"free": `..\b`}, ""},
		{"no way up with a parameter", "https://a.example.com/{free}/x", map[string]string{"free": "..;a=b"}, ""},
		{"no line break", "https://a.example.com/{free}/x", map[string]string{"free": "a\r\nb"}, ""},
		{"no text that changes its direction", "https://a.example.com/{free}/x", map[string]string{"free": "a\u202eb"}, ""},
		{"not too long", "https://a.example.com/{free}/x", map[string]string{"free": strings.Repeat("a", 2000)}, ""},
		{"a query keeps its value", "https://a.example.com/?q={free}", map[string]string{"free": "a&b=c d+e#f"}, "https://a.example.com/?q=a%26b%3Dc%20d%2Be%23f"},
		{"an empty step", "https://a.example.com/{none}/x", nil, ""},
		{"an input without value within a step", "https://a.example.com/v1{none}/x", nil, "https://a.example.com/v1/x"},
		{"an input without value in a host", "https://api{none}.example.com/x", nil, "https://api.example.com/x"},
		{"a value that is not known", "https://a.example.com/{any}/x", nil, ""},
	} {
		parsed, err := parseURL("f", test.url)
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		got, err := parsed.expand(func(name string) string { return test.values[name] }, defined)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: got %q, %v; want %q", test.reason, got, err, test.want)
		}
		if failed := (*FieldError)(nil); err != nil && !errors.As(err, &failed) {
			t.Errorf("%s: the error %v names no field", test.reason, err)
		}
	}
}

func TestPins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern     string
		pinned, all bool // all: the values are listed
	}{
		{pattern: `[a-z]+\.example\.com`, pinned: true},
		{pattern: `(?i)[a-z]+\.EXAMPLE\.com`, pinned: true},
		{pattern: `[a-z]+[.]example[.]com`, pinned: true},
		{pattern: `[a-z]+\.(eu|us)\.example\.com`, pinned: true},
		{pattern: `[a-z]+(\.eu)?\.example\.com`, pinned: true},
		{pattern: `^[a-z]+\.example\.com$`, pinned: true},
		{pattern: `([a-z]+\.example\.com)`, pinned: true},
		{pattern: `a|[a-z]+\.example\.com`},
		{pattern: `[a-z]+(\.example\.com)?`},
		{pattern: `[a-z]+(\.example\.com)*`},
		{pattern: `[a-z]+\.example.com`},
		{pattern: `[a-z]+example\.com`},
		{pattern: `[a-z]+\.com`},
		{pattern: `[a-z]+\.co\.uk`},
		{pattern: `.*`},
		{pattern: `[a-z]+\..com`},
		{pattern: `www\.example\.com|www\.example\.org`, pinned: true, all: true},
		{pattern: `example\.com`, all: true},
		{pattern: `localhost`, all: true},
		{pattern: `a{500}`},
	} {
		r, err := newRestriction(restricted(test.pattern))
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if got := pins(r.endings); got != test.pinned {
			t.Errorf("%s: pinned %t, endings %v", test.pattern, got, r.endings)
		}
		if got := r.finite(); got != test.all {
			t.Errorf("%s: finite %t, endings %v", test.pattern, got, r.endings)
		}
	}
	for _, pattern := range []string{`a)|(?:b`, `[`, `(a{900}b){900}`, `(abcdefghijklm){1000}`} {
		if _, err := newRestriction(restricted(pattern)); err == nil {
			t.Errorf("%s is accepted", pattern)
		}
	}
}

// FuzzExpand gives hostile values to every kind of place. Whatever comes out must be the URL that the application meant, as
// another reader of URLs reads it: the same scheme, a host in the fixed domain, the same number of steps and parameters.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{
		"acme", "a.b", "..", ".", "", "a/b", "a/../b", "%2e%2e", "..;", `..\..`, "a?b", "a#b", "a@evil.com", "evil.com:443",
		"https://evil.com", "https://a.my.example.com", "https://a.my.example.com/", "https://a.my.example.com@evil.com",
		"https://evil.com/.my.example.com", "https://evil.com#.my.example.com", "https://evil.com?.my.example.com", "http://a.my.example.com",
		"a\r\nHost: evil.com", "a b", "a+b", "a&b=c", "\x00", "\u202e", "ä", "１.evil.com", "//evil.com", "[::1]", "127.0.0.1",
	} {
		f.Add(seed, seed)
	}
	const tenantDomain, instanceDomain = ".example.com", ".my.example.com"
	patterns := []string{`.*`, `(?s).*`, `[a-z0-9.-]+`}
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, pattern := range patterns {
			defined := definedBy(t,
				[]v1alpha1.Input{{Name: "one", Restriction: restricted(pattern)}, {Name: "free"}},
				[]v1alpha1.Capture{{Name: "base", Path: "$.b", Restriction: restricted(`(?s).*\.my\.example\.com`)}})
			values := map[string]string{"one": one, "free": two, "base": one}
			for _, template := range []struct{ url, domain string }{
				{"https://{one}.example.com/a/{free}/b{free}?c={free}&d={one}", tenantDomain},
				{"{base}/a/{free}/b{free}?c={free}&d={free}", instanceDomain},
			} {
				parsed, err := parseURL("f", template.url)
				if err != nil {
					t.Fatal(err)
				}
				got, err := parsed.expand(func(name string) string { return values[name] }, defined)
				if err != nil {
					continue
				}
				checkShape(t, got, template.domain)
			}
		}
	})
}

func checkShape(t *testing.T, got, domain string) {
	t.Helper()
	read, err := url.Parse(got)
	if err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	if read.Scheme != "https" || read.User != nil || read.Fragment != "" || read.Port() != "" {
		t.Errorf("%q has another origin", got)
	}
	if !strings.HasSuffix(read.Host, domain) || strings.Trim(read.Host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
		t.Errorf("%q leaves the domain %s", got, domain)
	}
	if steps := strings.Split(read.EscapedPath(), "/"); len(steps) != 4 || steps[1] != "a" || !strings.HasPrefix(steps[3], "b") {
		t.Errorf("%q has other steps: %q", got, steps)
	}
	if cleaned := read.JoinPath(); cleaned.EscapedPath() != read.EscapedPath() {
		t.Errorf("%q has a path that is cleaned to %q", got, cleaned.EscapedPath())
	}
	if strings.Count(got, "?") != 1 || strings.Count(read.RawQuery, "&") != 1 || strings.ContainsAny(got, "#\\ \r\n\t\x00") {
		t.Errorf("%q has other parameters", got)
	}
	query, err := url.ParseQuery(read.RawQuery)
	if err != nil || len(query) != 2 || !query.Has("c") || !query.Has("d") {
		t.Errorf("%q has other parameters: %v, %v", got, query, err)
	}
}

// FuzzParseURL gives hostile templates. One that is accepted leads, with harmless values, to the host that is written in it.
func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"https://{a}.example.com/{b}?c={d}", "{a}/b", "https://a@b", `https://a\@b/`, "https://a#@b", "https://a:1:2/", "https://[::1]/",
		"https://a/%zz", "https://a/{b}/../c", "https:/a", "//a", "{a}{b}", "https://{a}:1", "https://a?b#c", "https://a/{", "{{a}}",
		"https://exa%6dple.com/", "https://a.example.com:/x", "http://a", "https://a//b", "https://{a}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, template string) {
		parsed, err := parseURL("f", template)
		if err != nil {
			return
		}
		inputs := []v1alpha1.Input{}
		for _, name := range parsed.names() {
			if reserved(name) || len(inputs) == 16 {
				return
			}
			inputs = append(inputs, v1alpha1.Input{Name: v1alpha1.ValueName(name), Restriction: restricted("", "sample")})
		}
		got, err := parsed.expand(func(string) string { return "sample" }, definedBy(t, inputs, nil))
		if err != nil {
			return
		}
		read, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q gives %q: %v", template, got, err)
		}
		if read.User != nil || read.Fragment != "" || read.Hostname() == "" {
			t.Errorf("%q gives %q", template, got)
		}
		plain := strings.Join(strings.FieldsFunc(template, func(r rune) bool { return r == '{' || r == '}' }), "")
		if want, _, _ := strings.Cut(strings.TrimPrefix(got, read.Scheme+"://"), "/"); parsed.base == "" && !strings.Contains(template, "{") {
			if !strings.HasPrefix(strings.ToLower(plain), read.Scheme+"://"+strings.ToLower(read.Host)) {
				t.Errorf("%q leads to %q (%q)", template, read.Host, want)
			}
		}
	})
}

// FuzzTemplate gives hostile texts and values. A text without placeholders stays as it is, and what a value has in braces is
// never filled again.
func FuzzTemplate(f *testing.F) {
	for _, seed := range [][2]string{
		{"{a}", "x"}, {"{a}{b}", "{b}"}, {"{{a}}", "}{"}, {`{"a":{a}}`, "x"}, {"{", "x"}, {"}", ""}, {"{a", "{a}"}, {"{a b}", "x"}, {"{a}\r\n", "\x00"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		pieces := split(text)
		same := fill(pieces, func(name string) string { return "{" + name + "}" })
		if same != text {
			t.Errorf("%q is read as %q", text, same)
		}
		want := 0
		literals := 0
		for _, piece := range pieces {
			literals += len(piece.literal)
			if piece.name != "" {
				want += len(value)
			}
		}
		if got := fill(pieces, func(string) string { return value }); len(got) != want+literals {
			t.Errorf("%q with %q gives %q", text, value, got)
		}
	})
}
