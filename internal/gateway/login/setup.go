// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// setup is what a person is sent to the provider with.
type setup struct {
	connection  *v1alpha1.OAuthConnection
	application *v1alpha1.OAuthApplication
	// effective is the application's spec with its preset, and profile what requests are made of.
	effective *v1alpha1.OAuthApplicationSpec
	profile   *provider.Profile
	scopes    []string
	values    provider.Values
}

// obstacle is why a person cannot be sent to the provider now: a page.
type obstacle struct {
	kind pages.Kind
	// detail is for people, and may be empty.
	detail string
}

// standing finds what stands against a login by the connection alone.
func standing(c *v1alpha1.OAuthConnection) *obstacle {
	switch {
	case c.DeletionTimestamp != nil:
		return &obstacle{kind: pages.Gone}
	case c.Spec.Suspend:
		return &obstacle{kind: pages.Suspended}
	}
	return nil
}

// prepare puts together what a login of the connection needs. Whether the application allows the connection was judged by the
// controller, who writes no link otherwise.
func (h *Handler) prepare(ctx context.Context, c *v1alpha1.OAuthConnection, claims ticket.Claims) (*setup, *obstacle, error) {
	if found := standing(c); found != nil {
		return nil, found, nil
	}
	application, err := h.application(ctx, c, func(a *v1alpha1.OAuthApplication) bool { return unusable(a) == "" })
	if err != nil {
		return nil, nil, err
	}
	if application == nil {
		return nil, &obstacle{kind: pages.NotReady, detail: "Its application does not exist."}, nil
	}
	s := &setup{connection: c, application: application}
	if why := unusable(application); why != "" {
		return s, &obstacle{kind: pages.NotReady, detail: why}, nil
	}
	return s, s.resolve(h.Catalogue, claims.Captured), nil
}

// unusable says why nobody can be sent to the provider with an application. What exactly its own conditions say is left to
// those who may read them: it may belong to another namespace.
func unusable(a *v1alpha1.OAuthApplication) string {
	name := a.Namespace + "/" + a.Name
	switch {
	case a.DeletionTimestamp != nil:
		return fmt.Sprintf("The application %s is being deleted.", name)
	case a.Status.ObservedGeneration != a.Generation:
		return fmt.Sprintf("The application %s was changed a moment ago and is being read. Try again in a moment.", name)
	case a.Status.Phase != v1alpha1.ApplicationActive:
		return fmt.Sprintf("The application %s is not ready; its conditions say why.", name)
	case a.Status.ClientID == "" || a.Status.RedirectURL == "":
		return fmt.Sprintf("The application %s has no client ID or no redirect URL; its conditions say why.", name)
	}
	return ""
}

// resolve reads the application, and what the connection gives it.
func (s *setup) resolve(catalogue *provider.Catalogue, captured map[string]string) *obstacle {
	effective, err := catalogue.Effective(&s.application.Spec)
	if err != nil {
		return &obstacle{kind: pages.NotReady, detail: err.Error()}
	}
	s.effective, s.profile = effective, provider.Public(effective, &s.application.Status)
	inputs := make(map[string]string, len(s.connection.Spec.Inputs))
	for name, value := range s.connection.Spec.Inputs {
		inputs[name] = string(value)
	}
	if s.values, err = s.profile.Values(inputs, captured); err != nil {
		return &obstacle{kind: pages.NotReady, detail: err.Error()}
	}
	scopes := s.connection.Spec.Scopes
	if len(scopes) == 0 {
		scopes = effective.Scopes
	}
	for _, scope := range scopes {
		s.scopes = append(s.scopes, string(scope))
	}
	return nil
}

// challenged tells whether the login is bound to its code by PKCE.
func (s *setup) challenged() bool { return s.profile.Spec.PKCE != v1alpha1.PKCEDisabled }

// authorizationURL is where the person goes.
func (s *setup) authorizationURL(state string, verifier sensitive.String) (string, error) {
	request := provider.AuthorizationRequest{State: state, Scopes: s.scopes, Values: s.values}
	if !verifier.IsEmpty() {
		request.CodeChallenge = oauth.ChallengeS256(verifier)
	}
	link, err := s.profile.AuthorizationURL(request)
	if err != nil {
		return "", err
	}
	parsed, err := url.Parse(link)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") {
		return "", &provider.FieldError{Field: "endpoints.authorizationURL", Message: "it is not a web address"}
	}
	return link, nil
}

// fingerprint is of what the request for a code is made of, as far as the exchange depends on it. A response to a request that
// was made of something else may be another server's, or another client's.
func fingerprint(a *v1alpha1.OAuthApplication) [fingerprintSize]byte {
	endpoints := v1alpha1.Endpoints{}
	if a.Status.Endpoints != nil {
		endpoints = *a.Status.Endpoints
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{
		string(a.UID), a.Status.ClientID, a.Status.Issuer, string(endpoints.AuthorizationURL), string(endpoints.TokenURL), a.Status.RedirectURL,
	}))
	return [fingerprintSize]byte(sum[:fingerprintSize])
}

const fingerprintSize = 16

// providerName is what the provider is called for people: by its preset, else by its host. A preset names it only where people
// are sent to the preset's own page: whoever writes an application could lead them anywhere under a trusted name.
func (h *Handler) providerName(a *v1alpha1.OAuthApplication) string {
	if name := h.presets[a.Spec.Provider]; name != "" && h.leadsToPreset(a) {
		return name
	}
	for _, address := range []string{a.Status.Issuer, authorizationEndpoint(a)} {
		if parsed, err := url.Parse(address); err == nil && parsed.Host != "" {
			return parsed.Host
		}
	}
	return ""
}

func (h *Handler) leadsToPreset(a *v1alpha1.OAuthApplication) bool {
	preset, err := h.Catalogue.Effective(&v1alpha1.OAuthApplicationSpec{Provider: a.Spec.Provider})
	if err != nil || preset.Endpoints == nil {
		return false
	}
	own, used := string(preset.Endpoints.AuthorizationURL), authorizationEndpoint(a)
	if own == used {
		return true
	}
	first, err := url.Parse(own)
	if err != nil {
		return false
	}
	second, err := url.Parse(used)
	return err == nil && first.Host != "" && first.Host == second.Host
}

func authorizationEndpoint(a *v1alpha1.OAuthApplication) string {
	if a.Status.Endpoints == nil {
		return ""
	}
	return string(a.Status.Endpoints.AuthorizationURL)
}

// about fills in what a page says of a connection and its application.
func (h *Handler) about(kind pages.Kind, c *v1alpha1.OAuthConnection, a *v1alpha1.OAuthApplication) pages.Notice {
	n := pages.Notice{Kind: kind, Connection: keyOf(c), Account: c.Status.Subject}
	if a == nil {
		return n
	}
	n.Application, n.Provider = a.Name, h.providerName(a)
	effective, err := h.Catalogue.Effective(&a.Spec)
	if err != nil {
		return n
	}
	if effective.DisplayName != "" {
		n.Application = effective.DisplayName
	}
	n.LogoURL = effective.LogoURL
	return n
}
