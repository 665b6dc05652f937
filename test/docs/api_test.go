// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	apiPage   = "docs/api.md"
	proxyPage = "docs/proxy.md"
)

// TestCodesOfTheAPI wants every code with its status in the page of the API, and a word of each in the troubleshooting.
func TestCodesOfTheAPI(t *testing.T) {
	t.Parallel()
	codes := regexp.MustCompile(`(?m)^\t(\w+) Code = "(\w+)"$`).FindAllStringSubmatch(read(t, "internal/rest/problem/problem.go"), -1)
	page := read(t, apiPage)
	_, section, _ := strings.Cut(read(t, "docs/troubleshooting.md"), "\n## Codes of the API\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, found := range codes {
		code := problem.Code(found[2])
		if row := "| `" + string(code) + "` | " + strconv.Itoa(code.Status()) + " |"; !strings.Contains(page, row) {
			t.Errorf("%s has no row %s…", apiPage, row)
		}
		if !strings.Contains(section, "`"+string(code)+"`") {
			t.Errorf("docs/troubleshooting.md does not say what to do about %s", code)
		}
	}
	if rows := regexp.MustCompile("(?m)^\\| `\\w+` \\| [45]\\d\\d \\|").FindAllString(page, -1); len(rows) != len(codes) || len(codes) < 24 {
		t.Errorf("%s explains %d codes, and there are %d", apiPage, len(rows), len(codes))
	}
}

// TestHeadersOfTheProxy wants every header between callers and the API in the page of the proxy, with its values, and no other.
func TestHeadersOfTheProxy(t *testing.T) {
	t.Parallel()
	page := read(t, proxyPage)
	known := map[string]bool{problem.Header: true}
	for _, found := range regexp.MustCompile(`ownPrefix \+ "(\w+)"`).FindAllStringSubmatch(read(t, "internal/rest/proxy/headers.go"), -1) {
		known["Oauth-Operator-"+found[1]] = true
	}
	for name := range known {
		if !strings.Contains(page, "| `"+name+"` |") {
			t.Errorf("%s has no row for %s", proxyPage, name)
		}
	}
	for _, name := range regexp.MustCompile(`Oauth-Operator-\w+`).FindAllString(page+read(t, apiPage), -1) {
		if !known[name] {
			t.Errorf("the pages name %s, which is no header", name)
		}
	}
	for name, value := range constants(t, "internal/rest/proxy/headers.go", "Token") {
		if !strings.Contains(page, "`"+value+"`") {
			t.Errorf("%s does not explain %s (%s)", proxyPage, value, name)
		}
	}
	if len(known) < 4 {
		t.Errorf("only %v were found", known)
	}
}

// TestPathsOfTheAPI wants every path that is served in the page of the API, with its methods.
func TestPathsOfTheAPI(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(read(t, "docs/openapi.json")), &document); err != nil {
		t.Fatal(err)
	}
	page := read(t, apiPage)
	for path, operations := range document.Paths {
		if strings.HasSuffix(path, "/{path}") {
			operations = map[string]any{"any method of": nil}
		}
		for method := range operations {
			if len(method) <= len("options") {
				method = strings.ToUpper(method)
			}
			if !regexp.MustCompile("[`\\s]" + method + " `?" + regexp.QuoteMeta(path) + "`").MatchString(page) {
				t.Errorf("%s does not name %s %s", apiPage, method, path)
			}
		}
	}
	if len(document.Paths) < 9 {
		t.Errorf("only %d paths were found", len(document.Paths))
	}
}

// TestLabelsOfTheAPI wants every value of a label in the page of the API, and the parts of the audit.
func TestLabelsOfTheAPI(t *testing.T) {
	t.Parallel()
	page := read(t, apiPage)
	for source, prefixes := range map[string][]string{
		"internal/rest/metrics/metrics.go":           {"Route", "Renewed", "NotRenewable", "TooSoon"},
		"internal/rest/traffic/breaker.go":           {"BreakerOpen", "BreakerHalfOpen"},
		"internal/rest/integrations/integrations.go": {"Action", "Outcome"},
	} {
		for _, prefix := range prefixes {
			for name, value := range constants(t, source, prefix) {
				if !strings.Contains(page, "`"+value+"`") {
					t.Errorf("%s does not explain %s (%s)", apiPage, value, name)
				}
			}
		}
	}
}

// TestAPIPageShowsTheSamples holds installation and caller of the page to config/samples/api, which is applied elsewhere.
func TestAPIPageShowsTheSamples(t *testing.T) {
	t.Parallel()
	const directory = "config/samples/api"
	page := read(t, apiPage)
	block := func(kind, begins string) map[string]any {
		fenced := regexp.MustCompile("(?s)```" + kind + "\n(" + regexp.QuoteMeta(begins) + ".*?)\n```").FindStringSubmatch(page)
		if fenced == nil {
			t.Fatalf("%s shows no %s", apiPage, begins)
		}
		return parsed(t, fenced[1])
	}
	sample := parsed(t, read(t, directory+"/kustomization.yaml"))
	delete(sample, "replacements") // The page says what they are for.
	fromRoot(sample, directory)
	if shown := block("yaml", "apiVersion: kustomize"); !reflect.DeepEqual(shown, sample) {
		t.Errorf("%s shows %v, and the sample is %v", apiPage, shown, sample)
	}
	_, volumes, _ := strings.Cut(read(t, directory+"/caller.yaml"), "\n      volumes:\n      - name: oauth-operator\n")
	caller := parsed(t, "volumes:\n      - name: oauth-operator\n"+volumes)
	if shown := block("yml", "volumes:"); !reflect.DeepEqual(shown, caller) {
		t.Errorf("%s shows %v, and the sample has %v", apiPage, shown, caller)
	}
}
