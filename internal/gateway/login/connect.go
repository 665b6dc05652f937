// SPDX-License-Identifier: Apache-2.0

package login

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// formPurpose binds form tokens to the consent page.
const formPurpose = "connect"

// visit is a request to a connect page: which connection, and with which ticket.
type visit struct {
	key    types.NamespacedName
	ticket string
}

func visitOf(r *http.Request) visit {
	return visit{
		key:    types.NamespacedName{Namespace: r.PathValue(WildcardNamespace), Name: r.PathValue(WildcardName)},
		ticket: r.URL.Query().Get(ticket.Parameter),
	}
}

// bound is what a form token of this visit is bound to, beside the browser.
func (v visit) bound() []string { return []string{formPurpose, v.key.Namespace, v.key.Name, v.ticket} }

// link is the address of a connect page, at this gateway.
func (h *Handler) link(key types.NamespacedName, text string) string {
	return ticket.URL(h.external, key.Namespace, key.Name, text)
}

// retryLink is the present link of a connection; empty: it has none.
func (h *Handler) retryLink(c *v1alpha1.OAuthConnection) string {
	text := ticket.Of(c)
	if text == "" || c.DeletionTimestamp != nil {
		return ""
	}
	return h.link(keyOf(c), text)
}

// ShowConnect asks a person for consent: GET /connect/{namespace}/{name}?ticket=….
func (h *Handler) ShowConnect(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	connection, claims, err := h.ticketed(r.Context(), v.key, v.ticket)
	if err != nil {
		h.refuseTicket(w, v, err)
		return
	}
	s, found, err := h.prepare(r.Context(), connection, claims)
	if err != nil {
		h.fail(w, v.key, err)
		return
	}
	if found == nil {
		found = h.showConsent(w, r, v, s)
	}
	if found != nil {
		h.refuse(w, v, s, *found)
	}
}

// showConsent shows the consent page, unless there is an obstacle.
func (h *Handler) showConsent(w http.ResponseWriter, r *http.Request, v visit, s *setup) *obstacle {
	// The address is made to see that it can be made, and for the origin that the form may lead to.
	target, err := s.authorizationURL("state", oauth.NewVerifier())
	if err != nil {
		return &obstacle{kind: pages.NotReady, detail: err.Error()}
	}
	token, err := h.Sealer.FormToken(h.cookies.browser(w, r), v.bound()...)
	if err != nil {
		h.Log.Error(err, "no form can be made", "connection", v.key.String())
		return &obstacle{kind: pages.ServerError}
	}
	h.Headers.Allow(w.Header(), s.effective.LogoURL, target)
	if err := h.Pages.Connect(w, h.consent(v, s, token, target)); err != nil {
		h.Log.V(1).Info("a page could not be sent", "kind", "Connect", "error", err.Error())
	}
	h.Metrics.Login(metrics.LoginShown)
	h.Log.V(1).Info("consent page shown", "connection", v.key.String())
	return nil
}

func (h *Handler) consent(v visit, s *setup, token, target string) pages.Connect {
	about := h.about("", s.connection, s.application)
	page := pages.Connect{
		Application: about.Application, Provider: about.Provider, LogoURL: about.LogoURL, Connection: v.key,
		DisplayName: s.connection.Spec.DisplayName, Owner: ownerOf(s), Scopes: s.scopes,
		Reconnect: s.connection.Status.LastAuthorizedAt != nil, Account: about.Account, LastFailure: lastFailure(s.connection),
		FormAction: h.link(v.key, v.ticket), FormToken: token,
	}
	if parsed, err := url.Parse(target); err == nil {
		page.ProviderHost = parsed.Host
	}
	return page
}

// ownerOf is empty where an owner does not count: in other namespaces than the application's anybody can write any name.
func ownerOf(s *setup) string {
	if s.application.Namespace != s.connection.Namespace {
		return ""
	}
	return s.connection.Spec.Owner
}

// lastFailure is how the last login failed; empty: it did not.
func lastFailure(c *v1alpha1.OAuthConnection) string {
	last := c.Status.LastAuthorization
	if last == nil || last.Outcome == v1alpha1.AuthorizationSucceeded {
		return ""
	}
	return either(last.Message, last.Reason)
}

