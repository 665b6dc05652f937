// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"gopkg.in/yaml.v3"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// maxResourceText bounds a text taken from a resource; a cursor can be long.
const maxResourceText = 4 << 10

// ResourceRequest is a GET of a provider's API.
type ResourceRequest struct {
	URL     string
	Headers []Header
}

// Resource is an answer of a provider's API, or a part of one.
type Resource struct {
	// Status is the HTTP status; 0 of a document that was no answer.
	Status int

	root    *yaml.Node
	secrets []sensitive.String
}

// ParseResource reads a document that came by another way than Get, such as a request of the provider's. What lies beyond
// 32 levels or 60,000 values reads as null, and what follows the document is ignored.
func ParseResource(body []byte) Resource {
	found := parseTree(body)
	if !found.whole {
		return Resource{}
	}
	return Resource{root: found.root}
}

// IsJSON tells whether the body is a JSON document, whole. Other bodies hold nothing that a path could select.
func (r Resource) IsJSON() bool { return r.root != nil }

// Text returns the first string, number or truth value that the path (RFC 9535) selects and that is not blank. It is ""
// without one, and for a value that is longer than 4 KiB, is not printable, or contains a credential that was sent in a
// header. A path that cannot be parsed selects nothing: CheckPath tells.
func (r Resource) Text(path string) string {
	parsed, err := parsePath(path)
	if err != nil {
		return ""
	}
	return printableText(parsed.text(r.root), maxResourceText, r.secrets...)
}

// Items returns each value that the path selects, as a resource of its own. None of them is null.
func (r Resource) Items(path string) []Resource {
	parsed, err := parsePath(path)
	if err != nil {
		return nil
	}
	var items []Resource
	for _, node := range parsed.nodes(r.root) {
		if node.Tag != tagNull {
			items = append(items, Resource{Status: r.Status, root: node, secrets: r.secrets})
		}
	}
	return items
}

// CheckPath tells what is wrong with a JSONPath.
func CheckPath(path string) error {
	_, err := parsePath(path)
	return err
}

// Get reads a resource. A nil error means a complete answer with a status below 500 that is neither 408 nor 429, whatever
// it says; else it is an *Error, ConcernTransient unless the request cannot be made. Redirects are not followed: their
// status is the answer's.
func (c *Caller) Get(ctx context.Context, transport http.RoundTripper, request ResourceRequest) (Resource, error) {
	sent, err := draft{method: http.MethodGet, url: request.URL, headers: request.Headers, anonymous: true, bare: true}.message()
	if err != nil {
		return Resource{}, err
	}
	got, failure := c.send(ctx, transport, sent)
	switch {
	case failure != nil:
		return Resource{}, failure
	case concernOf(got.status, "", "") == ConcernTransient && (got.status < 300 || got.status > 399):
		return Resource{}, c.refused(got, sent)
	case got.err != nil:
		return Resource{}, c.unread(got, sent, got.err)
	}
	found := parseTree(got.body)
	if found.pruned {
		return Resource{}, c.unread(got, sent, fmt.Errorf("it has more than %d values, or is nested deeper than %d", maxMemberNodes, maxTreeDepth))
	}
	if found.root != nil && !found.whole && got.status <= 299 {
		return Resource{}, c.unread(got, sent, errors.New("it breaks off"))
	}
	resource := Resource{Status: got.status, secrets: sent.credentials}
	if found.whole {
		resource.root = found.root
	}
	return resource, nil
}

// unread is the error of an answer that cannot be used, to a request that changed nothing.
func (c *Caller) unread(got answer, sent message, cause error) *Error {
	failure := c.lost(got, sent, cause)
	failure.Sent = Answered
	return failure
}
