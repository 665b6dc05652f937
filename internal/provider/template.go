// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// piece is a part of a template: a literal, or the name of the value that stands in its place.
type piece struct{ literal, name string }

// split takes a text apart at its placeholders. Braces around anything but a name are literal, as in the JSON of a
// `claims` parameter.
func split(text string) []piece {
	var pieces []piece
	literal := ""
	for {
		before, rest, found := strings.Cut(text, "{")
		literal += before
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !isName(name) {
			literal, text = literal+"{", rest
			continue
		}
		if literal != "" {
			pieces = append(pieces, piece{literal: literal})
		}
		pieces = append(pieces, piece{name: name})
		literal, text = "", after
	}
	if literal != "" {
		pieces = append(pieces, piece{literal: literal})
	}
	return pieces
}

func isName(text string) bool {
	for i, r := range text {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return text != ""
}

// names returns the names of placeholders, each once, in their order.
func names(pieces []piece) []string {
	var found []string
	seen := map[string]bool{}
	for _, piece := range pieces {
		if piece.name != "" && !seen[piece.name] {
			seen[piece.name] = true
			found = append(found, piece.name)
		}
	}
	return found
}

// fill puts values in the place of placeholders.
func fill(pieces []piece, value func(name string) string) string {
	var filled strings.Builder
	for _, piece := range pieces {
		filled.WriteString(piece.literal)
		if piece.name != "" {
			filled.WriteString(value(piece.name))
		}
	}
	return filled.String()
}

// maxValue is the longest value of an input or capture, in bytes.
const maxValue = 1 << 10

// printable tells of a value that can stand in a URL, parameter or header: text without control characters, not too long.
func printable(value string) bool {
	return len(value) <= maxValue && utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	})
}
