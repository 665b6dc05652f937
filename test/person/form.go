// SPDX-License-Identifier: Apache-2.0

package person

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// field is one that a form sends.
type field struct {
	name, value string
	// choices are the values of radio buttons or of a selection; nil: any value can be filled in.
	choices []string
	// off : nothing is chosen, so nothing is sent.
	off bool
}

// button is one that sends its form.
type button struct {
	form              *html.Node
	name, value, text string
}

// Buttons are the texts of the buttons that send a form.
func (p *Page) Buttons() []string {
	var texts []string
	for _, b := range p.buttons() {
		texts = append(texts, b.text)
	}
	return texts
}

func (p *Page) buttons() []button {
	var found []button
	for _, form := range all(p.root, atom.Form) {
		for node := range form.Descendants() {
			kind, _ := attribute(node, "type")
			if _, disabled := attribute(node, "disabled"); disabled || node.Type != html.ElementNode {
				continue
			}
			b := button{form: form, text: text(node)}
			b.name, _ = attribute(node, "name")
			b.value, _ = attribute(node, "value")
			switch {
			case node.DataAtom == atom.Input && strings.EqualFold(kind, "submit"):
				b.text = b.value
			case node.DataAtom == atom.Button && (kind == "" || strings.EqualFold(kind, "submit")):
			default:
				continue
			}
			found = append(found, b)
		}
	}
	return found
}

// fields of a form as it was loaded, in the order of the document. Radio buttons of one name are one field.
func fields(form *html.Node) []*field {
	var found []*field
	for node := range form.Descendants() {
		name, _ := attribute(node, "name")
		if _, disabled := attribute(node, "disabled"); disabled || name == "" || node.Type != html.ElementNode {
			continue
		}
		switch node.Data {
		case "input":
			found = withInput(found, node, name)
		case "textarea":
			found = append(found, &field{name: name, value: text(node)})
		case "select":
			found = append(found, selection(node, name))
		}
	}
	return found
}

func withInput(found []*field, node *html.Node, name string) []*field {
	value, given := attribute(node, "value")
	_, checked := attribute(node, "checked")
	kind, _ := attribute(node, "type")
	switch strings.ToLower(kind) {
	case "submit", "button", "image", "reset", "file":
		return found
	case "checkbox", "radio":
		if !given {
			value = "on"
		}
		at := slices.IndexFunc(found, func(f *field) bool { return f.name == name && f.choices != nil })
		if at < 0 {
			found, at = append(found, &field{name: name, off: true}), len(found)
		}
		found[at].choices = append(found[at].choices, value)
		if checked {
			found[at].value, found[at].off = value, false
		}
		return found
	}
	return append(found, &field{name: name, value: value})
}

// selection chooses the first option where none is marked, as browsers do.
func selection(node *html.Node, name string) *field {
	f := &field{name: name, off: true}
	for i, option := range all(node, atom.Option) {
		value, given := attribute(option, "value")
		if !given {
			value = text(option)
		}
		f.choices = append(f.choices, value)
		if _, selected := attribute(option, "selected"); selected || i == 0 {
			f.value, f.off = value, false
		}
	}
	return f
}

// Fill sets a field of the page: a text, or one of the values to choose from.
func (p *Page) Fill(name, value string) error {
	for _, form := range all(p.root, atom.Form) {
		for _, f := range fields(form) {
			if f.name != name {
				continue
			}
			if f.choices != nil && !slices.Contains(f.choices, value) {
				return fmt.Errorf("%s: %q is not to choose for %q; there are: %q", p, value, name, f.choices)
			}
			p.values[name] = value
			return nil
		}
	}
	return fmt.Errorf("%s has no field %q", p, name)
}

// Press presses the button of a text, which sends its form. An empty text means the page's only one.
func (p *Page) Press(ctx context.Context, label string) (*Page, error) {
	buttons := p.buttons()
	at := slices.IndexFunc(buttons, func(b button) bool { return strings.EqualFold(b.text, label) })
	if label == "" && len(buttons) == 1 {
		at = 0
	}
	if at < 0 {
		return nil, fmt.Errorf("%s has no button %q; there are: %q", p, label, p.Buttons())
	}
	return p.submit(ctx, buttons[at])
}

func (p *Page) submit(ctx context.Context, pressed button) (*Page, error) {
	action, _ := attribute(pressed.form, "action")
	target, err := p.URL.Parse(action) // Without an action: the page's own address.
	if err != nil {
		return nil, fmt.Errorf("%s has a form that goes nowhere", p)
	}
	values := url.Values{}
	for _, f := range fields(pressed.form) {
		if filled, ok := p.values[f.name]; ok {
			f.value, f.off = filled, false
		}
		if !f.off {
			values.Add(f.name, f.value)
		}
	}
	if pressed.name != "" {
		values.Add(pressed.name, pressed.value)
	}
	n := navigation{method: http.MethodGet, target: target, from: p}
	if method, _ := attribute(pressed.form, "method"); strings.EqualFold(method, http.MethodPost) {
		n.method, n.form = http.MethodPost, values
	} else {
		query := *target
		query.RawQuery = values.Encode()
		n.target = &query
	}
	return p.person.load(ctx, n)
}
