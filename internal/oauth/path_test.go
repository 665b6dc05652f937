// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/oauth"
)

// What RFC 9535 says that paths select, section by section, on one document.
func TestPaths(t *testing.T) {
	resource := resourceOf(t, `{
		"a":1,"b":"x","a-b":2,"ü":3,"q\"r":5,"s p":7,"1":8,"yes":true,"no":false,"nothing":null,
		"list":[{"a":1,"n":"one"},{"a":2,"b":null,"n":"two"},{"n":"three","a":3.0}],
		"deep":{"deep":{"a":9,"only":"here"}},"o":{"true":1,"length":3},"a":10}`)
	for path, want := range map[string]string{
		"$.a": "10", "$['a']": "10", `$["a"]`: "10", "$ .a": "10", // Of two members the last one counts.
		"$['a-b']": "2", "$.ü": "3", `$["q\"r"]`: "5", `$['q"r']`: "5", "$['s p']": "7", "$['1']": "8", "$['o']['true']": "1", "$.o.length": "3",
		"$.yes": "true", "$.no": "false", "$.nothing": "", "$.absent": "", "$.a.b": "", "$.b[0]": "", "$.list.length": "",
		"$['nothing','b']": "x", "$['absent','a']": "10",
		"$.list[0].n": "one", "$.list[-1].n": "three", "$.list[99].n": "", "$.list[-99].n": "",
		"$.list[*].n": "one two three", "$.list[0:2].n": "one two", "$.list[1:].n": "two three", "$.list[::-1].n": "three two one", "$.list[::0].n": "",
		"$.list[0,2].n": "one three", "$.list[ 2 , 0 ].n": "three one",
		"$.list[?@.a==1].n": "one", "$.list[?@.a==3].n": "three", "$.list[?@.a==1.0].n": "one", "$.list[?@.a>1].n": "two three", "$.list[?@.n<'p'].n": "one",
		"$.list[?@.b==null].n": "two", "$.list[?@.b].n": "two", "$.list[?!@.b].n": "one three", "$.list[?!(@.b)].n": "one three",
		"$.list[?(!@.b) && @.a==1].n": "one", "$.list[?@.a==1 || @.a==2 && @.b==null].n": "one two", "$.list[?(@.a==1 || @.a==2) && @.b==null].n": "two",
		"$.list[?@['n']==\"one\"].a": "1", "$.list[?@.x==@.y].n": "one two three", "$.list[?@.a!=2].n": "one three",
		"$.list[?length(@.n)>3].n": "three", "$.list[?count(@.*)>2].n": "two", "$.list[?value(@.a)==2].n": "two",
		"$..only": "here", "$..a": "10 1 2 3.0 9", "$..['only','n']": "one two three here", "$.deep..a": "9",
	} {
		if err := oauth.CheckPath(path); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var got []string
		for _, item := range resource.Items(path) {
			got = append(got, item.Text("$"))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s selects %q, want %q", path, text, want)
		}
	}
}

