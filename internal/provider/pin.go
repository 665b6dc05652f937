// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// restriction is a Restriction ready for use.
type restriction struct {
	pattern *regexp.Regexp // nil without one
	enum    []string
	// endings are what every value that is accepted ends in, one for each alternative.
	endings []ending
}

// ending is what a value ends in; exact when it is the whole value. Letters are lower-case.
type ending struct {
	text  string
	exact bool
}

// maxEndings bounds the alternatives that are looked at; with more, nothing is known of the ending.
const maxEndings = 256

func anyEnding() []ending { return []ending{{}} }

// newRestriction compiles the pattern, anchored at both ends. The error is the regular expression's.
func newRestriction(r v1alpha1.Restriction) (restriction, error) {
	made := restriction{enum: r.Enum, endings: anyEnding()}
	if r.Pattern != "" {
		// By itself first: `a)|(?:b` would be valid, and not anchored, within the parentheses.
		parsed, err := syntax.Parse(r.Pattern, syntax.Perl)
		if err != nil {
			return restriction{}, err
		}
		if weight(parsed) > maxWeight {
			return restriction{}, errors.New("it repeats too much; use + or *")
		}
		if made.pattern, err = regexp.Compile(`\A(?:` + r.Pattern + `)\z`); err != nil {
			return restriction{}, err
		}
		made.endings = endingsOf(parsed)
	}
	if len(r.Enum) > 0 {
		made.endings = nil
		for _, value := range r.Enum {
			made.endings = append(made.endings, ending{strings.ToLower(value), true})
		}
	}
	return made, nil
}

// accepts tells whether a value satisfies pattern and enum.
func (r restriction) accepts(value string) bool {
	if r.pattern != nil && !r.pattern.MatchString(value) {
		return false
	}
	return len(r.enum) == 0 || slices.Contains(r.enum, value)
}

// finite tells whether the application lists each possible value, as enum or as alternatives of a pattern.
func (r restriction) finite() bool {
	for _, one := range r.endings {
		if !one.exact {
			return false
		}
	}
	return len(r.endings) > 0
}

// maxDescribed bounds how many values of an enum a message lists.
const maxDescribed = 12

// describe says what is acceptable.
func (r restriction) describe() string {
	var parts []string
	if len(r.enum) > 0 {
		listed := strings.Join(r.enum[:min(len(r.enum), maxDescribed)], ", ")
		if len(r.enum) > maxDescribed {
			listed += ", …"
		}
		parts = append(parts, "must be one of "+listed)
	}
	if r.pattern != nil {
		pattern := strings.TrimSuffix(strings.TrimPrefix(r.pattern.String(), `\A(?:`), `)\z`)
		parts = append(parts, "must match the whole of "+pattern)
	}
	return strings.Join(parts, " and ")
}

// endingsOf works out what every match of a regular expression ends in. Of what it does not understand it knows nothing.
func endingsOf(re *syntax.Regexp) []ending {
	switch re.Op {
	case syntax.OpLiteral:
		return []ending{{strings.ToLower(string(re.Rune)), true}}
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []ending{{"", true}}
	case syntax.OpCharClass:
		return endingsOfClass(re.Rune)
	case syntax.OpCapture:
		return endingsOf(re.Sub[0])
	case syntax.OpQuest:
		return bounded(append([]ending{{"", true}}, endingsOf(re.Sub[0])...))
	case syntax.OpAlternate:
		var all []ending
		for _, sub := range re.Sub {
			all = append(all, endingsOf(sub)...)
		}
		return bounded(all)
	case syntax.OpConcat:
		all := []ending{{"", true}}
		for _, sub := range slices.Backward(re.Sub) {
			all = prepend(endingsOf(sub), all)
		}
		return all
	default:
		return anyEnding()
	}
}

// maxWeight is about how many steps a pattern may have. With repetitions a short one can have a million, and each takes
// memory, and time for each character of a value.
const maxWeight = 10_000

func weight(re *syntax.Regexp) int {
	sum := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		sum += weight(sub)
	}
	if re.Op == syntax.OpRepeat {
		sum *= max(re.Min, re.Max, 1)
	}
	return min(sum, maxWeight+1)
}

// maxClass is the most characters of a class that are looked at one by one; `[.]` has one.
const maxClass = 4

func endingsOfClass(ranges []rune) []ending {
	var all []ending
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if len(all) == maxClass {
				return anyEnding()
			}
			all = append(all, ending{strings.ToLower(string(r)), true})
		}
	}
	if len(all) == 0 {
		return anyEnding()
	}
	return all
}

// prepend puts what comes before in front of what comes after, where all of the latter is known.
func prepend(before, after []ending) []ending {
	if len(before)*len(after) > maxEndings*maxClass {
		return anyEnding()
	}
	var all []ending
	for _, tail := range after {
		if !tail.exact {
			all = append(all, tail)
			continue
		}
		for _, head := range before {
			all = append(all, ending{head.text + tail.text, head.exact})
		}
	}
	return bounded(all)
}

func bounded(all []ending) []ending {
	if len(all) > maxEndings {
		return anyEnding()
	}
	return all
}

// pins tells whether all hosts with one of the endings are in a domain of somebody: the ending has a dot and at least two
// labels behind it, and is not a suffix under which anybody can register (co.uk).
func pins(endings []ending) bool {
	for _, one := range endings {
		_, domain, found := strings.Cut(one.text, ".")
		first, rest, two := strings.Cut(domain, ".")
		if !found || !two || first == "" || rest == "" {
			return false
		}
		if suffix, icann := publicsuffix.PublicSuffix(domain); icann && suffix == domain {
			return false
		}
	}
	return len(endings) > 0
}
