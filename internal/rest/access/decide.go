// SPDX-License-Identifier: Apache-2.0

package access

import (
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// maxID bounds an identifier in bytes; {namespace}.{name} takes 317 at most.
	maxID = 512
	// maxNamed is how many connections an error names.
	maxNamed = 10
	// maxAsked is how many connections of one kind a caller without rights on their whole namespace is asked about, one by one.
	maxAsked = 32
)

// slug reads {namespace}.{name}. A namespace has no dot, so the first one ends it. false: the text can be no such name, which
// says nothing about what exists.
func slug(id string) (types.NamespacedName, bool) {
	namespace, name, found := strings.Cut(id, ".")
	if !found || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, true
}

// sane tells whether an identifier is worth looking for.
func sane(id string) bool { return id != "" && len(id) <= maxID && utf8.ValidString(id) }

// nothing is the answer when there is no such thing, and when there is one that the caller may not know of. It is one text for
// all of them, so that it tells nothing.
func nothing() *problem.Error {
	return problem.New(problem.NotFound, "there is nothing of this name that you may see")
}

// refused is the answer to a name in a namespace where the caller may not look.
func refused() *problem.Error {
	return problem.New(problem.Forbidden, "you may neither see this name nor list its namespace, whether or not it is taken")
}

// unconnected is the answer to whom has no connection at an integration, and may know that.
func unconnected() *problem.Error {
	return problem.New(problem.NotFound, "you have no connection there, and may see no shared one: connect it first "+
		"(POST /api/integrations/{id}/connect), or name one in the header %s", HeaderConnection)
}

// verdict is what is known when somebody asks for an object by {namespace}.{name}.
type verdict struct {
	// exists : there is such an object, and it is of the kind that was asked for.
	exists bool
	// sees : the caller may see that name.
	sees bool
	// lists : the caller may list the namespace.
	lists bool
}

// problem returns the answer, nil: here it is. Existence counts only for those who see the name or list the namespace.
func (v verdict) problem() error {
	switch {
	case v.sees && v.exists:
		return nil
	case v.sees, v.lists && !v.exists:
		return nothing()
	default:
		return refused()
	}
}

// pick returns the one connection of several that fit equally well: those that are active win. With several of them it is
// ConnectionAmbiguous, which names them: the caller may see all that are handed in. Of none it is nil.
func pick(fitting []*v1alpha1.OAuthConnection) (*v1alpha1.OAuthConnection, error) {
	if active := slices.Collect(filter(fitting, isActive)); len(active) > 0 {
		fitting = active
	}
	switch len(fitting) {
	case 0:
		return nil, nil //nolint:nilnil // None is an answer
	case 1:
		return fitting[0], nil
	default:
		return nil, ambiguous(fitting)
	}
}

func filter(all []*v1alpha1.OAuthConnection, keep func(*v1alpha1.OAuthConnection) bool) func(func(*v1alpha1.OAuthConnection) bool) {
	return func(yield func(*v1alpha1.OAuthConnection) bool) {
		for _, connection := range all {
			if keep(connection) && !yield(connection) {
				return
			}
		}
	}
}

func isActive(connection *v1alpha1.OAuthConnection) bool {
	return directory.Status(connection) == directory.StatusActive
}

func ambiguous(fitting []*v1alpha1.OAuthConnection) *problem.Error {
	var names []string
	for _, connection := range fitting[:min(len(fitting), maxNamed)] {
		names = append(names, connection.Namespace+"."+connection.Name)
	}
	more := ""
	if len(fitting) > maxNamed {
		more = " and others"
	}
	return problem.New(problem.ConnectionAmbiguous, "%s%s fit: name one in the header %s",
		strings.Join(names, ", "), more, HeaderConnection)
}
