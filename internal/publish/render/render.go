// SPDX-License-Identifier: Apache-2.0

// Package render makes the content of a workload's Secret from its template. Templates are written by whoever may create a
// connection, so they are not trusted: what they may call, how long they may work and how much they may write is bounded,
// the same input gives the same output, and no error shows a value.
package render

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Values are what a template can use; docs/templates.md names them as templates see them.
type Values struct {
	// AccessToken is not there for labels and annotations.
	AccessToken sensitive.String
	// TokenType as the provider said, mostly "Bearer".
	TokenType string
	// ExpiresAt is the access token's expiry; zero: it never expires, or nobody knows.
	ExpiresAt time.Time
	// Scopes granted; may be empty.
	Scopes []string
	// Subject and ID are what the provider calls the account and the grant; may be empty.
	Subject, ID string
	// Captured are the values that the application keeps of answers, by name.
	Captured map[string]string
	// Inputs are the values that the connection gives, or the application's defaults, by name.
	Inputs map[string]string
	// Connection that owns the Secret.
	Connection Connection
	// Application that the connection refers to.
	Application types.NamespacedName
	// SecretName is the name of the Secret that is written.
	SecretName string
}

// Connection is what a template can use of the connection.
type Connection struct {
	Namespace, Name string
	// DisplayName and Owner as in its spec; may be empty.
	DisplayName, Owner string
}

// Output is what a template says; maps that it says nothing about are nil.
type Output struct {
	// Data by key, all of them valid keys of a Secret.
	Data map[string][]byte
	// Labels and Annotations by name, all of them valid. Those of the operator are not among them.
	Labels, Annotations map[string]string
}

// Renderer renders templates. It is safe for concurrent use.
type Renderer struct {
	functions map[string]function
	// names are those of functions, as the parser wants them.
	names map[string]any
}

// New returns a Renderer.
func New() *Renderer {
	r := &Renderer{functions: allowed(), names: map[string]any{}}
	for name, f := range r.functions {
		r.names[name] = f.of
	}
	return r
}

// Expiry is how a Secret says when the access token ends: RFC 3339 in UTC, or empty for the zero time.
func Expiry(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Render executes all templates of a Secret within one budget. Errors are *TemplateError; the first one in the order of
// data, labels, annotations, each by name, so that the same template fails in the same way. nil gives an empty Output.
func (r *Renderer) Render(t *v1alpha1.SecretTemplate, values Values) (Output, error) {
	if t == nil {
		return Output{}, nil
	}
	run := &run{renderer: r, values: values, budget: newBudget()}
	data, err := run.all(t.Data, dataField)
	if err != nil {
		return Output{}, err
	}
	out := Output{}
	for key, value := range data {
		if out.Data == nil {
			out.Data = make(map[string][]byte, len(data))
		}
		out.Data[key] = []byte(value)
	}
	if t.Metadata == nil {
		return out, nil
	}
	if out.Labels, err = run.all(t.Metadata.Labels, labelField); err != nil {
		return Output{}, err
	}
	if out.Annotations, err = run.all(t.Metadata.Annotations, annotationField); err != nil {
		return Output{}, err
	}
	return out, nil
}

// run is one rendering of one Secret.
type run struct {
	renderer *Renderer
	values   Values
	budget   *budget
}

// all renders the templates of one field; nil when there are none.
func (r *run) all(texts map[string]v1alpha1.TemplateText, of field) (map[string]string, error) {
	var all map[string]string
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		value, err := r.one(name, string(texts[name]), of)
		if err != nil {
			return nil, locate(err, of.path(name), of)
		}
		if of.own(name) {
			continue // The operator sets it.
		}
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
	}
	return all, nil
}

func (r *run) one(name, text string, of field) (value string, err error) {
	defer func() {
		// Neither parser nor engine should panic; if they do, the panic may quote a value.
		if recover() != nil {
			value, err = "", refuse("it cannot be evaluated")
		}
	}()
	if err := of.checkName(name); err != nil {
		return "", err
	}
	if err := r.budget.source(text); err != nil {
		return "", err
	}
	value, err = r.execute(text, of)
	if err != nil {
		return "", err
	}
	return value, of.checkValue(value)
}

// templateName stands in the messages of the template packages, where locate finds the line behind it.
const templateName = "t"

func (r *run) execute(text string, of field) (string, error) {
	tree, used, err := parseBounded(text, r.renderer.names)
	if err != nil {
		return "", err
	}
	functions := r.budget.controls()
	for name := range used {
		if f := r.renderer.functions[name]; !f.builtin {
			functions[name] = r.budget.bind(name, f)
		}
	}
	t, err := template.New(templateName).Option("missingkey=error").Funcs(functions).AddParseTree(templateName, tree)
	if err != nil {
		return "", err
	}
	out := &strings.Builder{}
	if err := t.Execute(&output{budget: r.budget, to: out}, r.view(of)); err != nil {
		return "", err
	}
	if !utf8.ValidString(out.String()) && of != dataField {
		return "", refuse("the value is not UTF-8")
	}
	return out.String(), nil
}

// view is made anew for each template: none can change what another one sees. It holds only plain values, lists and maps,
// because methods could be called from templates.
func (r *run) view(of field) map[string]any {
	v, scopes := r.values, make([]any, 0, len(r.values.Scopes))
	for _, scope := range v.Scopes {
		scopes = append(scopes, scope)
	}
	unix := ""
	if !v.ExpiresAt.IsZero() {
		unix = strconv.FormatInt(v.ExpiresAt.Unix(), 10)
	}
	view := map[string]any{
		"AccessToken":   v.AccessToken.Reveal(),
		"TokenType":     v.TokenType,
		"ExpiresAt":     Expiry(v.ExpiresAt),
		"ExpiresAtUnix": unix,
		"Scopes":        scopes,
		"Scope":         strings.Join(v.Scopes, " "),
		"Subject":       v.Subject,
		"ID":            v.ID,
		"Captured":      plain(v.Captured),
		"Inputs":        plain(v.Inputs),
		"Connection": map[string]any{
			"Namespace": v.Connection.Namespace, "Name": v.Connection.Name,
			"DisplayName": v.Connection.DisplayName, "Owner": v.Connection.Owner,
		},
		"Application": map[string]any{"Namespace": v.Application.Namespace, "Name": v.Application.Name},
		"SecretName":  v.SecretName,
	}
	if of != dataField {
		delete(view, tokenValue) // kubectl describe and every watch of metadata would show it.
	}
	return view
}

// tokenValue is the name of the access token in templates.
const tokenValue = "AccessToken"

// plain is a map as Sprig's functions on maps want it; never nil, so that a missing key is an error.
func plain(values map[string]string) map[string]any {
	all := make(map[string]any, len(values))
	for name, value := range values {
		all[name] = value
	}
	return all
}
