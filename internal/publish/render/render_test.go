// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const token = "at-0Q7zX9kL/mP2vW4+Yr8T6nB3hJ5=="

func sample() Values {
	return Values{
		AccessToken: sensitive.New(token), TokenType: "Bearer",
		ExpiresAt: time.Date(2026, 8, 1, 14, 30, 15, 999, time.FixedZone("CEST", 2*60*60)),
		Scopes:    []string{"read", "api", "offline_access"},
		Subject:   "group_1", ID: "connection_1",
		Captured:    map[string]string{"instance_url": "https://eu1.example.com:8443/a?b=c", "empty": ""},
		Inputs:      map[string]string{"tenant": "acme"},
		Connection:  Connection{Namespace: "billing", Name: "crm", DisplayName: "The \"CRM\"", Owner: "ann"},
		Application: types.NamespacedName{Namespace: "platform", Name: "crm-app"},
		SecretName:  "crm-token",
	}
}

// one renders one key of a Secret.
func one(t *testing.T, text string) (string, error) {
	t.Helper()
	out, err := New().Render(&v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"key": v1alpha1.TemplateText(text)}}, sample())
	return string(out.Data["key"]), err
}

// TestValues : what docs/templates.md says that there is.
func TestValues(t *testing.T) {
	for text, want := range map[string]string{
		"Bearer {{ .AccessToken }}\n":                             "Bearer " + token + "\n",
		"{{ .TokenType }}":                                        "Bearer",
		"{{ .ExpiresAt }} {{ .ExpiresAtUnix }}":                   "2026-08-01T12:30:15Z 1785587415",
		"{{ .Scope }}|{{ index .Scopes 1 }}":                      "read api offline_access|api",
		"{{ range .Scopes }}[{{ . }}]{{ end }}":                   "[read][api][offline_access]",
		"{{ .Subject }} {{ .ID }}":                                "group_1 connection_1",
		"{{ .Captured.instance_url }}":                            "https://eu1.example.com:8443/a?b=c",
		"{{ range $k, $v := .Inputs }}{{ $k }}={{ $v }}{{ end }}": "tenant=acme",
		"{{ with .Connection }}{{ .Namespace }}/{{ .Name }} {{ .DisplayName | toJson }} {{ .Owner }}{{ end }}": `billing/crm "The \"CRM\"" ann`,
		"{{ .Application.Namespace }}/{{ .Application.Name }}":                                                 "platform/crm-app",
		"{{ .SecretName }}":         "crm-token",
		"":                          "",
		"no template":               "no template",
		"{{/* nothing */}}":         "",
		"a {{- /* trimmed */ -}} b": "ab",
		"{{ if .Captured.empty }}x{{ else if eq .Subject \"group_1\" }}y{{ end }}":     "y",
		"{{ range .Scopes }}{{ if eq . \"api\" }}{{ break }}{{ end }}{{ . }}{{ end }}": "read",
		"{{ range list }}x{{ else }}none{{ end }}":                                     "none",
		"{{ $x := \"a\" }}{{ range .Scopes }}{{ $x = cat $x . }}{{ end }}{{ $x }}":     "a read api offline_access",
		"{{ true }} {{ 1.5 }} {{ len .Scopes }}":                                       "true 1.5 3",
		"{{ index .Captured \"nope\" | default \"other\" }}":                           "other",
		"{{ get .Captured \"nope\" }}{{ dig \"Connection\" \"Nope\" \"d\" . }}":        "d",
		"{{ (dict \"a\" (list 1 2)).a | toJson }}":                                     "[1,2]",
	} {
		if got, err := one(t, text); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestValuesThatAreNotThere(t *testing.T) {
	values := sample()
	values.ExpiresAt, values.Scopes, values.Captured, values.Inputs = time.Time{}, nil, nil, nil
	out, err := New().Render(&v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{
		"key": "[{{ .ExpiresAt }}{{ .ExpiresAtUnix }}{{ .Scope }}{{ range .Scopes }}x{{ end }}{{ range .Captured }}x{{ end }}]",
	}}, values)
	if err != nil || string(out.Data["key"]) != "[]" {
		t.Errorf("Render = %q, %v; want empty values", out.Data["key"], err)
	}
}

// TestFunctions : each function does what Sprig's or the engine's of that name does.
func TestFunctions(t *testing.T) {
	for text, want := range map[string]string{
		`{{ trim "  a " }}{{ trimAll "$" "$5$" }}{{ trimPrefix "a" "ab" }}{{ trimSuffix "b" "ab" }}`:                                                                         "a5ba",
		`{{ upper "a" }}{{ lower "B" }}{{ title "ab" }}{{ untitle "AB" }}{{ swapcase "aB" }}`:                                                                                "AbAbaBAb",
		`{{ trunc 2 "abc" }}{{ trunc -1 "abc" }}{{ substr 1 2 "abc" }}{{ nospace "a b" }}`:                                                                                   "abcbab",
		`{{ initials "Ab Cd" }} {{ snakecase "AbCd" }} {{ camelcase "ab_cd" }} {{ kebabcase "AbCd" }}`:                                                                       "AC ab_cd AbCd ab-cd",
		`{{ contains "b" "abc" }} {{ hasPrefix "a" "abc" }} {{ hasSuffix "a" "abc" }}`:                                                                                       "true true false",
		`{{ quote "a\"b" 1 }} {{ squote "a" }} {{ cat "a" 1 }} {{ plural "one" "many" 2 }} {{ toString 1 }}`:                                                                 `"a\"b" "1" 'a' a 1 many 1`,
		`{{ replace " " "-" "a b c" }} {{ join "," (list 1 "b" nil) }} {{ join "," "x" }}`:                                                                                   "a-b-c 1,b x",
		"{{ indent 2 \"a\\nb\" }}{{ nindent 1 \"c\" }}":                                                                                                                      "  a\n  b\n c",
		`{{ b64enc "a?" }} {{ b64dec "YT8=" }} {{ b32enc "a" }} {{ b32dec "ME======" }}`:                                                                                     "YT8= a? ME====== a",
		`{{ toJson (dict "b" 1 "a" "<") }} {{ toRawJson "<" }} {{ toPrettyJson (list 1) }}`:                                                                                  "{\"a\":\"\\u003c\",\"b\":1} \"<\" [\n  1\n]",
		`{{ (fromJson "{\"a\":[1,\"x\"]}").a | last }}`:                                                                                                                      "x",
		`{{ sha1sum "a" | trunc 4 }} {{ sha256sum "a" | trunc 4 }} {{ sha512sum "a" | trunc 4 }} {{ adler32sum "a" }}`:                                                       "86f7 ca97 1f40 6422626",
		`{{ regexMatch "^a+$" "aa" }} {{ regexFind "b+" "abbc" }} {{ regexQuoteMeta "a.b" }}`:                                                                                `true bb a\.b`,
		`{{ regexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W" }} {{ regexReplaceAllLiteral "a(x*)b" "-ab-axxb-" "${1}" }}`:                                                        "-W-xxW- -${1}-${1}-",
		`{{ int "5" }} {{ int64 5 }} {{ atoi "7" }} {{ add 1 2 }} {{ add1 1 }} {{ sub 1 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 2 }} {{ min 1 2 }}`:          "5 5 7 3 2 -1 6 3 1 2 1",
		`{{ default "d" "" }} {{ empty "" }} {{ coalesce "" "c" }} {{ ternary "y" "n" true }} {{ all 1 "" }} {{ any 1 "" }} {{ deepEqual 1 1 }}`:                             "d true c y false true true",
		`{{ kindOf "a" }} {{ kindIs "slice" list }}`:                                                                                                                         "string true",
		`{{ $l := list 1 2 3 }}{{ first $l }}{{ last $l }}{{ rest $l | toJson }}{{ initial $l | toJson }}{{ reverse $l | toJson }}`:                                          "13[2,3][1,2][3,2,1]",
		`{{ append (list 1) 2 | toJson }}{{ prepend (list 1) 2 | toJson }}{{ concat (list 1) (list 2) | toJson }}{{ compact (list 0 1 "") | toJson }}`:                       "[1,2][2,1][1,2][1]",
		`{{ has 1 (list 1) }} {{ slice (list 1 2 3) 1 2 | toJson }} {{ uniq (list 1 "1" 1) | toJson }} {{ without (list 1 2 3) 2 3 | toJson }}`:                              `true [2] [1,"1"] [1]`,
		`{{ (split "." "a.b")._1 }} {{ splitList "." "a.b" | toJson }} {{ (splitn "." 2 "a.b.c")._1 }} {{ uniq (splitList "." "a.a") | toJson }}`:                            `b ["a","b"] b.c ["a"]`,
		`{{ sortAlpha (list "b" "a") | toJson }} {{ toStrings (list 1) | toJson }} {{ without (splitList "." "a.b") "a" | toJson }}`:                                         `["a","b"] ["1"] ["b"]`,
		`{{ $d := dict "b" 1 "a" 2 }}{{ get $d "b" }}{{ hasKey $d "c" }}{{ pluck "a" $d | toJson }}{{ pick $d "a" | toJson }}{{ omit $d "a" | toJson }}`:                     `1false[2]{"a":2}{"b":1}`,
		`{{ keys (dict "b" 1 "a" 2) (dict "c" 1) | toJson }}{{ values (dict "b" 1 "a" 2) | toJson }}{{ dig "a" "b" 0 (dict "a" (dict "b" 1)) }}`:                             `["a","b","c"][2,1]1`,
		`{{ base "/a/b.c" }} {{ dir "/a/b" }} {{ clean "/a/../b" }} {{ ext "b.c" }} {{ isAbs "/a" }}`:                                                                        "b.c /a /b .c true",
		`{{ (urlParse .Captured.instance_url).hostname }} {{ urlJoin (dict "scheme" "https" "host" "h" "path" "/p") }}`:                                                      "eu1.example.com https://h/p",
		`{{ print "a" 1 }}{{ println "b" }}{{ printf "%s|%5d|%-3s|%q|%v|%.2f|%%|%x|%t|%c" "s" 1 "a" "q" 2 1.0 "A" true 65 }}`:                                                "a1b\ns|    1|a  |\"q\"|2|1.00|%|41|true|A",
		`{{ html "<" }} {{ js "'" }} {{ urlquery "a b/c" }}`:                                                                                                                 "&lt; \\' a+b%2Fc",
		`{{ and 1 "" }}{{ or "" 2 }} {{ not true }} {{ eq 1 2 1 }} {{ ne 1 2 }} {{ lt 1 2 }} {{ le 1 1 }} {{ gt 1 2 }} {{ ge 1 1 }} {{ len "abc" }}{{ index (list 4 5) 1 }}`: "2 false true true true true false true 35",
	} {
		if got, err := one(t, text); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", text, got, err, want)
		}
	}
}

