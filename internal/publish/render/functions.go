// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// function is one that templates may call.
type function struct {
	// of is the function, or one that returns it.
	of any
	// builtin: the engine's own, which yields no more than it was given.
	builtin bool
	// budgeted: of is a func(*budget) any.
	budgeted bool
}

// engineFunctions are those of text/template that look at values and make none.
func engineFunctions() []string {
	return []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index"}
}

// sprigFunctions are those of Sprig that are taken as they are. Each gives the same result for the same arguments, changes
// none of them (or a value could come to hold itself), and neither works nor yields much more than it is given.
//
// Not among them: what takes the time, chance, the environment or the network; what makes keys and certificates, hashes
// passwords or encrypts; set, unset and merge, which change their arguments; repeat, seq, until and wrap, which make much
// of little; fail, whose message would be shown.
func sprigFunctions() []string {
	return []string{
		// Text.
		"trim", "trimAll", "trimPrefix", "trimSuffix", "upper", "lower", "title", "untitle", "trunc", "substr", "nospace",
		"initials", "swapcase", "snakecase", "camelcase", "kebabcase", "contains", "hasPrefix", "hasSuffix", "quote",
		"squote", "cat", "plural", "toString",
		// Encodings and checksums.
		"b64enc", "b32enc", "toJson", "toPrettyJson", "toRawJson", "sha1sum", "sha256sum", "sha512sum", "adler32sum",
		"regexQuoteMeta",
		// Whole numbers.
		"int", "int64", "add", "add1", "sub", "mul", "div", "mod", "max", "min",
		// Choices.
		"default", "empty", "coalesce", "ternary", "all", "any", "deepEqual", "kindOf", "kindIs",
		// Lists.
		"list", "first", "last", "rest", "initial", "append", "prepend", "concat", "reverse", "compact", "has", "slice",
		"split", "splitList", "splitn", "sortAlpha", "toStrings",
		// Maps.
		"dict", "get", "hasKey", "pluck", "pick", "omit", "dig",
		// Paths and URLs.
		"base", "dir", "clean", "ext", "isAbs", "urlParse", "urlJoin",
	}
}

// allowed returns all functions by name. Those of this package go by Sprig's or the engine's names and do the same, within
// bounds; where Sprig hides that it could not read a value, they fail.
func allowed() map[string]function {
	all := map[string]function{
		"print":    {of: fmt.Sprint},
		"println":  {of: fmt.Sprintln},
		"printf":   {of: printf},
		"html":     {of: template.HTMLEscaper},
		"js":       {of: template.JSEscaper},
		"urlquery": {of: template.URLQueryEscaper},

		"replace": {of: replace},
		"join":    {of: join},
		"indent":  {of: indent},
		"nindent": {of: nindent},
		"uniq":    {of: uniq},
		"without": {of: without},
		"keys":    {of: keys},
		"values":  {of: values},

		"atoi":     {of: strconv.Atoi},
		"b64dec":   {of: decoder(base64.StdEncoding)},
		"b32dec":   {of: decoder(base32.StdEncoding)},
		"fromJson": {of: sprig.GenericFuncMap()["mustFromJson"]},

		"regexMatch":             {of: regexMatch, budgeted: true},
		"regexFind":              {of: regexFind, budgeted: true},
		"regexReplaceAll":        {of: regexReplaceAll, budgeted: true},
		"regexReplaceAllLiteral": {of: regexReplaceAllLiteral, budgeted: true},
	}
	theirs := sprig.GenericFuncMap()
	for _, name := range sprigFunctions() {
		all[name] = function{of: theirs[name]}
	}
	for _, name := range engineFunctions() {
		all[name] = function{of: name, builtin: true}
	}
	return all
}

// replace is Sprig's, and looks first how much it would make.
func replace(old, replacement, text string) (string, error) {
	if len(text)+strings.Count(text, old)*max(0, len(replacement)-len(old)) > maxValue {
		return "", tooLarge()
	}
	return strings.ReplaceAll(text, old, replacement), nil
}

// join is Sprig's, and looks first how much it would make.
func join(separator string, list any) (string, error) {
	texts := toTexts(list)
	if len(texts)*len(separator) > maxValue {
		return "", tooLarge()
	}
	return strings.Join(texts, separator), nil
}

// toTexts returns the members of a list as text, but for those that are nothing; another value is a list of itself.
func toTexts(list any) []string {
	if list == nil {
		return nil
	}
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return []string{fmt.Sprint(list)}
	}
	texts := make([]string, 0, v.Len())
	for i := range v.Len() {
		if item := v.Index(i).Interface(); item != nil {
			texts = append(texts, fmt.Sprint(item))
		}
	}
	return texts
}

// maxIndent is the widest indentation.
const maxIndent = 64

// indent is Sprig's, for a reasonable number of spaces.
func indent(spaces int, text string) (string, error) {
	if spaces < 0 || spaces > maxIndent {
		return "", refuse(fmt.Sprintf("the indentation is from 0 to %d", maxIndent))
	}
	pad := strings.Repeat(" ", spaces)
	if len(text)+(1+strings.Count(text, "\n"))*spaces > maxValue {
		return "", tooLarge()
	}
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad), nil
}

func nindent(spaces int, text string) (string, error) {
	text, err := indent(spaces, text)
	return "\n" + text, err
}

// uniq is Sprig's for lists of texts, numbers and booleans, in linear time.
func uniq(list any) ([]any, error) { return unseen(list, map[any]bool{}) }

// without is Sprig's for lists of texts, numbers and booleans, in linear time.
func without(list any, omitted ...any) ([]any, error) {
	omit := map[any]bool{}
	if _, err := unseen(omitted, omit); err != nil {
		return nil, err
	}
	items, err := scalars(list)
	return slices.DeleteFunc(items, func(item any) bool { return omit[item] }), err
}

// unseen returns the members of a list that have not been seen, once each, and adds them to those that have.
func unseen(list any, seen map[any]bool) ([]any, error) {
	items, err := scalars(list)
	return slices.DeleteFunc(items, func(item any) bool {
		before := seen[item]
		seen[item] = true
		return before
	}), err
}

// scalars returns the members of a list in a new one.
func scalars(list any) ([]any, error) {
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return nil, refuse("this is no list")
	}
	items := make([]any, 0, v.Len())
	for i := range v.Len() {
		item := v.Index(i).Interface()
		if kind := reflect.ValueOf(item).Kind(); item != nil && kind != reflect.String && kind != reflect.Bool && !isNumber(kind) {
			return nil, refuse("the list holds lists or maps")
		}
		items = append(items, item)
	}
	return items, nil
}

// keys is Sprig's, sorted in each map.
func keys(dictionaries ...map[string]any) []string {
	all := []string{}
	for _, dictionary := range dictionaries {
		all = append(all, slices.Sorted(maps.Keys(dictionary))...)
	}
	return all
}

// values is Sprig's, in the order of the keys.
func values(dictionary map[string]any) []any {
	all := make([]any, 0, len(dictionary))
	for _, key := range slices.Sorted(maps.Keys(dictionary)) {
		all = append(all, dictionary[key])
	}
	return all
}

// decoder returns a function that fails on what is not encoded so; Sprig's would return the message as the text.
func decoder(encoding interface {
	DecodeString(text string) ([]byte, error)
},
) func(text string) (string, error) {
	return func(text string) (string, error) {
		decoded, err := encoding.DecodeString(text)
		if err != nil {
			return "", errors.New("not in this encoding") // The cause quotes what it saw.
		}
		return string(decoded), nil
	}
}
