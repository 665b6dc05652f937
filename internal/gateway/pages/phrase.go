// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// run is a part of a phrase. At most one of Name and Code is set.
type run struct {
	Text string
	// Name marks what somebody else has written, in whatever direction they write; Code, what a machine reads.
	Name, Code bool
}

// phrase is a text whose names have been put in.
type phrase []run

// String is the phrase without its marks, for titles.
func (p phrase) String() string {
	var b strings.Builder
	for _, r := range p {
		b.WriteString(r.Text)
	}
	return b.String()
}

// values are what placeholders stand for, by name in lower case.
type values map[string]phrase

// name makes a phrase of a shown name, or of the wording for none.
func name(text, fallback string) phrase {
	if text == "" {
		return phrase{{Text: fallback}}
	}
	return phrase{{Text: text, Name: true}}
}

// code makes a phrase of code, or of the wording for none.
func code(text, fallback string) phrase {
	if text == "" {
		return phrase{{Text: fallback}}
	}
	return phrase{{Text: text, Code: true}}
}

// phrase puts values into a text; texts.go says how texts are written. What a value contains is never looked at again, so
// that no value can stand for another. An unknown placeholder stays as it is.
func (v values) phrase(text string) phrase {
	var out phrase
	for text != "" {
		at := strings.IndexAny(text, "{`")
		if at < 0 {
			break
		}
		end := strings.IndexByte(text[at+1:], map[byte]byte{'{': '}', '`': '`'}[text[at]])
		if end < 0 {
			break
		}
		inner := text[at+1 : at+1+end]
		out = out.add(run{Text: text[:at]})
		if text[at] == '`' {
			out = out.add(run{Text: inner, Code: true})
		} else {
			out = append(out, v.value(inner)...)
		}
		text = text[at+1+end+1:]
	}
	return out.add(run{Text: text})
}

func (p phrase) add(r run) phrase {
	if r.Text == "" {
		return p
	}
	return append(p, r)
}

// value of a placeholder. One in upper case begins a sentence: then our own wording does so too, and names stay as they are.
func (v values) value(placeholder string) phrase {
	value, ok := v[strings.ToLower(placeholder)]
	if !ok {
		return phrase{{Text: "{" + placeholder + "}"}}
	}
	first, _ := utf8.DecodeRuneInString(placeholder)
	if !unicode.IsUpper(first) || len(value) == 0 || value[0].Name || value[0].Code {
		return value
	}
	begun := append(phrase(nil), value...)
	letter, size := utf8.DecodeRuneInString(begun[0].Text)
	begun[0].Text = string(unicode.ToUpper(letter)) + begun[0].Text[size:]
	return begun
}
