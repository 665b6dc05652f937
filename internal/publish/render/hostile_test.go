// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// doubled is a template that doubles something again and again.
func doubled(start, next, use string) string {
	return "{{ $x := " + start + " }}" + strings.Repeat("{{ $x = "+next+" }}", 60) + use
}

// hostile are templates that would hang or exhaust a process that runs them as they are, and what is said of them.
func hostile() map[string]struct{ text, message string } {
	const (
		steps   = "take too many steps"
		large   = "a value has more than 128 KiB"
		work    = "take too much work"
		written = "the Secret would have more than 64 KiB"
		loops   = "range goes over lists and maps alone"
		absent  = "there is no function"
		single  = "define, template and block are not available"
	)
	list := `(splitList "" "` + strings.Repeat("x", 4000) + `")`
	kilobyte := strings.Repeat("0123456789abcdef", 64)
	return map[string]struct{ text, message string }{
		"a loop over a huge number":       {"{{ range 1000000000000 }}{{ end }}", loops},
		"a loop over a computed number":   {"{{ range mul 1000000 1000000 }}{{ end }}", loops},
		"a loop over text":                {"{{ range .AccessToken }}{{ end }}", loops},
		"a loop over a function":          {"{{ range upper }}{{ end }}", "wrong number of args"},
		"nested loops":                    {nested("{{ range "+list+" }}", 3, "x"), steps},
		"nested loops without any output": {nested("{{ range "+list+" }}", 3, ""), steps},
		"loops nested a hundred times":    {nested("{{ range $.Scopes }}", 100, ""), steps},
		"loops that only assign":          {"{{ $i := 0 }}" + nested("{{ range "+list+" }}", 2, "{{ $i = add1 $i }}"), steps},
		"loops that go on":                {nested("{{ range "+list+" }}", 2, "{{ continue }}"), steps},
		"a loop with a long body":         {"{{ range " + list + " }}" + strings.Repeat("{{ len . }}", 900) + "{{ end }}", steps},
		"a loop over the else of a loop":  {"{{ range list }}{{ else }}" + nested("{{ range "+list+" }}", 2, "") + "{{ end }}", steps},
		"recursion":                       {`{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`, single},
		"recursion into itself":           {`{{ template "t" . }}`, single},
		"a redefinition of itself":        {`{{ define "t" }}{{ template "t" }}{{ end }}`, single},
		"a block":                         {`{{ block "x" . }}x{{ end }}`, single},
		"text that doubles":               {doubled(`"0123456789"`, "print $x $x", "{{ $x }}"), large},
		"text that doubles by printf":     {doubled(`"0123456789"`, `printf "%s%s" $x $x`, "{{ $x }}"), large},
		"text that doubles by cat":        {doubled(`"0123456789"`, "cat $x $x", "{{ $x }}"), large},
		"text that doubles by join":       {doubled(`"0123456789"`, "join $x (list $x $x)", "{{ $x }}"), large},
		"text that doubles by replace":    {doubled(`"00"`, `replace "0" "000" $x`, "{{ $x }}"), large},
		"text that doubles by quote":      {doubled(`"\""`, `quote $x`, "{{ $x }}"), large},
		"text that doubles by js":         {doubled(`"<"`, `js (print $x $x)`, "{{ $x }}"), large},
		"text that doubles by urlquery":   {doubled(`"%"`, `urlquery (print $x $x)`, "{{ $x }}"), large},
		"text that doubles by a regexp":   {doubled(`"00"`, `regexReplaceAll ".*" $x "$0$0$0"`, "{{ $x }}"), "regular expressions have at most"},
		"text that grows line by line":    {doubled(`"\n\n\n\n\n\n\n\n"`, `indent 64 (print $x $x)`, "{{ $x }}"), large},
		"replace by something huge": {
			`{{ $x := "` + kilobyte + `" }}{{ $x = print $x $x $x $x $x $x $x $x }}{{ $x = print $x $x $x $x $x $x $x $x }}{{ replace "" $x $x }}`, large,
		},
		"join by something huge": {
			`{{ $x := "` + kilobyte + `" }}{{ $x = print $x $x $x $x $x $x $x $x }}{{ $x = print $x $x $x $x $x $x }}{{ join $x ` + list + ` }}`, large,
		},
		"lists that double":                  {doubled("list 1", "list $x $x", "{{ toJson $x }}"), large},
		"lists that double by append":        {doubled("list 1", "append $x $x", "{{ toJson $x }}"), large},
		"lists that double by concat":        {doubled("list 1", "concat $x $x", "{{ toJson $x }}"), large},
		"maps that double":                   {doubled(`dict "a" 1`, `dict "a" $x "b" $x`, "{{ toJson $x }}"), large},
		"lists that nest":                    {doubled("list 1", "list $x", "{{ toPrettyJson $x }}"), "nested too deeply"},
		"JSON that nests":                    {"{{ fromJson \"" + strings.Repeat("[", 7000) + strings.Repeat("]", 7000) + "\" }}", "nested too deeply"},
		"a map that holds itself":            {`{{ $x := dict }}{{ $y := set $x "x" $x }}{{ $x }}`, absent},
		"a map that is merged into itself":   {`{{ $x := dict }}{{ $y := merge $x (dict "x" $x) }}{{ $x }}`, absent},
		"repeat":                             {`{{ repeat 1000000000 "x" }}`, absent},
		"until":                              {`{{ until 1000000000 }}`, absent},
		"seq":                                {`{{ seq 1 1000000000 }}`, absent},
		"a huge indentation":                 {`{{ indent 1000000000 "x" }}`, "the indentation is from 0 to 64"},
		"a huge width":                       {`{{ printf "%1000000d" 1 }}`, "width and precision of printf"},
		"a width that is no number":          {`{{ printf "%99999999999999999999d" 1 }}`, "width and precision of printf"},
		"a huge precision":                   {`{{ printf "%.1000000f" 1.0 }}`, "width and precision of printf"},
		"a width from a value":               {`{{ printf "%*d" 1000000 1 }}`, "the verbs of printf do not fit"},
		"a value that is written repeatedly": {`{{ printf "` + strings.Repeat("%[1]s", 3000) + `" .AccessToken }}`, "the verbs of printf do not fit"},
		"a thousand widths":                  {`{{ printf "` + strings.Repeat("%256d", 1000) + `"` + strings.Repeat(" 1", 1000) + ` }}`, large},
		"a thousand prints":                  {strings.Repeat(`{{ printf "%256d" 1 }}`, 700), written},
		"much text":                          {"{{ range " + list + " }}" + strings.Repeat("x", 1000) + "{{ end }}", written},
		"much text by variables":             {`{{ $x := "` + kilobyte + `" }}` + strings.Repeat("{{ $x }}", 100), written},
		"a text that is hashed for ever": {
			`{{ $x := "` + kilobyte + `" }}{{ $x = print $x $x $x $x $x $x $x $x }}{{ range ` + list + ` }}{{ $y := sha512sum $x }}{{ end }}`, work,
		},
		"a text that is compared for ever": {
			`{{ $x := "` + kilobyte + `" }}{{ $x = print $x $x $x $x $x $x $x $x }}{{ $y := print $x $x $x $x $x $x $x }}{{ $x = print $x $x $x $x $x $x $x }}` +
				nested("{{ range "+list+" }}", 2, "{{ $z := eq $x $y }}"), steps,
		},
		"a map that is sorted for ever": {
			"{{ $l := " + list + " }}{{ $m := split `` `" + strings.Repeat("x", 3000) + "` }}" +
				"{{ range $l }}{{ range $m }}{{ break }}{{ end }}{{ end }}", work,
		},
		"a list that is sorted for ever":        {`{{ $x := ` + list + ` }}{{ range $x }}{{ $y := sortAlpha $x }}{{ end }}`, work},
		"a regular expression that is huge":     {`{{ regexMatch "((x{30}){30})y" "x" }}`, "the regular expression is too large"},
		"many of them":                          {`{{ regexMatch "` + strings.Repeat("x{1000}", 30) + `" "x" }}`, "the regular expression is too large"},
		"one with an impossible number":         {`{{ regexMatch "((x{1000}){1000}){1000}" "x" }}`, "the regular expression is malformed"},
		"one with many groups":                  {`{{ regexReplaceAll "` + strings.Repeat("()", 100) + `" "x" "$1" }}`, "the regular expression is too large"},
		"one that is long":                      {`{{ regexMatch "` + strings.Repeat("x", 257) + `" "x" }}`, "regular expressions have at most"},
		"one with a long replacement":           {`{{ regexReplaceAll ".*" "x" "` + strings.Repeat("$0", 200) + `" }}`, "the replacement of a regular expression"},
		"one that makes much":                   {`{{ regexReplaceAll "" "` + kilobyte + kilobyte + `" "` + strings.Repeat("x", 200) + `" }}`, large},
		"one that is tried for ever":            {`{{ $x := "` + strings.Repeat(kilobyte, 8) + `" }}{{ range ` + list + ` }}{{ $y := regexMatch "(a+){9}(b+){9}(a|b|c){90}z" $x }}{{ end }}`, work},
		"a million brackets":                    {"{{ " + strings.Repeat("(", 16000) + "1", "max expression depth exceeded"},
		"brackets that close":                   {"{{ " + strings.Repeat("(", 8000) + "1" + strings.Repeat(")", 8000) + " | upper }}", "wrong type for value"},
		"brackets beyond the parser's patience": {"{{ " + strings.Repeat("(", 10001) + "1" + strings.Repeat(")", 5000), "max expression depth exceeded"},
		"a deep nest of conditions":             {nested("{{ if 1 }}", 800, "{{ .Nope }}"), "there is no value Nope"},
		"a deep nest of conditions, broken":     {strings.Repeat("{{ with 1 }}", 1300), "unexpected EOF"},
		"a long chain":                          {"{{ .Subject" + strings.Repeat(".x", 8000) + " }}", "there is no value x"},
		"a long pipeline":                       {"{{ .AccessToken" + strings.Repeat("|b64enc", 2000) + " }}", large},
		"a template that is too long":           {strings.Repeat("x", 16<<10+1), "the template is longer than 16384 characters"},
		"methods of values":                     {"{{ .AccessToken.Reveal }}", "there is no value Reveal"},
		"functions as values":                   {"{{ call .AccessToken }}", absent},
		"a function without arguments":          {"{{ $x := list }}{{ first }}", "wrong number of args"},
		"an index beyond":                       {"{{ slice (list 1) 0 100000000 }}", "slice cannot use these values"},
		"a negative index":                      {"{{ slice (list 1) -1 }}", "slice cannot use these values"},
		"an index into bytes":                   {"{{ index .AccessToken 1000000000 }}", "index cannot use these values"},
		"a number that overflows":               {"{{ int64 99999999999999999999 }}", "integer overflow"},
		"complex numbers":                       {"{{ 1i }}", "a list or a map is no text"},
	}
}

