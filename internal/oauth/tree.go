// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// The bounds of a tree; what lies beyond them is null. A node takes about 300 bytes with its name. No single member of the
// document can use up what all of them have, so that a long list does not hide the tokens behind it.
const (
	maxTreeDepth   = 32
	maxTreeNodes   = 60_000
	maxMemberNodes = 30_000
)

// tree is a JSON document in the form that paths select from.
type tree struct {
	root *yaml.Node
	// whole is false when the document breaks off or is malformed; root then holds what came before.
	whole bool
	// pruned is true when a bound cut something out.
	pruned bool
}

const (
	tagString = "!!str"
	tagInt    = "!!int"
	tagFloat  = "!!float"
	tagBool   = "!!bool"
	tagNull   = "!!null"
	tagObject = "!!map"
	tagList   = "!!seq"
)

// parseTree goes token by token, so that what an answer that breaks off holds is found, at any depth. Of members with the
// same name the last one counts; what follows the document is ignored.
func parseTree(body []byte) tree {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte(byteOrderMark)))
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	build := treeBuilder{decoder: decoder, size: int64(len(body)), left: maxTreeNodes, member: maxMemberNodes}
	root, whole := build.value(0)
	return tree{root: root, whole: whole, pruned: build.pruned}
}

// treeOf makes a tree of the members of a form.
func treeOf(members map[string]json.RawMessage) tree {
	root := newNode(yaml.MappingNode, tagObject, "", 0)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := newNode(yaml.ScalarNode, tagString, scalar(members[name]), 1)
		root.Content = append(root.Content, newNode(yaml.ScalarNode, tagString, name, 1), value)
	}
	return tree{root: root, whole: true}
}

// newNode keeps the depth in the line number, which the library does not look at.
func newNode(kind yaml.Kind, tag, value string, depth int) *yaml.Node {
	return &yaml.Node{Kind: kind, Tag: tag, Value: value, Line: depth}
}

func depthOf(node *yaml.Node) int { return node.Line }

type treeBuilder struct {
	decoder *json.Decoder
	size    int64
	// left and member are how many values more the document and its present member may have.
	left, member int
	pruned       bool
}

func (b *treeBuilder) exhausted() bool { return b.left < 0 || b.member < 0 }

// value reads the next value. ok is false when the document ends or goes wrong inside it; the node then has what came
// before, and is nil when nothing did.
func (b *treeBuilder) value(depth int) (node *yaml.Node, ok bool) {
	next, err := b.decoder.Token()
	if err != nil {
		return nil, false
	}
	if b.member--; b.member >= 0 {
		b.left--
	}
	opens, isDelimiter := next.(json.Delim)
	if isDelimiter && (depth >= maxTreeDepth || b.exhausted()) {
		b.pruned = true
		return newNode(yaml.ScalarNode, tagNull, "null", depth), b.skip()
	}
	// The members of the document itself are kept whatever the bound says: a token may be the last of them.
	if b.exhausted() && depth > 1 {
		b.pruned = true
		return newNode(yaml.ScalarNode, tagNull, "null", depth), true
	}
	switch opens {
	case '{':
		return b.object(depth)
	case '[':
		return b.list(depth)
	}
	return b.scalar(next, depth)
}

func (b *treeBuilder) object(depth int) (node *yaml.Node, ok bool) {
	node = newNode(yaml.MappingNode, tagObject, "", depth)
	places := map[string]int{}
	for b.decoder.More() {
		key, err := b.decoder.Token()
		name, isName := key.(string)
		if err != nil || !isName {
			return node, false
		}
		if depth == 0 {
			b.member = maxMemberNodes
		}
		child, ok := b.value(depth + 1)
		if child != nil {
			if place, seen := places[name]; seen {
				node.Content[place] = child
			} else {
				places[name] = len(node.Content) + 1
				node.Content = append(node.Content, newNode(yaml.ScalarNode, tagString, name, depth+1), child)
			}
		}
		if !ok {
			return node, false
		}
	}
	_, err := b.decoder.Token()
	return node, err == nil
}

func (b *treeBuilder) list(depth int) (node *yaml.Node, ok bool) {
	node = newNode(yaml.SequenceNode, tagList, "", depth)
	for b.decoder.More() {
		child, ok := b.value(depth + 1)
		switch {
		case b.exhausted():
			b.pruned = true
		case child != nil:
			node.Content = append(node.Content, child)
		}
		if !ok {
			return node, false
		}
	}
	_, err := b.decoder.Token()
	return node, err == nil
}

func (b *treeBuilder) scalar(value json.Token, depth int) (node *yaml.Node, ok bool) {
	switch value := value.(type) {
	case string:
		return newNode(yaml.ScalarNode, tagString, value, depth), true
	case json.Number:
		if b.decoder.InputOffset() == b.size {
			return nil, false // Cut off in the middle, perhaps.
		}
		text := withoutExponent(value.String())
		return newNode(yaml.ScalarNode, numberTag(text), text, depth), true
	case bool:
		text := "false"
		if value {
			text = "true"
		}
		return newNode(yaml.ScalarNode, tagBool, text, depth), true
	}
	return newNode(yaml.ScalarNode, tagNull, "null", depth), true
}

// skip leaves out a value whose opening bracket has been read.
func (b *treeBuilder) skip() bool {
	for open := 1; open > 0; {
		next, err := b.decoder.Token()
		if err != nil {
			return false
		}
		switch next {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
	return true
}

// numberTag says how paths compare a number: what does not fit into an integer of Go is a floating-point number.
func numberTag(text string) string {
	const safeDigits = 18
	if len(text) > safeDigits || strings.ContainsAny(text, ".eE") {
		return tagFloat
	}
	return tagInt
}

// withoutExponent writes 1.2345678e7 as 12345678: some encoders write large identifiers so, and they are compared as text.
// What is not a whole number of a usual size stays as it is.
func withoutExponent(text string) string {
	const longest, most = 64, 18
	at := strings.IndexAny(text, "eE")
	if at < 0 || len(text) > longest {
		return text
	}
	exponent, err := strconv.Atoi(text[at+1:])
	if err != nil || exponent > most || exponent < -most {
		return text
	}
	number, ok := new(big.Rat).SetString(text)
	if !ok || !number.IsInt() {
		return text
	}
	return number.Num().String()
}

// nodeText returns the text of a string, number or truth value, and "" for everything else.
func nodeText(node *yaml.Node) string {
	switch node.Tag {
	case tagString, tagInt, tagFloat, tagBool:
		return node.Value
	}
	return ""
}