func either(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// Begin sends a person to the provider: POST of the consent page's form, answered by a page that leaves for there, else by a
// redirect.
func (h *Handler) Begin(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	if !h.fromOurForm(r, v) {
		h.Metrics.Login(metrics.LoginBadForm)
		h.Log.V(1).Info("login refused", "outcome", "the form is not, or no longer, one of this browser's")
		h.notice(w, pages.Notice{Kind: pages.FormExpired})
		return
	}
	connection, claims, err := h.ticketed(r.Context(), v.key, v.ticket)
	if errors.Is(err, ticket.ErrUnknown) {
		h.overtaken(w, r, v)
		return
	}
	if err != nil {
		h.refuseTicket(w, v, err)
		return
	}
	if ok, wait := h.Connections.Allow(string(connection.UID)); !ok {
		h.Limited(w, wait)
		return
	}
	s, found, err := h.prepare(r.Context(), connection, claims)
	if err != nil {
		h.fail(w, v.key, err)
		return
	}
	if found == nil {
		found = h.depart(w, r, s)
	}
	if found != nil {
		h.refuse(w, v, s, *found)
	}
}

// fromOurForm tells whether a form was sent from a page of ours in this browser. The token and the cookie decide; what browsers
// say of the origin comes in addition. They hide it ("null") where pages send no referrers, as ours, so that it tells nothing in
// those that do not know Sec-Fetch-Site either.
func (h *Handler) fromOurForm(r *http.Request, v visit) bool {
	hidden := r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "null"
	if !hidden && h.origins.Check(r) != nil {
		return false
	}
	browser := h.cookies.presentBrowser(r)
	return browser != "" && h.Sealer.CheckFormToken(r.PostFormValue(pages.FieldToken), browser, v.bound()...)
}

// depart binds the login to this browser and leads to the provider.
func (h *Handler) depart(w http.ResponseWriter, r *http.Request, s *setup) *obstacle {
	now, login := h.Clock.Now(), newLogin()
	state := seal.State{
		Connection: keyOf(s.connection), ConnectionUID: s.connection.UID, ApplicationUID: s.application.UID,
		Generation: s.connection.Generation, Login: login, Setup: fingerprint(s.application), ExpiresAt: now.Add(stateLifetime),
	}
	if s.challenged() {
		state.Verifier = oauth.NewVerifier()
	}
	state.Browser = h.cookies.beginLogin(w, r, login, now, stateLifetime+lateness)
	sealed, err := h.Sealer.SealState(state)
	if err != nil {
		h.Log.Error(err, "no login can be begun", "connection", state.Connection.String())
		return &obstacle{kind: pages.ServerError}
	}
	target, err := s.authorizationURL(sealed, state.Verifier)
	if err != nil {
		return &obstacle{kind: pages.NotReady, detail: sensitive.Scrub(err.Error(), maxDetail, sensitive.New(sealed))}
	}
	h.Metrics.Login(metrics.LoginStarted)
	h.Log.Info("login started", "connection", state.Connection.String(), "login", login)
	h.leave(w, r, s, target)
	return nil
}

// leave leads to the provider: a browser by a page of ours, which goes on by itself, anybody else by a redirect. Chromium holds all
// redirects that follow upon a form to form-action, and nobody knows to which sites a provider sends people on before it shows a
// page. What a page does by itself is another navigation, which follows upon no form. The state stands in that page alone.
func (h *Handler) leave(w http.ResponseWriter, r *http.Request, s *setup, target string) {
	if r.Header.Get("Sec-Fetch-Mode") != "navigate" || !pages.CanDepart(target) {
		redirect(w, target)
		return
	}
	n := h.about(pages.Departing, s.connection, s.application)
	n.Target = target
	h.notice(w, n)
}

// maxDetail bounds what pages and messages say of an error, in bytes.
const maxDetail = 1024

func newLogin() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // It never fails: without randomness the process ends.
	return hex.EncodeToString(random[:])
}

// refuseTicket answers a request whose ticket was refused, or could not be judged.
func (h *Handler) refuseTicket(w http.ResponseWriter, v visit, err error) {
	switch {
	case errors.Is(err, ticket.ErrExpired):
		h.refuse(w, v, nil, obstacle{kind: pages.LinkExpired})
	case errors.Is(err, ticket.ErrUnknown):
		h.Metrics.Login(metrics.LoginBadLink)
		h.Log.V(1).Info("login refused", "outcome", "no such link")
		h.notice(w, pages.Notice{Kind: pages.LinkInvalid})
	default:
		h.fail(w, v.key, err)
	}
}

// clockSkew is how far apart the clocks of controller and API server may be.
const clockSkew = time.Minute

// overtaken answers a form of a page that was shown for a ticket which has died since. The form's token proves that there was
// one, so its sender may be told what has become of it.
func (h *Handler) overtaken(w http.ResponseWriter, r *http.Request, v visit) {
	connection, err := h.cached(r.Context(), v.key)
	if err != nil {
		h.fail(w, v.key, err)
		return
	}
	claims, err := ticket.Parse(v.ticket)
	found := obstacle{kind: pages.LinkInvalid}
	switch {
	case err != nil:
	case connection == nil || connection.CreationTimestamp.After(claims.IssuedAt.Add(clockSkew)): // Another one may have its name.
		found.kind = pages.Gone
	case standing(connection) != nil:
		found = *standing(connection)
	case claims.Generation != connection.Generation:
		found.kind = pages.Changed
	case !claims.Fits(connection):
		found.kind = pages.NotNeeded
	}
	h.refuse(w, v, nil, found)
}

// refuse answers somebody who had a ticket and is not sent to the provider.
func (h *Handler) refuse(w http.ResponseWriter, v visit, s *setup, found obstacle) {
	h.Metrics.Login(refusals(found.kind))
	h.Log.Info("login refused", "connection", v.key.String(), "outcome", string(found.kind))
	n := pages.Notice{Kind: found.kind, Connection: v.key}
	if s != nil {
		n = h.about(found.kind, s.connection, s.application)
	}
	n.Detail = found.detail
	h.notice(w, n)
}

// refusals says how a refusal is counted.
func refusals(kind pages.Kind) metrics.LoginResult {
	switch kind {
	case pages.LinkExpired:
		return metrics.LoginExpiredLink
	case pages.LinkInvalid:
		return metrics.LoginBadLink
	case pages.NotNeeded:
		return metrics.LoginNotNeeded
	case pages.ServerError:
		return metrics.LoginFailed
	default:
		return metrics.LoginNotReady
	}
}

// fail answers a request that could not be judged.
func (h *Handler) fail(w http.ResponseWriter, key types.NamespacedName, err error) {
	h.Metrics.Login(metrics.LoginFailed)
	h.Log.Error(err, "a login could not be judged", "connection", key.String())
	h.notice(w, pages.Notice{Kind: pages.ServerError})
}
