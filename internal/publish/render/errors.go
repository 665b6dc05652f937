// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TemplateError says why a Secret could not be rendered (reason TemplateInvalid). The Secret was not touched. It shows
// words of the template, and no value that was put into it.
type TemplateError struct {
	// Key is the member of spec.secret.template, such as data[.netrc] or metadata.labels[team].
	Key string
	// Line of that member's text, from 1; 0: it is not in one line.
	Line int
	// Message says what is wrong.
	Message string
}

// Error says where the template is wrong and what is.
func (e *TemplateError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("spec.secret.template.%s: %s", e.Key, e.Message)
	}
	return fmt.Sprintf("spec.secret.template.%s, line %d: %s", e.Key, e.Line, e.Message)
}

// refusedError is a refusal of this package, in words that may be shown.
type refusedError struct {
	text string
	// line of the template, where the engine does not say it.
	line int
}

func (e *refusedError) Error() string { return e.text }

func refuse(text string) error { return &refusedError{text: text} }

// maxMessage is the length in bytes of what is kept of a message that holds words of the template.
const maxMessage = 256

// locate makes a TemplateError. Messages of the template packages go through a list of known ones, because some show
// values.
func locate(err error, key string, of field) error {
	e := &TemplateError{Key: key, Message: "it cannot be evaluated"}
	text := err.Error()
	if found := regexp.MustCompile(`^template: ` + templateName + `:(\d+)`).FindStringSubmatch(text); found != nil {
		e.Line, _ = strconv.Atoi(found[1])
	}
	refused, malformed := (*refusedError)(nil), (*malformedError)(nil)
	switch {
	case errors.As(err, &refused):
		e.Message = refused.text
		if refused.line > 0 {
			e.Line = refused.line
		}
	case errors.As(err, &malformed):
		// The parser knows the template alone.
		e.Message = parseMessage(text)
	default:
		e.Message = executionMessage(text, of)
	}
	e.Message = sensitive.Scrub(e.Message, maxMessage)
	return e
}

// malformedError is an error of the parser.
type malformedError struct{ cause error }

func (e *malformedError) Error() string { return e.cause.Error() }

func (e *malformedError) Unwrap() error { return e.cause }

func parseMessage(text string) string {
	if found := regexp.MustCompile(`function ("\w+") not defined$`).FindStringSubmatch(text); found != nil {
		return "there is no function " + found[1] + "; docs/templates.md lists those that there are"
	}
	return regexp.MustCompile(`^template: `+templateName+`:\d+:(\d+:)? *`).ReplaceAllString(text, "")
}

// executionMessage says in safe words what an error of the engine says.
func executionMessage(text string, of field) string {
	find := func(pattern string) []string { return regexp.MustCompile(pattern).FindStringSubmatch(text) }
	if found := find(`map has no entry for key "(\w+)"$`); found != nil {
		if found[1] == tokenValue && of != dataField {
			return "labels and annotations cannot hold the access token: everybody who may list Secrets' metadata reads them"
		}
		return "there is no value " + found[1]
	}
	if found := find(`can't evaluate field (\w+) in type [\w\[\]{} ]+$`); found != nil {
		return "there is no value " + found[1] + " in what stands before it"
	}
	if found := find(`(wrong number of args for \w+: want (?:at least )?\d+ got \d+)$`); found != nil {
		return found[1]
	}
	if found := find(`((?:wrong type for value|invalid value); expected [\w\[\]{}* ]+(?:; got [\w\[\]{} ]+)?)$`); found != nil {
		return strings.ReplaceAll(found[1], "interface {}", "anything")
	}
	if found := find(`nil is not a command$|cannot assign nil to [\w\[\]{} ]+$`); found != nil {
		return "nil cannot stand here"
	}
	if found := find(`error calling (\w+): `); found != nil {
		return found[1] + " cannot use these values"
	}
	if found := find(`: (expected (?:bool|string|integer|unsigned integer|float)); found `); found != nil {
		return found[1]
	}
	return "it cannot be evaluated"
}
