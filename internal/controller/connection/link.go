// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// personOf says how a person can authorize a connection; nil: its spec leaves that to no person.
func (r *Reconciler) personOf(s *scope) *lifecycle.Person {
	g := s.connection.Spec.Grant
	if g.Type != v1alpha1.GrantAuthorizationCode || (g.AuthorizationCode != nil && g.AuthorizationCode.CodeSecretRef != nil) {
		return nil
	}
	obstacle := func(reason, format string, arguments ...any) *lifecycle.Person {
		return &lifecycle.Person{Obstacle: &lifecycle.Verdict{Reason: reason, Message: fmt.Sprintf(format, arguments...), Stalled: true}}
	}
	switch {
	case s.client == nil || s.client.RedirectURL == "":
		return obstacle(v1alpha1.ReasonNoGateway, "a person has to authorize, but there is no gateway (controller --external-url) and no "+
			"redirect URL; set one of them, or name a Secret with a code in spec.grant.authorizationCode.codeSecretRef")
	case r.ExternalURL == "" || !sameURL(s.client.RedirectURL, r.ExternalURL+v1alpha1.PathCallback):
		return &lifecycle.Person{} // Somebody else's callback takes the code.
	case s.client.Spec.Endpoints.AuthorizationURL == "":
		return obstacle(v1alpha1.ReasonInvalidConfiguration, "a person has to authorize, but application %s has no "+
			"endpoints.authorizationURL, and its discovery document names none", s.applicationName())
	case s.client.RequiresPAR():
		return obstacle(v1alpha1.ReasonPARRequired, "the provider of application %s demands pushed authorization requests (RFC 9126), "+
			"which are not supported; if it does not demand them of this client, give the application its endpoints in place of issuerURL; "+
			"or name a Secret with a code in spec.grant.authorizationCode.codeSecretRef", s.applicationName())
	}
	return &lifecycle.Person{Link: true}
}

func sameURL(a, b string) bool { return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") }

// link is the way for a person to the gateway: the present one while it is good, else a new one. status is the one that is
// being written.
func (r *Reconciler) link(s *scope, status *v1alpha1.OAuthConnectionStatus, awaited bool) string {
	if !awaited {
		return ""
	}
	present := status.AuthorizationURL
	subject := &v1alpha1.OAuthConnection{ObjectMeta: s.connection.ObjectMeta, Status: *status}
	captured := s.capturedForLink()
	claims, err := ticket.Check(subject, ticket.Of(subject), s.now)
	if err == nil && maps.Equal(claims.Captured, captured) && present == ticket.URL(r.ExternalURL, s.name.Namespace, s.name.Name, ticket.Of(subject)) {
		return present
	}
	claims = ticket.Claims{Generation: s.connection.Generation, IssuedAt: s.now.Truncate(time.Second), Captured: captured}
	if status.LastAuthorizedAt != nil {
		claims.AuthorizedAt = status.LastAuthorizedAt.Time
	}
	return ticket.URL(r.ExternalURL, s.name.Namespace, s.name.Name, ticket.New(claims))
}

// maxCapturedForLink bounds what of captured values a link carries, in bytes; parameters that need more are left out.
const maxCapturedForLink = 2 << 10

// capturedForLink are the values of earlier answers that the authorization URL is made of.
func (s *scope) capturedForLink() map[string]string {
	var needed map[string]string
	length := 0
	for _, name := range s.profile.AuthorizationCaptures() {
		if value, ok := s.values[name]; ok && length+len(name)+len(value) <= maxCapturedForLink {
			length += len(name) + len(value)
			if needed == nil {
				needed = map[string]string{}
			}
			needed[name] = value
		}
	}
	return needed
}

// linkExpiry is when the link in status has to be replaced; zero: there is none.
func linkExpiry(connection *v1alpha1.OAuthConnection) time.Time {
	claims, err := ticket.Parse(ticket.Of(connection))
	if err != nil {
		return time.Time{}
	}
	return claims.IssuedAt.Add(ticket.Lifetime)
}
