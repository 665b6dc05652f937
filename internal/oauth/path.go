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
// list of selectors multiplies what the next segment sees). Within these bounds both take a fraction of a second on any
// document within the bounds of a tree.
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

// parsePath reads a path. Of RFC 9535 it does not support, and refuses: what exceeds the bounds above; `$` inside a
// filter; match() and search(), whose patterns the library compiles anew for every node; a negation beside && or ||
// without parentheses around it; escapes like \u00e9 in a name; and the names true, false and null after a dot, which
// can be written in brackets.
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
		// The lines that follow draw an arrow below the path, and other attempts to read it come in brackets.
		first, _, _ := strings.Cut(err.Error(), "\n")
		first, _, _ = strings.Cut(first, " [err")
		return nil, errors.New(strings.TrimPrefix(first, "Error at line 1, "))
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
	for i, each := range tokens {
		switch {
		case each.Token == token.FUNCTION && (each.Literal == "match" || each.Literal == "search"):
			return errors.New("it has the function " + each.Literal + ", which is not supported")
		case i > 0 && isSelector(each.Token) && isSelector(tokens[i-1].Token):
			return errors.New("a comma is missing between two selectors")
		case each.Token == token.NOT && reachesOver(tokens[i+1:]):
			return errors.New("put parentheses around the negation and what it negates: (!…) && …")
		}
	}
	return nil
}

func isSelector(kind token.Token) bool {
	return kind == token.STRING_LITERAL || kind == token.INTEGER || kind == token.WILDCARD
}

// reachesOver tells that && or || follows at the level of a negation, before the bracket that ends it. The library would
// negate what stands behind them too, although `!` binds tighter (RFC 9535, section 2.3.5.1).
func reachesOver(tokens token.Tokens) bool {
	depth := 0
	for _, next := range tokens {
		switch next.Token {
		case token.PAREN_LEFT, token.BRACKET_LEFT:
			depth++
		case token.PAREN_RIGHT, token.BRACKET_RIGHT:
			depth--
		case token.AND, token.OR:
			if depth == 0 {
				return true
			}
		default:
		}
		if depth < 0 {
			return false
		}
	}
	return false
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
	return p.find(root, func(*yaml.Node) bool { return true })
}

// find is the first selected text that is not blank and that accept takes.
func (p *path) find(root *yaml.Node, accept func(*yaml.Node) bool) string {
	for _, node := range p.nodes(root) {
		if text := nodeText(node); strings.TrimSpace(text) != "" && accept(node) {
			return text
		}
	}
	return ""
}

// isToken takes strings and numbers.
func isToken(node *yaml.Node) bool { return node.Tag != tagBool }
