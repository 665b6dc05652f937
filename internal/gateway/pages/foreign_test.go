// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"
)

func TestClean(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"what people write stays", "Åsa's CRM – 東京 🚀", "Åsa's CRM – 東京 🚀"},
		{"scripts that read to the left stay", "حساب الشركة", "حساب الشركة"},
		{"an override would turn the text around", "github\u202emoc.live", "githubmoc.live"},
		{"isolates and marks too", "\u2066a\u2067b\u2068c\u2069d\u200ee\u200ff\u061cg", "abcdefg"},
		{"lines become one", "a\r\n\tb\u2028c\u2029d\u0085e", "a b c d e"},
		{"white space at the ends is not shown", "  a \u00a0 b\t", "a b"},
		{"controls are not shown", "a\x00\x1b[31mb\u009bc", "a [31mb c"},
		{"what is invisible could tell two names apart that look the same", "git\u200bhub\u2060\ufeff\u00ad", "github"},
		{"joiners are parts of words and signs", "نمی\u200cخواهم 👩\u200d💻", "نمی\u200cخواهم 👩\u200d💻"},
		{"broken UTF-8 is shown as such", "a\xffb", "a�b"},
		{"accents stay", "e\u0301 a\u0308\u0323", "e\u0301 a\u0308\u0323"},
		{"towers of marks would cover other lines", "Z" + strings.Repeat("\u0335", 40) + "!", "Z" + strings.Repeat("\u0335", 6) + "!"},
		{"nothing stays nothing", "\u202e \u200b", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := clean(test.text, 100); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got, want := clean("äöü 12345", 5), "äöü 1…"; got != want {
		t.Errorf("a long text: got %q, want %q", got, want)
	}
	if got := clean("äöüß5", 5); got != "äöüß5" {
		t.Errorf("a text as long as may be: got %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\u202eb\x00 \u0301", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(1, limit%1000)
		got := clean(text, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > limit+1 {
			t.Fatalf("%q is no text of that length", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
				t.Fatalf("%q contains %U", got, r)
			}
		}
		if again := clean(got, len(got)+1); again != got {
			t.Fatalf("%q becomes %q when it is cleaned again", got, again)
		}
	})
}

func TestInitial(t *testing.T) {
	for name, want := range map[string]string{"GitHub": "G", "über": "Ü", "(1) x": "1", "東京": "東", "…!": "", "": ""} {
		if got := initial(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestLink(t *testing.T) {
	for _, test := range []struct {
		name, text string
		ok         bool
	}{
		{"a path", "/connect/a/b?ticket=x&y=%20#top", true},
		{"the root", "/", true},
		{"the external URL", "https://connect.example.com/oauth/connect/a/b?ticket=x", true},
		{"an external URL on loopback", "http://127.0.0.1:8080/connect/a/b", true},
		{"nothing", "", false},
		{"a script", "javascript:alert(1)", false},
		{"a script in capitals", "JaVaScRiPt:alert(1)", false},
		{"a script behind a control", "\x01javascript:alert(1)", false},
		{"a script with a line in it", "java\nscript:alert(1)", false},
		{"data", "data:text/html,<script>alert(1)</script>", false},
		{"another host without a scheme", "//evil.example", false},
		{"another host behind three slashes", "///evil.example", false},
		{"another host, as browsers read it", `/\evil.example`, false},
		{"another host, with a tab that browsers drop", "/\t/evil.example", false},
		{"a path that depends on the page's", "connect/a/b", false},
		{"a query alone", "?ticket=x", false},
		{"no host", "https:///connect", false},
		{"an opaque URL", "https:connect.example.com", false},
		{"a quote, which would end the URL", `/a";url=https://evil.example`, false},
		{"a user name that looks like a host", "https://connect.example.com@evil.example/", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := ""
			if test.ok {
				want = test.text
			}
			if got := link(test.text); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestLogo(t *testing.T) {
	for _, test := range []struct{ name, logo, origin string }{
		{"https", "https://cdn.example.com/logo.svg?v=1", "https://cdn.example.com"},
		{"a port", "https://cdn.example.com:8443/logo.svg", "https://cdn.example.com:8443"},
		{"loopback", "http://127.0.0.1:9000/logo.svg", "http://127.0.0.1:9000"},
		{"loopback of version 6", "http://[::1]:9000/logo.svg", "http://[::1]:9000"},
		{"localhost", "http://localhost/logo.svg", "http://localhost"},
		{"http elsewhere", "http://cdn.example.com/logo.svg", ""},
		{"a name that only begins like this machine's", "http://localhost.example.com/logo.svg", ""},
		{"a script", "javascript:alert(1)", ""},
		{"data", "data:image/svg+xml,<svg/>", ""},
		{"a path of this site", "/logo.svg", ""},
		{"a user name", "https://u:p@cdn.example.com/logo.svg", ""},
		{"a host that would add to a policy", "https://cdn.example.com;script-src%20*/logo.svg", ""},
		{"a wildcard", "https://*.example.com/logo.svg", ""},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := LogoOrigin(test.logo); got != test.origin {
				t.Errorf("origin: got %q, want %q", got, test.origin)
			}
			if shown := logoURL(test.logo); (shown != "") != (test.origin != "") {
				t.Errorf("the logo is shown as %q although its origin is %q", shown, test.origin)
			}
		})
	}
}

func FuzzLink(f *testing.F) {
	for _, seed := range []string{"/a", "//a", "https://a/b", "javascript:x", `/\a`, "http://[::1]/"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://connect.example.com/page")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := link(text)
		if got == "" {
			return
		}
		// Browsers drop tabs and line breaks, and read a backslash as a slash.
		u, err := base.Parse(strings.ReplaceAll(strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(got), `\`, "/"))
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			t.Fatalf("%q leads to %v, %v", got, u, err)
		}
		if strings.HasPrefix(got, "/") && u.Host != base.Host {
			t.Fatalf("%q looks like a path and leads to %s", got, u)
		}
	})
}

func TestCommandIsSafeToPaste(t *testing.T) {
	for _, connection := range []types.NamespacedName{
		{},
		{Namespace: "a"},
		{Name: "a"},
		{Namespace: "a", Name: "b; rm -rf ~"},
		{Namespace: "$(id)", Name: "b"},
		{Namespace: "a", Name: "b\nid"},
		{Namespace: "a", Name: "-f"},
	} {
		if got := command(connection); got != "" {
			t.Errorf("%q: got %q", connection, got)
		}
	}
	const want = "kubectl describe oauthconnection crm.v2 -n billing"
	if got := command(types.NamespacedName{Namespace: "billing", Name: "crm.v2"}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
