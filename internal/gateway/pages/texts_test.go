// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestEveryKindIsTold also finds texts that belong to no kind, or to one twice.
func TestEveryKindIsTold(t *testing.T) {
	texts := map[Kind]noticeText{}
	for _, group := range noticeTexts() {
		for kind, text := range group {
			if _, twice := texts[kind]; twice {
				t.Errorf("%s has two texts", kind)
			}
			texts[kind] = text
		}
	}
	kinds := Kinds()
	for kind := range texts {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s has a text and is no kind", kind)
		}
	}
	titles := map[string]Kind{}
	for _, kind := range kinds {
		text, ok := texts[kind]
		if !ok || text.Title == "" || text.What == "" || len(text.Next) == 0 || text.Tone == "" {
			t.Errorf("%s needs a title, what happened, what to do, and a tone", kind)
		}
		// There was nothing that could have been stored.
		if text.Stored == "" && kind != NotFound {
			t.Errorf("%s does not say whether anything was stored", kind)
		}
		if other, twice := titles[text.Title]; twice {
			t.Errorf("%s and %s have the same title", kind, other)
		}
		titles[text.Title] = kind
	}
}

// TestWordsOfTexts : a person who has never heard of all this understands what happened and what to do.
func TestWordsOfTexts(t *testing.T) {
	jargon := regexp.MustCompile(`(?i)\b(oauth|token|grant|callback|state|csrf|http|redirect|nonce|scope|client|server|request parameter|invalid|error|forbidden|unauthorized)\b`)
	sentence := regexp.MustCompile(`^[A-Z{].*[.:]$`)
	for _, group := range noticeTexts() {
		for kind, text := range group {
			for _, plain := range []string{text.Title, text.What, text.Stored} {
				if found := jargon.FindString(plain); found != "" {
					t.Errorf("%s says %q: %s", kind, found, plain)
				}
			}
			if strings.HasSuffix(text.Title, ".") {
				t.Errorf("the title of %s ends like a sentence", kind)
			}
			for _, full := range append([]string{text.What, text.Stored}, text.Next...) {
				if full != "" && !sentence.MatchString(full) || strings.Contains(full, "!") {
					t.Errorf("%s: %q is no calm sentence", kind, full)
				}
			}
		}
	}
}

// TestNoWordsInTemplates : whoever changes or translates a text finds all of them in texts.go.
func TestNoWordsInTemplates(t *testing.T) {
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	actions := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	for _, file := range files {
		content, err := templateFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tokens := html.NewTokenizer(strings.NewReader(actions.ReplaceAllString(string(content), "")))
		for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
			token := tokens.Token()
			if kind == html.TextToken && regexp.MustCompile(`\pL`).MatchString(token.Data) {
				t.Errorf("%s contains words: %q", file, token.Data)
			}
			for _, attribute := range token.Attr {
				if slices.Contains([]string{"alt", "title", "placeholder", "aria-label"}, attribute.Key) && attribute.Val != "" {
					t.Errorf("%s contains words: %q", file, attribute.Val)
				}
			}
		}
	}
}

func TestPhrase(t *testing.T) {
	v := newValues("{account} `x`", "", "billing", "")
	for _, test := range []struct{ name, text, want string }{
		{"a name is never read as a placeholder", "at {provider}.", "at <{account} `x`>."},
		{"names keep their letters", "{Provider} says", "<{account} `x`> says"},
		{"what is not known has words", "with {account}", "with the account that was used before"},
		{"they begin a sentence", "{Account}", "The account that was used before"},
		{"a value of several parts", "{Programs} ask", "Programs in namespace [billing] ask"},
		{"code", "see `status.x` there", "see [status.x] there"},
		{"an unknown placeholder stays, for tests to find it", "{nobody}", "{nobody}"},
		{"an open one too", "a {provider", "a {provider"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b strings.Builder
			for _, r := range v.phrase(test.text) {
				switch {
				case r.Name:
					b.WriteString("<" + r.Text + ">")
				case r.Code:
					b.WriteString("[" + r.Text + "]")
				default:
					b.WriteString(r.Text)
				}
			}
			if got := b.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
