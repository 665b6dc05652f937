// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

func realmOf(t *testing.T, base string, hosts ...string) realm {
	t.Helper()
	parsed, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return newRealm(parsed, hosts)
}

const (
	base  = "https://api.crm.example/v1"
	hosts = "files.crm.example *.cdn.example EU.crm.example"
)

func TestResolve(t *testing.T) {
	const refused, elsewhere = "400", "403"
	for name, row := range map[string]struct {
		base string // unset: the one above
		url  string
		want string // sent, or refused or elsewhere
	}{
		"nothing":                          {url: "", want: base},
		"a path":                           {url: "people/1", want: base + "/people/1"},
		"a path with a slash":              {url: "/people/1", want: base + "/people/1"},
		"a slash":                          {url: "/", want: base + "/"},
		"a query":                          {url: "?a=b", want: base + "?a=b"},
		"path and query":                   {url: "/a?b=c?d#e", want: base + "/a?b=c?d"},
		"an empty query":                   {url: "/a?", want: base + "/a?"},
		"an escaped slash":                 {url: "/projects/a%2Fb", want: base + "/projects/a%2Fb"},
		"lower case escapes":               {url: "/a%2fb%c3%a4", want: base + "/a%2fb%c3%a4"},
		"two slashes inside":               {url: "/a//b", want: base + "/a//b"},
		"a colon":                          {url: "people:batch", want: base + "/people:batch"},
		"no scheme":                        {url: "a/https://x", want: base + "/a/https://x"},
		"what looks like a scheme":         {url: "javascript:alert", want: base + "/javascript:alert"},
		"characters that need escapes":     {url: `/a b{c}|"ä`, want: base + "/a%20b%7Bc%7D%7C%22%C3%A4"},
		"escaped and unescaped":            {url: `/a%2Fb{c}`, want: base + "/a%2Fb%7Bc%7D"},
		"a query that needs escapes":       {url: `?q=a b"<ä>`, want: base + "?q=a%20b%22%3C%C3%A4%3E"},
		"a query that only looks unsafe":   {url: `?u=https://x/../y&z=%0d%0a&b={}|[]`, want: base + `?u=https://x/../y&z=%0d%0a&b={}|[]`},
		"semicolons":                       {url: "/a;b=c?d;e", want: base + "/a;b=c?d;e"},
		"dots in names":                    {url: "/..a/b../.c/...", want: base + "/..a/b../.c/..."},
		"a base with a slash":              {base: base + "/", url: "/a", want: base + "/a"},
		"a base without a path":            {base: "https://api.crm.example", url: "a", want: "https://api.crm.example/a"},
		"a base with a query":              {base: base + "?k=v", url: "a?b=c", want: base + "/a?k=v&b=c"},
		"a base with a query alone":        {base: base + "?k=v", url: "a", want: base + "/a?k=v"},
		"a base with escapes":              {base: "https://api.crm.example/a%2Fb", url: "c", want: "https://api.crm.example/a%2Fb/c"},
		"absolute":                         {url: "https://api.crm.example/other?a=b", want: "https://api.crm.example/other?a=b"},
		"absolute without a path":          {url: "https://api.crm.example", want: "https://api.crm.example/"},
		"absolute with a query alone":      {url: "https://api.crm.example?a", want: "https://api.crm.example/?a"},
		"absolute in capitals":             {url: "HTTPS://API.CRM.Example./x", want: "https://api.crm.example/x"},
		"absolute with the usual port":     {url: "https://api.crm.example:443/x", want: "https://api.crm.example:443/x"},
		"an allowed host":                  {url: "https://files.crm.example/x", want: "https://files.crm.example/x"},
		"an allowed host at another port":  {url: "https://files.crm.example:8443/x", want: "https://files.crm.example:8443/x"},
		"an allowed host in capitals":      {url: "https://eu.crm.example/x", want: "https://eu.crm.example/x"},
		"a subdomain":                      {url: "https://a.b.cdn.example/x", want: "https://a.b.cdn.example/x"},
		"the fragment hides a host":        {url: "https://api.crm.example#@evil.example/", want: "https://api.crm.example/"},
		"plain, if the base is":            {base: "http://127.0.0.1:8080/v1", url: "http://127.0.0.1:8080/x", want: "http://127.0.0.1:8080/x"},
		"an IPv6 address":                  {base: "https://[2001:db8::1]/v1", url: "https://[2001:DB8:0::1]/x", want: "https://[2001:db8::1]/x"},
		"another host":                     {url: "https://evil.example/", want: elsewhere},
		"another port":                     {url: "https://api.crm.example:8443/", want: elsewhere},
		"plain http":                       {url: "http://api.crm.example/", want: elsewhere},
		"plain http at the port of TLS":    {url: "http://api.crm.example:443/", want: elsewhere},
		"plain http to an allowed host":    {url: "http://files.crm.example/", want: elsewhere},
		"the apex of a wildcard":           {url: "https://cdn.example/", want: elsewhere},
		"a name that ends like a wildcard": {url: "https://evilcdn.example/", want: elsewhere},
		"a name that begins like the host": {url: "https://api.crm.example.evil.example/", want: elsewhere},
		"the metadata service":             {url: "https://169.254.169.254/latest", want: elsewhere},
		"two slashes":                      {url: "//evil.example/x", want: refused},
		"three slashes":                    {url: "///evil.example/x", want: refused},
		"a backslash":                      {url: `/\evil.example`, want: refused},
		"a backslash in the host":          {url: `https://api.crm.example\@evil.example/`, want: refused},
		"user information":                 {url: "https://user:canary@api.crm.example/", want: refused},
		"a host as user information":       {url: "https://api.crm.example@evil.example/", want: refused},
		"an escape in the host":            {url: "https://api.crm.example%2f@evil.example/", want: refused},
		"an escape in the host alone":      {url: "https://api%2ecrm.example/", want: refused},
		"another scheme":                   {url: "ftp://api.crm.example/", want: refused},
		"a file":                           {url: "file:///etc/passwd", want: refused},
		"no host":                          {url: "https:///x", want: refused},
		"a port that is none":              {url: "https://api.crm.example:http/", want: refused},
		"a zone":                           {base: "https://[fe80::1]/", url: "https://[fe80::1%25eth0]/", want: refused},
		"steps up":                         {url: "/../admin", want: refused},
		"steps up without a slash":         {url: "../admin", want: refused},
		"steps up in the middle":           {url: "/a/../../admin", want: refused},
		"steps up at the end":              {url: "/a/..", want: refused},
		"a step nowhere":                   {url: "/./a", want: refused},
		"escaped dots":                     {url: "/%2e%2e/admin", want: refused},
		"half escaped dots":                {url: "/.%2E/admin", want: refused},
		"an escaped slash after dots":      {url: "/..%2fadmin", want: refused},
		"an escaped slash before dots":     {url: "/a%2f..", want: refused},
		"an escaped backslash after dots":  {url: "/..%5cadmin", want: refused},
		"dots escaped twice":               {url: "/%252e%252e/admin", want: refused},
		"dots escaped thrice":              {url: "/%25252e%25252e%25252fadmin", want: refused},
		"dots behind a broken escape":      {url: "/%252e%252e/%25zz", want: refused},
		"dots with parameters":             {url: "/..;x=y/admin", want: refused},
		"escaped without end":              {url: "/%2525252525252e", want: refused},
		"steps up in an absolute URL":      {url: "https://api.crm.example/v1/%2e%2e/admin", want: refused},
		"a line break":                     {url: "/a\r\nX-Injected: 1", want: refused},
		"an escaped line break":            {url: "/a%0d%0aX-Injected:%201", want: refused},
		"a line break escaped twice":       {url: "/a%250a", want: refused},
		"a null":                           {url: "/a%00", want: refused},
		"a line break in the query":        {url: "/a?b\r\nc", want: refused},
		"a line break in the host":         {url: "https://api.crm.example\r\n/x", want: refused},
		"an escape of nothing":             {url: "/100%", want: refused},
	} {
		t.Run(name, func(t *testing.T) {
			if row.base == "" {
				row.base = base
			}
			got, err := realmOf(t, row.base, strings.Fields(hosts)...).resolve(row.url)
			if status := map[string]int{refused: http.StatusBadRequest, elsewhere: http.StatusForbidden}[row.want]; status != 0 {
				told := (*problem.Error)(nil)
				if !errors.As(err, &told) || told.Status != status {
					t.Fatalf("%q gives %v, %v; want status %d", row.url, got, err, status)
				}
				if strings.Contains(told.Detail, "canary") || strings.Contains(told.Detail, "admin") {
					t.Errorf("the URL is repeated: %s", told.Detail)
				}
				return
			}
			if err != nil || got.String() != row.want {
				t.Fatalf("%q gives %v, %v; want %s", row.url, got, err, row.want)
			}
			// What is sent is what was judged.
			if again, err := url.Parse(got.String()); err != nil || again.Host != got.Host || got.User != nil {
				t.Errorf("read again: %v, %v", again, err)
			}
		})
	}
}

// However a path is written, it stays below the base and on its host.
func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"a", "/../a", "//x", "https://api.crm.example/..%2f", "%2e%2E/", `..\a`, "?a=b#c", "https://x@y/", "/%25"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := realmOf(t, base).resolve(raw)
		if err != nil {
			return
		}
		if got.Scheme != "https" || strings.TrimSuffix(got.Host, ":443") != "api.crm.example" || got.User != nil || got.Fragment != "" {
			t.Fatalf("%q leads to %s", raw, got)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, got.String(), http.NoBody)
		if err != nil {
			t.Fatalf("%q cannot be sent: %v", raw, err)
		}
		line := request.URL.RequestURI()
		if _, absolute := schemeOf(raw); !absolute && !strings.HasPrefix(line, "/v1") {
			t.Fatalf("%q leads to %s", raw, line)
		}
		if strings.ContainsAny(line, " \r\n\t\\#") || hasDots(got.Path) {
			t.Fatalf("%q is sent as %q", raw, line)
		}
	})
}
