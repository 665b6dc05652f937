// SPDX-License-Identifier: Apache-2.0

// Package caller tells who sends a request, and asks Kubernetes what they may do: bearer tokens go to TokenReview, questions to
// SubjectAccessReview. The API knows no users and no rights of its own.
package caller

import (
	"context"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Caller is whoever sends a request, as the API server knows them: user name, UID, groups and extra.
type Caller struct{ user.Info }

// contextKey is the key of the caller in the context of a request.
type contextKey struct{}

// With returns a context that carries the caller. Authenticator.Require sets it; handlers read it with From.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From returns the caller of a request that came through Authenticator.Require. Elsewhere it is nobody: without a name and
// without groups, so that every SubjectAccessReview about them is answered with no.
func From(ctx context.Context) Caller {
	if c, ok := ctx.Value(contextKey{}).(Caller); ok {
		return c
	}
	return Caller{Info: &user.DefaultInfo{}}
}

// Attributes are what somebody wants to do with resources of the group oauth-operator.io. Empty fields mean all, as in a
// SubjectAccessReview: no Namespace is all namespaces, no Name is all names.
type Attributes struct {
	// Verb is get, list, create, update, patch or delete.
	Verb string
	// Namespace of the object.
	Namespace string
	// Name of the object.
	Name string
	// Resource is oauthapplications or oauthconnections.
	Resource string
	// Subresource is proxy for requests through a connection, or empty.
	Subresource string
}

// Permissions answers whether a caller may do something.
type Permissions interface {
	// May asks Kubernetes, or remembers the answer for a few seconds. Its error is a *problem.Error, ClusterUnavailable, when the
	// API server does not answer: that is neither yes nor no.
	May(ctx context.Context, c Caller, a Attributes) (bool, error)
}