// TestFunctionsAreSprigs compares those that this package makes itself with Sprig's of the same name.
func TestFunctionsAreSprigs(t *testing.T) {
	theirs := sprig.GenericFuncMap()
	call := func(of any, args []any) any {
		var in []reflect.Value
		for i := range args {
			in = append(in, reflect.ValueOf(&args[i]).Elem())
			if fixed := reflect.TypeOf(of); i < fixed.NumIn() && fixed.In(i).Kind() != reflect.Interface && !fixed.IsVariadic() {
				in[i] = in[i].Elem()
			}
		}
		return reflect.ValueOf(of).Call(in)[0].Interface()
	}
	for text, of := range map[string]struct {
		name string
		args []any
	}{
		`{{ replace "" "-" "abc" | toJson }}`:                     {"replace", []any{"", "-", "abc"}},
		`{{ join "-" (list "a" nil 1 true) | toJson }}`:           {"join", []any{"-", []any{"a", nil, 1, true}}},
		`{{ join "-" nil | toJson }}`:                             {"join", []any{"-", nil}},
		"{{ indent 3 \"\\na\\n\" | toJson }}":                     {"indent", []any{3, "\na\n"}},
		"{{ nindent 0 \"a\\n\" | toJson }}":                       {"nindent", []any{0, "a\n"}},
		`{{ uniq (list "b" "a" "b" nil nil) | toJson }}`:          {"uniq", []any{[]any{"b", "a", "b", nil, nil}}},
		`{{ without (list "b" "a" "b") "b" "c" | toJson }}`:       {"without", []any{[]any{"b", "a", "b"}, "b", "c"}},
		`{{ regexReplaceAll "" "abc" "-" | toJson }}`:             {"regexReplaceAll", []any{"", "abc", "-"}},
		`{{ regexReplaceAll "(?i)B*" "abBc" "$0-" | toJson }}`:    {"regexReplaceAll", []any{"(?i)B*", "abBc", "$0-"}},
		`{{ regexReplaceAllLiteral "[ac]" "abc" "$0" | toJson }}`: {"regexReplaceAllLiteral", []any{"[ac]", "abc", "$0"}},
		`{{ regexReplaceAll "\\b" "a b" "|" | toJson }}`:          {"regexReplaceAll", []any{`\b`, "a b", "|"}},
	} {
		want, err := json.Marshal(call(theirs[of.name], of.args))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := one(t, text); err != nil || got != string(want) {
			t.Errorf("%s = %s, %v; Sprig says %s", text, got, err, want)
		}
	}
}