func nested(loop string, times int, body string) string {
	return strings.Repeat(loop, times) + body + strings.Repeat("{{ end }}", times)
}

// patience is how long a hostile template may take: a second, and more where the race detector makes all of it slow.
const patience = 10 * time.Second

func TestHostileTemplates(t *testing.T) {
	templates := hostile()
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		test := templates[name]
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			got, err := one(t, test.text)
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			t.Logf("%v, %d KiB", took, (after.TotalAlloc-before.TotalAlloc)>>10)
			refused, ok := errors.AsType[*TemplateError](err)
			if !ok || !strings.Contains(refused.Message, test.message) {
				t.Errorf("Render = %.100q, %v; want %q", got, err, test.message)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if took > patience {
				t.Errorf("it took %v", took)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 512<<20 {
				t.Errorf("it allocated %d MiB in all", allocated>>20)
			}
		})
	}
}

// TestLimitsHoldForAllTogether : a Secret has up to 96 templates.
func TestLimitsHoldForAllTogether(t *testing.T) {
	many := func(text string) *v1alpha1.SecretTemplate {
		template := &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{}}
		for i := range 32 {
			template.Data[fmt.Sprintf("k%02d", i)] = v1alpha1.TemplateText(text)
		}
		return template
	}
	loop := "{{ range (splitList \"\" \"" + strings.Repeat("x", 1000) + "\") }}"
	for _, test := range []struct{ text, message string }{
		{loop + "{{ $x := 1 }}{{ end }}", "take too many steps"},
		{loop + "xxxx{{ end }}", "the Secret would have more than 64 KiB"},
		{"{{ range .Scopes }}{{ $x := sha256sum \"" + strings.Repeat("x", 8000) + "\" }}{{ $y := join \" \" (splitList \"\" \"" + strings.Repeat("y", 5000) + "\") }}{{ end }}", "take too much work"},
		{"{{/*" + strings.Repeat("x", 16000) + "*/}}", "more than 256 KiB together"},
	} {
		if _, err := New().Render(many(test.text), sample()); err == nil || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%.40s…: %v, want %q", test.text, err, test.message)
		}
		if _, err := one(t, test.text); err != nil {
			t.Errorf("%.40s…: one alone is refused: %v", test.text, err)
		}
	}
}

