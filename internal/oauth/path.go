// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/speakeasy-api/jsonpath/pkg/jsonpath"
	"github.com/speakeasy-api/jsonpath/pkg/jsonpath/token"
	"gopkg.in/yaml.v3"
)

// The bounds of a path. Paths come from applications and documents from providers, and the library can be stopped
// neither while it parses (it tries alternatives, so nesting doubles its work) nor while it selects (every `..` and every
// list of selectors multiplies what the next segment sees). Within these bounds both are quick on any document.
const (
	maxPath        = 512
	maxDescents    = 1
	maxFilters     = 2
	maxCurrent     = 8
	maxParentheses = 8
	maxCommas      = 4
)

// path is a JSONPath (RFC 9535). It is immutable and safe for concurrent use.
type path struct {
	query    *jsonpath.JSONPath
	descends bool
}

// parsePath reads a path. Beyond RFC 9535 it wants the bounds above, no `$` inside a filter, and parentheses around a
// negation that stands beside && or ||.
func parsePath(text string) (parsed *path, err error) {
	defer func() {
		// The library reads past the end of some broken paths.
		if broken := recover(); broken != nil {
			parsed, err = nil, errors.New("it is not a complete JSONPath")
		}
	}()
	if len(text) > maxPath {
		return nil, fmt.Errorf("it is longer than %d bytes", maxPath)
	}
	tokens := token.NewTokenizer(text).Tokenize()
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	query, err := jsonpath.NewPath(text)
	if err != nil {
		// The lines that follow draw an arrow below the path.
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, errors.New(first)
	}
	return &path{query: query, descends: count(tokens, token.RECURSIVE) > 0}, nil
}

func count(tokens token.Tokens, kind token.Token) int {
	found := 0
	for _, each := range tokens {
		if each.Token == kind {
			found++
		}
	}
	return found
}

func checkTokens(tokens token.Tokens) error {
	if len(tokens) == 0 || tokens[0].Token != token.ROOT {
		return errors.New("it does not begin with $")
	}
	if count(tokens, token.ROOT) > 1 {
		return errors.New("it has a $ inside a filter, which is not supported")
	}
	for _, bound := range []struct {
		kind token.Token
		most int
		name string
	}{
		{token.RECURSIVE, maxDescents, "`..`"},
		{token.FILTER, maxFilters, "filters"},
		{token.CURRENT, maxCurrent, "`@`"},
		{token.PAREN_LEFT, maxParentheses, "parentheses"},
		{token.COMMA, maxCommas, "commas"},
	} {
		if count(tokens, bound.kind) > bound.most {
			return fmt.Errorf("it has more than %d %s", bound.most, bound.name)
		}
	}
	return checkNegations(tokens)
}

// checkNegations refuses what the library gets wrong: it extends a negation over everything up to the next closing
// bracket, although `!` binds tighter than && and || (RFC 9535, section 2.3.5.1).
func checkNegations(tokens token.Tokens) error {
	for i, each := range tokens {
		if each.Token != token.NOT {
			continue
		}
		depth := 0
		for _, next := range tokens[i+1:] {
			switch next.Token {
			case token.PAREN_LEFT, token.BRACKET_LEFT:
				depth++
			case token.PAREN_RIGHT, token.BRACKET_RIGHT:
				depth--
			case token.AND, token.OR:
				if depth == 0 {
					return errors.New("put parentheses around the negation and what it negates: (!…) && …")
				}
			default:
			}
			if depth < 0 {
				break
			}
		}
	}
	return nil
}

// nodes selects from a tree. With `..` the nodes nearest to the root come first; otherwise they come in the order of the
// path and the document.
func (p *path) nodes(root *yaml.Node) (selected []*yaml.Node) {
	defer func() {
		// A fault of the library must not cost the answer that it looks at.
		if broken := recover(); broken != nil {
			selected = nil
		}
	}()
	if root == nil {
		return nil
	}
	selected = p.query.Query(root)
	if p.descends {
		slices.SortStableFunc(selected, func(a, b *yaml.Node) int { return depthOf(a) - depthOf(b) })
	}
	return selected
}

// text is the first selected string, number or truth value that is not blank.
func (p *path) text(root *yaml.Node) string {
	for _, node := range p.nodes(root) {
		if text := nodeText(node); strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}