// The first that is not empty counts, the nearest to the root first.
func TestTheNearestCounts(t *testing.T) {
	for body, want := range map[string]string{
		`{"x":{"y":{"t":"far"}},"z":{"t":"near"}}`:              "near",
		`{"x":{"t":"first"},"z":{"t":"second"}}`:                "first",
		`{"x":{"t":"below"},"t":"top"}`:                         "top",
		`{"x":{"t":"below"},"t":" "}`:                           "below",
		`{"x":{"t":"below"},"t":null}`:                          "below",
		`{"x":{"t":"below"},"t":{"t":"inside"}}`:                "below",
		`[{"t":[]},[[{"t":"far"}]],[{"t":"near"}],{"t":"top"}]`: "top",
	} {
		if got := resourceOf(t, body).Text("$..t"); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestPathsThatAreRefused(t *testing.T) {
	for path, says := range map[string]string{
		"": "begin", "a": "begin", "@.a": "begin", " $.a": "begin", ".a": "begin",
		"$.a-b": "column", "$.1": "column", "$[01]": "column", "$[-0]": "-0", "$. a": "column", "$.a ": "column", "$[a]": "column", "$.": "end", "$..": "end", "$[": "column",
		"$[?": "column", "$[?@": "column", "$[?@.a=~/x/]": "column", "$.a~": "column", "$[?foo(@.a)]": "column", "$['a' 'b']": "comma", "$[0 1]": "comma",
		"$[9007199254740992]": "safe", "$['\\u00e9']": "column", "$.o.true": "column", "$[?@.a==1": "", "$[?count(@.a)]": "", "$[?@..a==1]": "",
		"$[?!@.b && @.a]": "parentheses", "$[?@.a || !@.b && @.c]": "parentheses", "$[?!(@.b) || @.a]": "parentheses",
		"$[?@.a==$.b]": "$ inside", "$..a..b": "more than 1 `..`", "$[?@[?@[?@]]]": "more than 2 filters", "$[0,1,2,3,4,5]": "commas",
		"$[?((((((((((@.a))))))))))]": "parentheses", "$[?match(@.a,'x')]": "match", "$[?search(@.a,'x')]": "search",
		"$[?" + strings.Repeat("@.a&&", 8) + "@.b]": "more than 8", "$." + strings.Repeat("a", 512): "longer",
	} {
		if err := oauth.CheckPath(path); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want an error about %q", path, err, says)
		}
	}
	for name, options := range map[string]oauth.MappingOptions{
		"accessToken": {AccessToken: "x"}, "refreshToken": {RefreshToken: "x"}, "tokenType": {TokenType: "x"}, "expiresIn": {ExpiresIn: "x"},
		"expiresAt": {ExpiresAt: "x"}, "refreshTokenExpiresIn": {RefreshTokenExpiresIn: "x"}, "scope": {Scope: "x"}, "id": {ID: "x"}, "subject": {Subject: "x"},
		"error": {Error: "x"}, "errorDescription": {ErrorDescription: "x"}, "successPath": {SuccessPath: "x"}, "capture group": {Capture: map[string]string{"a": "$.a", "group": "x"}},
	} {
		if _, err := oauth.NewResponseMapping(options); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The longest paths on the largest documents: what a hostile application and a hostile provider can do together.
func TestPathsAreQuick(t *testing.T) {
	chain := strings.Repeat("[", 29) + "1" + strings.Repeat("]", 29)
	wild := strings.Repeat("[*]", 25)
	documents := map[string]string{
		"chains": "[" + strings.TrimSuffix(strings.Repeat(chain+",", 900), ",") + "]",
		"pairs":  "[" + strings.TrimSuffix(strings.Repeat("[1,2,3],", 7000), ",") + "]",
		"flat":   "[" + strings.TrimSuffix(strings.Repeat("1,", 29_000), ",") + "]",
		"names":  "[" + strings.TrimSuffix(strings.Repeat(`{"a":{"b":{"c":{"d":{"e":1}}}}},`, 4500), ",") + "]",
	}
	paths := []string{
		"$..*", "$..[*,*,*,*,*]" + strings.Repeat("[*]", 25), "$[*,*][*,*][*,*][*,*]", "$..[?@" + wild + "]", "$[?@..*]", "$[?count(@..*)>1]",
		"$..[?@" + wild + "&&@" + wild + "&&@" + wild + "&&@" + wild + "]", "$..[?@[?@" + wild + "||@" + wild + "||@" + wild + "||@" + wild + "]]",
		"$[?length(length(length(length(length(length(length(length(@.a))))))))>1]",
	}
	for name, document := range documents {
		resource := resourceOf(t, document)
		for _, path := range paths {
			began := time.Now()
			if err := oauth.CheckPath(path); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			resource.Items(path)
			// Each takes a fraction of a second; without bounds it would take hours.
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%s on %s took %s", path, name, took)
			}
		}
	}
}
