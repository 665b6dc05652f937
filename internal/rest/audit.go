// SPDX-License-Identifier: Apache-2.0

package rest

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/metrics"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// auditName is the name of the logger that has a line for each proxied request, and for each change that a caller made or was
// refused. No line has a path, a query, a header or a body in it.
const auditName = "audit"

// audit logs and counts what callers did.
type audit struct {
	// log has the audit's lines, causes says what errors the API saw.
	log, causes logr.Logger
	metrics     *metrics.Metrics
}

var (
	_ integrations.Observer = (*audit)(nil)
	_ proxy.Observer        = (*audit)(nil)
)

// Changed implements integrations.Observer.
func (a *audit) Changed(_ context.Context, c integrations.Change) {
	a.log.Info("change",
		"user", c.Caller.GetName(), "action", string(c.Action), "application", named(c.Application), "connection", named(c.Connection),
		"connectionUID", string(c.ConnectionUID), "created", c.Created, "outcome", c.Outcome, "duration", c.Duration)
}

// Done implements proxy.Observer.
func (a *audit) Done(r proxy.Record) {
	a.log.Info("request",
		"user", r.Caller, "application", named(r.Application), "connection", named(r.Connection), "method", r.Method, "host", r.Host,
		"status", r.Status, "error", string(r.Code), "duration", r.Duration, "attempts", r.Attempts, "retries", r.Retries,
		"redirects", r.Redirects, "sent", r.Sent, "received", r.Received, "token", r.Token, "aborted", r.Aborted)
	a.metrics.Proxied(metrics.Proxied{Application: r.Application, Method: r.Method, Status: r.Status, Error: r.Code, Took: r.Duration})
	a.metrics.Retried(r.Application, r.Retries)
	a.explain("a request to a provider failed", r, r.Cause)
	a.explain("a token that a provider rejected was not renewed", r, r.Renewal)
}

// explain logs the error behind what a caller was told.
func (a *audit) explain(what string, r proxy.Record, err error) {
	switch {
	case err == nil:
	case r.Code == problem.Internal:
		a.causes.Error(err, what, "connection", named(r.Connection), "code", string(r.Code))
	default:
		a.causes.V(1).Info(what, "connection", named(r.Connection), "code", string(r.Code), "error", err.Error())
	}
}

// renewed counts a request that waited for another token.
func (a *audit) renewed(c *v1alpha1.OAuthConnection, err error) {
	result := metrics.Renewed
	switch {
	case err == nil:
	case errors.Is(err, credential.ErrNotRenewable):
		result = metrics.NotRenewable
	case errors.Is(err, credential.ErrTooSoon):
		result = metrics.TooSoon
	default:
		result = metrics.Refresh(problem.Of(err).Code)
	}
	namespace, name := c.ApplicationKey()
	a.metrics.Refreshed(types.NamespacedName{Namespace: namespace, Name: name}, result)
}

// named is a name as people write it; empty when there is none.
func named(name types.NamespacedName) string {
	if name == (types.NamespacedName{}) {
		return ""
	}
	return name.String()
}
