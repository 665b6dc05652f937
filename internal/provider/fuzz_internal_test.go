// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"net/url"
	"regexp/syntax"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// FuzzEndings makes a value that a pattern accepts, by the choices. What is known of the pattern's endings must be true of it:
// the whole rule about hosts rests on that.
func FuzzEndings(f *testing.F) {
	for _, pattern := range []string{
		`[a-z0-9-]+\.example\.com`, `(?i)[a-z]+\.EXAMPLE\.com`, `[a-z]+[.]example[.]com`, `[a-z]+\.(eu|us)\.example\.com`,
		`a|[a-z]+\.example\.com`, `[a-z]+(\.example\.com)?`, `(\.example\.com){2}`, `x(\.example\.com)*y?`, `^a$|\Ab\z`, `(a|b|)(c|d|)(e|f|)`,
		`(?:(?i:k)|s)\.ab\.cd`, `[ab][.-]c\.d`, `a{0}\.b\.c`, `(?s).\.a\.b`, `https://[a-z]+\.my\.example\.com`, `\.a\.b|\.a\.b\.c`,
	} {
		f.Add(pattern, []byte{0, 1, 2, 3, 200, 5})
	}
	f.Fuzz(func(t *testing.T, pattern string, choices []byte) {
		const longest = 512 // The API takes no longer one.
		if len(pattern) > longest {
			return
		}
		made, err := newRestriction(v1alpha1.Restriction{Pattern: pattern})
		if err != nil {
			return
		}
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		generator := generator{choices: choices}
		value := generator.match(parsed)
		if len(value) > maxValue || !isHostText(value) || !made.accepts(value) {
			return
		}
		lower, holds := strings.ToLower(value), false
		for _, one := range made.endings {
			holds = holds || strings.HasSuffix(lower, one.text) && (!one.exact || lower == one.text)
		}
		if !holds {
			t.Errorf("%q accepts %q, which ends in none of %v", pattern, value, made.endings)
		}
		if pins(made.endings) && strings.Count(value, ".") == 0 {
			t.Errorf("%q pins a domain, but accepts %q", pattern, value)
		}
	})
}

// generator makes texts that a regular expression matches. It need not find all.
type generator struct {
	choices []byte
	made    int
}

func (g *generator) choose(among int) int {
	if len(g.choices) == 0 || among <= 1 {
		return 0
	}
	choice := int(g.choices[0])
	g.choices = g.choices[1:]
	return choice % among
}

func (g *generator) between(low, high rune) rune {
	if len(g.choices) == 0 {
		return low
	}
	choice := rune(g.choices[0])
	g.choices = g.choices[1:]
	return low + choice%(high-low+1)
}

func (g *generator) match(re *syntax.Regexp) string {
	if g.made++; g.made > maxValue {
		return ""
	}
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 && g.choose(2) == 1 {
			return strings.ToUpper(string(re.Rune))
		}
		return string(re.Rune)
	case syntax.OpCharClass:
		if len(re.Rune) < 2 {
			return ""
		}
		at := 2 * g.choose(len(re.Rune)/2)
		return string(g.between(re.Rune[at], re.Rune[at+1]))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return string("a.-Z9"[g.choose(5)])
	case syntax.OpCapture:
		return g.match(re.Sub[0])
	case syntax.OpAlternate:
		return g.match(re.Sub[g.choose(len(re.Sub))])
	case syntax.OpStar:
		return g.repeat(re.Sub[0], g.choose(4))
	case syntax.OpPlus:
		return g.repeat(re.Sub[0], 1+g.choose(3))
	case syntax.OpQuest:
		return g.repeat(re.Sub[0], g.choose(2))
	case syntax.OpRepeat:
		return g.repeat(re.Sub[0], re.Min+g.choose(max(re.Max-re.Min, 0)+1))
	case syntax.OpConcat:
		var all strings.Builder
		for _, sub := range re.Sub {
			all.WriteString(g.match(sub))
		}
		return all.String()
	default:
		return ""
	}
}

func (g *generator) repeat(re *syntax.Regexp, times int) string {
	var all strings.Builder
	for range times {
		all.WriteString(g.match(re))
	}
	return all.String()
}

// FuzzAuthorizationURL gives hostile inputs, states and scopes. The link has each parameter once, with the very value.
func FuzzAuthorizationURL(f *testing.F) {
	for _, seed := range []string{"acme", "a&client_id=evil", "a b+c", "#", "{tenant}", "\r\n", "%26", "ä", "\xff"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, tenant, state string) {
		profile := &Profile{
			Spec: &v1alpha1.OAuthApplicationSpec{
				Endpoints:               &v1alpha1.Endpoints{AuthorizationURL: "https://login.example.com/{tenant}/authorize?v={tenant}"},
				AuthorizationParameters: map[string]v1alpha1.ParameterValue{"hint": "{tenant}@{client_id}"},
				Inputs:                  []v1alpha1.Input{{Name: "tenant"}},
			},
			Client: oauth.Client{ID: "crm"}, RedirectURL: "https://gateway.example.com/oauth2/callback",
		}
		values, err := profile.Values(map[string]string{"tenant": tenant}, nil)
		if err != nil {
			return
		}
		link, err := profile.AuthorizationURL(AuthorizationRequest{State: state, Scopes: []string{tenant}, Values: values})
		if err != nil {
			return
		}
		read, err := url.Parse(link)
		if err != nil {
			t.Fatalf("%q: %v", link, err)
		}
		got := read.Query()
		want := map[string]string{
			"v": tenant, "hint": tenant + "@crm", "response_type": "code", "client_id": "crm", "scope": tenant,
			"redirect_uri": "https://gateway.example.com/oauth2/callback", "state": state,
		}
		for name, value := range want {
			if len(got[name]) != 1 && value != "" || got.Get(name) != value {
				t.Errorf("%q: %s is %q, want %q", link, name, got[name], value)
			}
		}
		if len(got) > len(want) || read.Host != "login.example.com" || read.Scheme != "https" {
			t.Errorf("%q is another link", link)
		}
	})
}