// TestLimitsLeaveRoom : a large token in many shapes is no attack.
func TestLimitsLeaveRoom(t *testing.T) {
	values := sample()
	values.AccessToken = sensitive.New(strings.Repeat("0123456789abcdef", 256)) // 4 KiB, as large JWTs are.
	for i := range 100 {
		values.Scopes = append(values.Scopes, fmt.Sprintf("https://www.example.com/auth/scope.%d", i))
	}
	template := &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{}}
	for i := range 10 {
		template.Data[fmt.Sprintf("k%02d", i)] = `{{ printf "x:%s" .AccessToken | b64enc | quote | indent 2 }}` +
			`{{ range $s := sortAlpha .Scopes }}{{ if hasPrefix "https:" $s }}{{ $s | trunc 4 }}{{ end }}{{ end }}`
	}
	out, err := New().Render(template, values)
	if err != nil || len(out.Data["k00"]) < 4096*4/3 {
		t.Errorf("Render = %d bytes, %v", len(out.Data["k00"]), err)
	}
	values.AccessToken = sensitive.New(strings.Repeat("x", 60<<10))
	out, err = New().Render(&v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"k": "{{ .AccessToken }}"}}, values)
	if err != nil || len(out.Data["k"]) != 60<<10 {
		t.Errorf("Render = %d bytes, %v", len(out.Data["k"]), err)
	}
}

