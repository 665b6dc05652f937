// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"text/template/parse"
)

// parseBounded parses a template and puts the controls into it: each list of nodes begins with a step, each loop looks at
// what it goes over, and each value at how it is written. It returns the names of the functions that the template uses.
func parseBounded(text string, functions map[string]any) (*parse.Tree, map[string]bool, error) {
	trees := map[string]*parse.Tree{}
	tree, err := parse.New(templateName).Parse(text, "", "", trees, functions)
	if err != nil {
		return nil, nil, &malformedError{cause: err}
	}
	if len(trees) != 1 || trees[templateName] != tree {
		return nil, nil, refuse("define, template and block are not available: each key is one template")
	}
	p := &preparation{used: map[string]bool{}}
	if err := p.list(tree.Root, tree.Root.Pos); err != nil {
		return nil, nil, p.locate(err, text)
	}
	return tree, p.used, nil
}

// preparation walks through a template.
type preparation struct {
	used map[string]bool
	// nodes counts those of the list that is walked through.
	nodes int
	// at is where the walk is.
	at parse.Pos
}

// locate says in which line the walk ended.
func (p *preparation) locate(err error, text string) error {
	line := 1
	for _, c := range []byte(text[:min(int(p.at), len(text))]) {
		if c == '\n' {
			line++
		}
	}
	return &refusedError{text: err.Error(), line: line}
}

// list prepares a list of nodes that is evaluated as a whole, at once or in each turn of a loop.
func (p *preparation) list(list *parse.ListNode, pos parse.Pos) error {
	if list == nil {
		return nil
	}
	outer := p.nodes
	p.nodes = 1
	for _, node := range list.Nodes {
		if err := p.statement(node); err != nil {
			return err
		}
	}
	step := &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{control(stepControl, pos, &parse.NumberNode{
			NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(p.nodes), Text: fmt.Sprint(p.nodes),
		})},
	}}
	list.Nodes = append([]parse.Node{step}, list.Nodes...)
	p.nodes = outer
	return nil
}

func control(name string, pos parse.Pos, args ...parse.Node) *parse.CommandNode {
	return &parse.CommandNode{
		NodeType: parse.NodeCommand, Pos: pos, Args: append([]parse.Node{parse.NewIdentifier(name).SetPos(pos)}, args...),
	}
}

func (p *preparation) statement(node parse.Node) error {
	p.nodes++
	p.at = node.Position()
	switch node := node.(type) {
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return nil
	case *parse.ActionNode:
		if err := p.expression(node.Pipe); err != nil {
			return err
		}
		if len(node.Pipe.Decl) == 0 {
			node.Pipe.Cmds = append(node.Pipe.Cmds, control(printControl, node.Pos))
		}
		return nil
	case *parse.IfNode:
		return p.branch(&node.BranchNode)
	case *parse.WithNode:
		return p.branch(&node.BranchNode)
	case *parse.RangeNode:
		if err := p.branch(&node.BranchNode); err != nil {
			return err
		}
		node.Pipe.Cmds = append(node.Pipe.Cmds, control(rangeControl, node.Pos))
		return nil
	}
	return refuse("define, template and block are not available: each key is one template")
}

func (p *preparation) branch(node *parse.BranchNode) error {
	if err := p.expression(node.Pipe); err != nil {
		return err
	}
	if err := p.list(node.List, node.Pos); err != nil {
		return err
	}
	return p.list(node.ElseList, node.Pos)
}

// expression counts the parts of an expression, and notes its functions.
func (p *preparation) expression(node parse.Node) error {
	p.nodes++
	p.at = node.Position()
	switch node := node.(type) {
	case *parse.PipeNode:
		for _, command := range node.Cmds {
			for _, arg := range command.Args {
				if err := p.expression(arg); err != nil {
					return err
				}
			}
		}
		return nil
	case *parse.ChainNode:
		return p.expression(node.Node)
	case *parse.IdentifierNode:
		p.used[node.Ident] = true
		return nil
	case *parse.FieldNode, *parse.VariableNode, *parse.DotNode, *parse.NilNode, *parse.BoolNode, *parse.NumberNode,
		*parse.StringNode:
		return nil
	}
	return refuse("the template has a part that is not available")
}