// TestFunctionsAreDocumented : docs/templates.md lists exactly those that there are.
func TestFunctionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Functions\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for line := range strings.Lines(section) {
		if row, isRow := strings.CutPrefix(line, "| "); isRow {
			_, names, _ := strings.Cut(row, "|")
			for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(names, -1) {
				documented[name[1]] = true
			}
		}
	}
	if want := slices.Sorted(maps.Keys(allowed())); !slices.Equal(slices.Sorted(maps.Keys(documented)), want) {
		t.Errorf("documented are %q, there are %q", slices.Sorted(maps.Keys(documented)), want)
	}
}

// TestDocumentedExample renders the example of docs/templates.md, and breaks it as is told there.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	connection := struct {
		Spec struct {
			Secret v1alpha1.TokenSecretSpec `json:"secret"`
		} `json:"spec"`
	}{}
	if err := yaml.UnmarshalStrict([]byte(example), &connection); err != nil {
		t.Fatal(err)
	}
	template := connection.Spec.Secret.Template
	out, err := New().Render(template, sample())
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out.Data["header"]); got != "Bearer "+token {
		t.Errorf("header = %q", got)
	}
	config := map[string]string{}
	if err := json.Unmarshal(out.Data["config.json"], &config); err != nil || config["token"] != token || config["expires"] != "2026-08-01T12:30:15Z" {
		t.Errorf("config.json = %q, %v", out.Data["config.json"], err)
	}
	if out.Labels["tenant"] != "acme" || out.Annotations["example.com/account"] != "group_1" {
		t.Errorf("labels = %q, annotations = %q", out.Labels, out.Annotations)
	}
	template.Data["config.json"] = "\n{{ .Tokn }}"
	if _, err := New().Render(template, sample()); err == nil || !strings.Contains(string(page), "\n"+err.Error()+"\n") {
		t.Errorf("docs/templates.md does not show this message: %v", err)
	}
}