// FuzzRender : whatever a template is, it ends soon, gives the same result again, and no error shows a value.
func FuzzRender(f *testing.F) {
	for _, test := range hostile() {
		if len(test.text) < 4096 {
			f.Add(test.text)
		}
	}
	for _, text := range []string{
		"Bearer {{ .AccessToken }}", `{{ range $k, $v := .Captured }}{{ $k }}={{ $v | quote }}{{ end }}`,
		`{{ with .Connection }}{{ printf "%s/%s" .Namespace .Name | b64enc }}{{ end }}`, "{{ index .Scopes 0 | upper | trunc 3 }}",
		`{{ dict "a" (list .AccessToken 1 true) | toPrettyJson | nindent 4 }}`, `{{ index .AccessToken 5 }}`,
		`{{ regexReplaceAll "(a)(.*)" .AccessToken "$2" }}`, `{{ atoi .AccessToken }}`, `{{ urlParse .AccessToken }}`,
	} {
		f.Add(text)
	}
	renderer := New()
	f.Fuzz(func(t *testing.T, text string) { examine(t, renderer, text) })
}

// FuzzFunctions makes templates that parse: each byte is a part of an expression.
func FuzzFunctions(f *testing.F) {
	for _, seed := range []string{"", "abc", "\x01\x02\x03\x04\x05", "zzzzzzzzzzzz", "The quick brown fox jumps over the lazy dog"} {
		f.Add([]byte(seed))
	}
	renderer := New()
	names := slices.Sorted(maps.Keys(allowed()))
	args := []string{
		"$x", "$y", ".AccessToken", ".Scopes", ".", ".Captured", ".Connection", "0", "1", "-1", "63", "1.5", "true", `""`, `"a"`,
		`","`, `"%s"`, `"AccessToken"`, `"[a-z]*"`, "`{\"a\":[1]}`", "(list $x $y)", "(dict \"a\" $x)", "(print $x $x)", "nil",
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		text, open := &strings.Builder{}, 0
		text.WriteString(`{{ $x := "a" }}{{ $y := list 1 "b" }}`)
		for len(program) > 3 && text.Len() < 8<<10 {
			name, rest := names[int(program[0])%len(names)], program[1:]
			count := 1 + int(rest[0])%3
			call := name
			for _, b := range rest[:count] {
				call += " " + args[int(b/3)%len(args)]
			}
			program = rest[count:]
			switch rest[0] % 7 {
			case 0, 1:
				fmt.Fprintf(text, "{{ $x = %s }}", call)
			case 2:
				fmt.Fprintf(text, "{{ $y = %s }}", call)
			case 3:
				fmt.Fprintf(text, "{{ range $k, $v := %s }}{{ $x = $v }}", call)
				open++
			case 4:
				fmt.Fprintf(text, "{{ with %s }}", call)
				open++
			default:
				fmt.Fprintf(text, "{{ %s | toJson }}", call)
			}
		}
		text.WriteString(strings.Repeat("{{ end }}", open))
		examine(t, renderer, text.String())
	})
}

