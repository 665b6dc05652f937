// SPDX-License-Identifier: Apache-2.0

package sensitive

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// minScrubbed is the length, in bytes, from which a secret is looked for: shorter ones occur by chance in any text, and
// replacing them would make a provider's message unreadable.
const minScrubbed = 4

// Scrub makes text that came from outside fit for a status, an event or a log: it removes control and formatting
// characters (a line break or tab becomes a space), replaces every occurrence of the secrets by "[redacted]" (as they
// are, percent-encoded, and in Base64 of either alphabet), and cuts the result to at most limit bytes without splitting
// a character. A cut text ends in "…".
func Scrub(text string, limit int, secrets ...String) string {
	text = printable(text)
	if pairs := replacements(secrets); len(pairs) > 0 {
		text = strings.NewReplacer(pairs...).Replace(text)
	}
	return cut(strings.TrimSpace(text), limit)
}

// printable comes before the search for secrets, because a control character inside a secret would hide it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, text)
}

// replacements returns pairs for strings.NewReplacer, which prefers earlier pairs: the longest spelling comes first, so
// that a secret that begins with another one does not leave its tail behind.
func replacements(secrets []String) []string {
	var spellings []string
	for _, secret := range secrets {
		value := secret.Reveal()
		if len(value) < minScrubbed {
			continue
		}
		spellings = append(spellings, spellingsOf(value)...)
	}
	slices.SortFunc(spellings, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	var pairs []string
	for _, spelling := range slices.Compact(spellings) {
		pairs = append(pairs, spelling, Redacted)
	}
	return pairs
}

var percentEncoded = regexp.MustCompile(`%[0-9A-F]{2}`)

func spellingsOf(value string) []string {
	query, path := url.QueryEscape(value), url.PathEscape(value)
	all := []string{
		value, query, path,
		percentEncoded.ReplaceAllStringFunc(query, strings.ToLower),
		percentEncoded.ReplaceAllStringFunc(path, strings.ToLower),
		// Without padding: the padded spelling begins with it.
		base64.RawStdEncoding.EncodeToString([]byte(value)),
		base64.RawURLEncoding.EncodeToString([]byte(value)),
	}
	for i, spelling := range all {
		all[i] = printable(spelling)
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < minScrubbed })
}

const ellipsis = "…"

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(ellipsis), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	if limit < len(ellipsis) {
		return text[:end]
	}
	return strings.TrimRight(text[:end], " ") + ellipsis
}
