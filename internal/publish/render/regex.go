// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Limits of regular expressions. Their time is linear in the text and in the size of the expression, and both are paid for.
const (
	maxPattern = 256
	// maxProgram is the size in instructions: x{1000} is short and large.
	maxProgram = 500
	maxGroups  = 9
	maxSubject = 16 << 10
	// instructionsPerWork says how many steps of the expression cost as much as a byte.
	instructionsPerWork = 4
	// compilation is what it costs to compile one.
	compilation = 1024
)

// compile compiles an expression that is looked for in text.
func (b *budget) compile(pattern, text string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern || len(text) > maxSubject {
		return nil, refuse(fmt.Sprintf("regular expressions have at most %d bytes and look at %d KiB", maxPattern, maxSubject>>10))
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, refuse("the regular expression is malformed")
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, refuse("the regular expression is malformed")
	}
	if len(program.Inst) > maxProgram || parsed.MaxCap() > maxGroups {
		return nil, refuse("the regular expression is too large")
	}
	if err := b.spend(compilation + len(program.Inst)*len(text)/instructionsPerWork); err != nil {
		return nil, err
	}
	return regexp.Compile(pattern)
}

func regexMatch(b *budget) any {
	return func(pattern, text string) (bool, error) {
		expression, err := b.compile(pattern, text)
		return err == nil && expression.MatchString(text), err
	}
}

func regexFind(b *budget) any {
	return func(pattern, text string) (string, error) {
		expression, err := b.compile(pattern, text)
		if err != nil {
			return "", err
		}
		return expression.FindString(text), nil
	}
}

func regexReplaceAll(b *budget) any {
	return func(pattern, text, replacement string) (string, error) {
		return b.replaceAll(pattern, text, replacement, func(e *regexp.Regexp, to []byte, match []int) []byte {
			return e.ExpandString(to, replacement, text, match)
		})
	}
}

func regexReplaceAllLiteral(b *budget) any {
	return func(pattern, text, replacement string) (string, error) {
		return b.replaceAll(pattern, text, replacement, func(_ *regexp.Regexp, to []byte, _ []int) []byte {
			return append(to, replacement...)
		})
	}
}

// replaceAll does what regexp's functions do, and looks how much it makes.
func (b *budget) replaceAll(
	pattern, text, replacement string, put func(e *regexp.Regexp, to []byte, match []int) []byte,
) (string, error) {
	expression, err := b.compile(pattern, text)
	if err != nil {
		return "", err
	}
	if len(replacement) > maxPattern { // $0 is short and may stand for all of the text.
		return "", refuse(fmt.Sprintf("the replacement of a regular expression has at most %d bytes", maxPattern))
	}
	var result []byte
	end := 0
	for _, match := range expression.FindAllStringSubmatchIndex(text, -1) {
		result = put(expression, append(result, text[end:match[0]]...), match)
		end = match[1]
		if len(result) > maxValue {
			return "", tooLarge()
		}
	}
	return string(append(result, text[end:]...)), nil
}