// TestAbsentFunctions : what would make a Secret differ each time, reach outside, or change what it is given.
func TestAbsentFunctions(t *testing.T) {
	for _, name := range []string{
		"now", "date", "dateInZone", "date_in_zone", "dateModify", "date_modify", "ago", "htmlDate", "htmlDateInZone", "toDate",
		"duration", "unixEpoch", "env", "expandenv", "getHostByName", "randAlphaNum", "randAlpha", "randAscii", "randNumeric",
		"randBytes", "randInt", "shuffle", "uuidv4", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
		"genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "buildCustomCert", "derivePassword", "bcrypt",
		"htpasswd", "encryptAES", "decryptAES", "set", "unset", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite",
		"deepCopy", "repeat", "until", "untilStep", "seq", "wrap", "wrapWith", "chunk", "fail", "call", "typeOf", "semver",
		"include", "tpl", "lookup", "osBase", "hello", stepControl, rangeControl, printControl,
	} {
		_, err := one(t, "\n{{ "+name+" }}")
		refused, ok := errors.AsType[*TemplateError](err)
		if !ok || refused.Line != 2 || refused.Message != `there is no function "`+name+`"; docs/templates.md lists those that there are` {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
	for name := range allowed() {
		if strings.HasPrefix(name, "_") {
			t.Errorf("%s looks like a control", name)
		}
	}
	for name, f := range allowed() {
		if f.of == nil {
			t.Errorf("%s is not there", name)
		}
	}
}

// TestErrors : each names the key and the line and says what to do.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		text    string
		line    int
		message string
	}{
		{"a\n{{ .Nope }}", 2, "there is no value Nope"},
		{"{{ .Captured.nope }}", 1, "there is no value nope"},
		{"{{ .Subject.x }}", 1, "there is no value x in what stands before it"},
		{"{{ .Scopes.x }}", 1, "there is no value x in what stands before it"},
		{"\n\n{{ index .Captured \"nope\" }}", 3, "there is no value to write; `default` gives one"},
		{"{{ .Scopes }}", 1, "a list or a map is no text; `join` and `toJson` make one of it"},
		{"{{ . }}", 1, "a list or a map is no text; `join` and `toJson` make one of it"},
		{"{{ nil }}", 1, "nil cannot stand here"},
		{"{{ if }}", 1, "missing value for if"},
		{"{{ trim }", 1, `unexpected "}" in operand`},
		{"{{ range .Scopes }}", 1, "unexpected EOF"},
		{"{{ \"a }}", 1, "unterminated quoted string"},
		{"a\n{{ $x }}", 2, `undefined variable "$x"`},
		{"{{ break }}", 1, "{{break}} outside {{range}}"},
		{"{{ upper }}", 1, "wrong number of args for upper: want 1 got 0"},
		{"{{ join }}", 1, "wrong number of args for join: want 2 got 0"},
		{"{{ cat | upper 1 2 }}", 1, "wrong number of args for upper: want 1 got 3"},
		{"{{ upper 1 }}", 1, "expected string"},
		{"{{ upper .Scopes }}", 1, "wrong type for value; expected string; got []anything"},
		{"{{ upper (len .Scopes) }}", 1, "wrong type for value; expected string; got int"},
		{"{{ upper nil }}", 1, "nil cannot stand here"},
		{"{{ index .Scopes 9 }}", 1, "index cannot use these values"},
		{"{{ lt .AccessToken 1 }}", 1, "lt cannot use these values"},
		{"{{ atoi .AccessToken }}", 1, "atoi cannot use these values"},
		{"{{ b64dec .AccessToken }}", 1, "b64dec cannot use these values"},
		{"{{ fromJson .AccessToken }}", 1, "fromJson cannot use these values"},
		{"{{ urlParse (cat \"http://[\" .AccessToken) }}", 1, "urlParse cannot use these values"},
		{"{{ div 1 0 }}", 1, "div cannot use these values"},
		{"{{ substr 0 99 (print .AccessToken) }}{{ substr -1 99 .AccessToken }}", 1, "substr cannot use these values"},
		{"{{ dig \"a\" \"b\" .AccessToken }}", 1, "dig cannot use these values"},
		{"{{ uniq .AccessToken }}", 1, "this is no list"},
		{"{{ uniq (list .Scopes) }}", 1, "the list holds lists or maps"},
		{"{{ without (list) .Scopes }}", 1, "the list holds lists or maps"},
		{"{{ without .Connection }}", 1, "this is no list"},
		{"{{ indent 65 \"a\" }}", 1, "the indentation is from 0 to 64"},
		{"{{ nindent -1 \"a\" }}", 1, "the indentation is from 0 to 64"},
		{"{{ regexMatch \"(\" \"a\" }}", 1, "the regular expression is malformed"},
		{"{{ printf \"%s\" }}", 1, "printf has more verbs than values"},
		{"{{ printf \"a\" .AccessToken }}", 1, "printf has more values than verbs"},
		{"{{ printf \"%d\" .AccessToken }}", 1, "the verbs of printf do not fit its values; there are %s, %q, %v, %x, %d, %o, %b, %c, %t, %e, %f and %g, without * and [n]"},
		{"{{ define \"x\" }}{{ end }}", 0, "define, template and block are not available: each key is one template"},
		{"{{ range .AccessToken }}x{{ end }}", 1, "range goes over lists and maps alone"},
		{"\n{{ range (b64enc .AccessToken) }}x{{ end }}", 2, "range goes over lists and maps alone"},
	} {
		_, err := one(t, test.text)
		got, ok := errors.AsType[*TemplateError](err)
		if !ok {
			t.Errorf("%q: %v (%T), want a TemplateError", test.text, err, err)
			continue
		}
		if got.Key != "data[key]" || cmp.Or(got.Line, 0) != test.line || got.Message != test.message {
			t.Errorf("%q: line %d of %s: %q; want line %d, %q", test.text, got.Line, got.Key, got.Message, test.line, test.message)
		}
		if strings.Contains(err.Error(), token[:8]) || strings.Contains(err.Error(), "YXQt") {
			t.Errorf("%q: the error shows the token: %v", test.text, err)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for _, test := range []struct{ err, want string }{
		{(&TemplateError{Key: "data[a.b]", Line: 3, Message: "m"}).Error(), "spec.secret.template.data[a.b], line 3: m"},
		{(&TemplateError{Key: "data[a.b]", Message: "m"}).Error(), "spec.secret.template.data[a.b]: m"},
	} {
		if test.err != test.want {
			t.Errorf("Error() = %q, want %q", test.err, test.want)
		}
	}
	long := strings.Repeat("x", 4000)
	if _, err := one(t, "{{ "+long+" }}"); err == nil || len(err.Error()) > 400 {
		t.Errorf("the message is not bounded: %v", err)
	}
}

// TestFirstErrorIsAlwaysTheSame : status must not flap between the errors of a template.
func TestFirstErrorIsAlwaysTheSame(t *testing.T) {
	broken := map[string]v1alpha1.TemplateText{}
	for _, name := range []string{"e", "d", "c", "b", "a"} {
		broken[name] = "{{ .Nope }}"
	}
	template := &v1alpha1.SecretTemplate{Data: broken, Metadata: &v1alpha1.SecretTemplateMetadata{Labels: broken}}
	for range 20 {
		if _, err := New().Render(template, sample()); err == nil || !strings.Contains(err.Error(), "data[a]") {
			t.Fatalf("Render = %v, want the error of data[a]", err)
		}
	}
	template.Data = nil
	if _, err := New().Render(template, sample()); err == nil || !strings.Contains(err.Error(), "metadata.labels[a], line 1") {
		t.Fatalf("Render = %v, want the error of the label", err)
	}
}

func TestMetadata(t *testing.T) {
	out, err := New().Render(&v1alpha1.SecretTemplate{Metadata: &v1alpha1.SecretTemplateMetadata{
		Labels: map[string]v1alpha1.TemplateText{
			"argocd.argoproj.io/secret-type": "repository", "tenant": "{{ .Inputs.tenant }}", "empty": "",
			"oauth-operator.io/connection": "mine", "app.kubernetes.io/managed-by": "me",
		},
		Annotations: map[string]v1alpha1.TemplateText{
			"Example.com/Expires": "{{ .ExpiresAt }} for {{ .Subject }}\n", "oauth-operator.io/expires-at": "never",
		},
	}}, sample())
	if err != nil {
		t.Fatal(err)
	}
	want := Output{
		Labels:      map[string]string{"argocd.argoproj.io/secret-type": "repository", "tenant": "acme", "empty": ""},
		Annotations: map[string]string{"Example.com/Expires": "2026-08-01T12:30:15Z for group_1\n"},
	}
	if !maps.Equal(out.Labels, want.Labels) || !maps.Equal(out.Annotations, want.Annotations) || out.Data != nil {
		t.Errorf("Render = %q, want %q", out, want)
	}
}

func TestNothingToRender(t *testing.T) {
	for _, template := range []*v1alpha1.SecretTemplate{nil, {}, {Metadata: &v1alpha1.SecretTemplateMetadata{}}} {
		if out, err := New().Render(template, sample()); err != nil || out.Data != nil || out.Labels != nil || out.Annotations != nil {
			t.Errorf("Render = %+v, %v; want nothing", out, err)
		}
	}
}

// TestNames : what Kubernetes would refuse, and what has a meaning for the operator.
func TestNames(t *testing.T) {
	long := strings.Repeat("a", 254)
	for _, test := range []struct {
		data, labels, annotations string
		value                     v1alpha1.TemplateText
		key, message              string
	}{
		{data: ".netrc"},
		{data: "a/b", key: "data[a/b]", message: "a key of a Secret has"},
		{data: "", value: "x", key: "data[]", message: "a key of a Secret has"},
		{data: "..", key: "data[..]", message: "a key of a Secret has"},
		{data: long, key: "data[" + long + "]", message: "a key of a Secret has"},
		{labels: "a b", key: "metadata.labels[a b]", message: "the name of a label or annotation"},
		{labels: "A.example.com/b", key: "metadata.labels[A.example.com/b]", message: "the name of a label or annotation"},
		{annotations: "a/b/c", key: "metadata.annotations[a/b/c]", message: "the name of a label or annotation"},
		{labels: "a", value: "not a label", key: "metadata.labels[a]", message: "the value (11 bytes) cannot be a label"},
		{labels: "a", value: "{{ .Scope }}", key: "metadata.labels[a]", message: "the value (23 bytes) cannot be a label"},
		{labels: "oauth-operator.io/record", value: "grant", key: "metadata.labels[oauth-operator.io/record]", message: "are the operator's own"},
		{labels: "x.oauth-operator.io/y", key: "metadata.labels[x.oauth-operator.io/y]", message: "are the operator's own"},
		{annotations: "OAuth-Operator.io/expires-at", key: "metadata.annotations[OAuth-Operator.io/expires-at]", message: "are the operator's own"},
		{annotations: "oauth-operator.io/templated", key: "metadata.annotations[oauth-operator.io/templated]", message: "are the operator's own"},
		{annotations: "a", value: "{{ b64dec \"/w==\" }}", key: "metadata.annotations[a]", message: "the value is not UTF-8"},
		{labels: "a", value: "{{ .AccessToken }}", key: "metadata.labels[a], line 1", message: "labels and annotations cannot hold the access token"},
		{annotations: "a", value: "{{ sha256sum .AccessToken }}", key: "metadata.annotations[a], line 1", message: "labels and annotations cannot hold the access token"},
		{data: "binary", value: "{{ b64dec \"/w==\" }}"},
	} {
		of := func(name string, wanted bool) map[string]v1alpha1.TemplateText {
			if !wanted {
				return nil
			}
			return map[string]v1alpha1.TemplateText{name: test.value}
		}
		_, err := New().Render(&v1alpha1.SecretTemplate{
			Data: of(test.data, test.labels+test.annotations == ""),
			Metadata: &v1alpha1.SecretTemplateMetadata{
				Labels: of(test.labels, test.labels != ""), Annotations: of(test.annotations, test.annotations != ""),
			},
		}, sample())
		if test.message == "" {
			if err != nil {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "spec.secret.template."+test.key+": ") || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%+v: %v, want %s: %s…", test, err, test.key, test.message)
		}
	}
}

// TestTemplatesCannotReachEachOther : nor change what the caller goes on using.
func TestTemplatesCannotReachEachOther(t *testing.T) {
	values := sample()
	out, err := New().Render(&v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{
		"a": `{{ $x := sortAlpha .Scopes }}{{ join " " (reverse .Scopes) }}{{ join " " $x }}`,
		"b": `{{ join " " .Scopes }}`,
	}}, values)
	if err != nil || string(out.Data["b"]) != "read api offline_access" || !slices.Equal(values.Scopes, sample().Scopes) {
		t.Errorf("Render = %s, %v; scopes are %q", out.Data["b"], err, values.Scopes)
	}
}

func TestSameInputSameOutput(t *testing.T) {
	template := &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{
		"a": `{{ $d := dict "z" 1 "y" 2 "x" 3 "w" 4 }}{{ keys $d | toJson }}{{ values $d | toJson }}{{ toJson $d }}{{ print $d }}` +
			`{{ range $k, $v := $d }}{{ $k }}{{ $v }}{{ end }}{{ pick $d "z" "y" | toJson }}{{ keys (omit $d "x") | toJson }}{{ toJson . }}`,
	}}
	first, err := New().Render(template, sample())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if again, err := New().Render(template, sample()); err != nil || string(again.Data["a"]) != string(first.Data["a"]) {
			t.Fatalf("Render = %s, %v; at first %s", again.Data["a"], err, first.Data["a"])
		}
	}
}