// examine fails when a template is not as each must be, whatever it says.
func examine(t *testing.T, renderer *Renderer, text string) {
	t.Helper()
	template := &v1alpha1.SecretTemplate{
		Data:     map[string]v1alpha1.TemplateText{"key": v1alpha1.TemplateText(text)},
		Metadata: &v1alpha1.SecretTemplateMetadata{Annotations: map[string]v1alpha1.TemplateText{"note": v1alpha1.TemplateText(text)}},
	}
	begin := time.Now()
	out, err := renderer.Render(template, sample())
	if took := time.Since(begin); took > patience {
		t.Fatalf("%q took %v", text, took)
	}
	again, errAgain := renderer.Render(template, sample())
	if fmt.Sprint(err) != fmt.Sprint(errAgain) || string(out.Data["key"]) != string(again.Data["key"]) {
		t.Fatalf("%q gave %q, %v; then %q, %v", text, out.Data["key"], err, again.Data["key"], errAgain)
	}
	if len(out.Data["key"])+len(out.Annotations["note"]) > maxOutput || !utf8.ValidString(out.Annotations["note"]) {
		t.Fatalf("%q gave %d bytes, or no text", text, len(out.Data["key"]))
	}
	if strings.Contains(out.Annotations["note"], token[:12]) && !strings.Contains(text, token[:12]) {
		t.Fatalf("%q puts the token into an annotation", text)
	}
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*TemplateError](err); !ok || len(err.Error()) > 400 {
		t.Fatalf("%q: error %v (%T)", text, err, err)
	}
	// Words of a template are shown; what it was given is not, nor any part of it.
	for part := range len(token) - 6 {
		if piece := token[part : part+6]; strings.Contains(err.Error(), piece) && !strings.Contains(text, piece) {
			t.Fatalf("%q: the error shows %q of the token: %v", text, piece, err)
		}
	}
}
