// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/gateway/metrics"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
	"github.com/oauth-operator/oauth-operator/internal/gateway/seal"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// errState : a callback has no state of ours, or more than one.
var errState = errors.New("no state of this gateway")

// Callback takes a person back from the provider: GET /oauth2/callback. What came goes to the controller, and the person to the
// page that waits for the outcome.
func (h *Handler) Callback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	state, err := h.openState(query)
	expired := errors.Is(err, seal.ErrExpired)
	if err != nil && !expired {
		h.Metrics.Callback(metrics.CallbackForged)
		h.Log.V(1).Info("callback refused", "outcome", "the state is not one of this gateway")
		h.notice(w, pages.Notice{Kind: pages.BadRequest})
		return
	}
	log := []any{"connection", state.Connection.String(), "login", state.Login}
	if expired && !h.Clock.Now().Before(state.ExpiresAt.Add(lateness)) {
		// So late that nobody could tell it from a response that was used long ago.
		h.Metrics.Callback(metrics.CallbackExpired)
		h.Log.Info("callback refused", append(log, "outcome", v1alpha1.ReasonAuthorizationExpired)...)
		h.notice(w, pages.Notice{Kind: pages.Expired})
		return
	}
	if !h.cookies.holds(r, state.Login, state.Browser) {
		h.Metrics.Callback(metrics.CallbackWrongBrowser)
		h.Log.Info("callback refused", append(log, "outcome", v1alpha1.ReasonWrongBrowser)...)
		h.wrongBrowser(r.Context(), state)
		h.notice(w, pages.Notice{Kind: pages.WrongBrowser})
		return
	}
	if ok, wait := h.Connections.Allow(string(state.ConnectionUID)); !ok {
		h.Limited(w, wait)
		return
	}
	h.conclude(w, r, state, query, expired)
}

// wrongBrowser tells the controller that a response was refused. Its name is used once; what limits the attempts to use it is
// counted apart, so that the login itself, which goes on, is not kept from coming back.
func (h *Handler) wrongBrowser(ctx context.Context, state seal.State) {
	if ok, _ := h.Connections.Allow("wrong-browser " + string(state.ConnectionUID)); ok {
		h.report(ctx, state, "wrong-browser", v1alpha1.ReasonWrongBrowser,
			"an authorization response came from another browser than the one that the login began in; it was refused")
	}
}

// openState finds the state of a callback: the one value that is a state of ours. Mostly it is called state, but a few providers
// rename it, and which provider it is only the state can tell. The error is errState or, with the state, seal.ErrExpired.
func (h *Handler) openState(query url.Values) (seal.State, error) {
	var found seal.State
	result := errState
	for _, values := range query {
		for _, value := range values {
			state, err := h.open(value)
			if errors.Is(err, errState) {
				continue
			}
			if len(values) > 1 || !errors.Is(result, errState) {
				return seal.State{}, errState // Which one counts would be up to chance.
			}
			found, result = state, err
		}
	}
	return found, result
}

func (h *Handler) open(text string) (seal.State, error) {
	state, err := h.Sealer.OpenState(text)
	if err == nil || errors.Is(err, seal.ErrExpired) {
		return state, err
	}
	return seal.State{}, errState
}

// conclude judges the response to a login that began in this browser, hands it over and sends the person to the outcome.
func (h *Handler) conclude(w http.ResponseWriter, r *http.Request, state seal.State, query url.Values, expired bool) {
	log := []any{"connection", state.Connection.String(), "login", state.Login}
	connection, application, err := h.addressees(r.Context(), state)
	if err != nil {
		h.Metrics.Callback(metrics.CallbackFailed)
		h.Log.Error(err, "a callback could not be judged", log...)
		h.notice(w, pages.Notice{Kind: pages.ServerError})
		return
	}
	if connection == nil || connection.DeletionTimestamp != nil {
		h.Metrics.Callback(metrics.CallbackChanged)
		h.Log.Info("callback refused", append(log, "outcome", string(pages.Gone))...)
		h.notice(w, pages.Notice{Kind: pages.Gone, Connection: state.Connection})
		return
	}
	response, result := h.judge(state, connection, application, query, expired)
	h.deliver(w, r, delivery{state: state, connection: connection, application: application, response: response, result: result})
}

// addressees returns the connection that a login is about, and its application: no older than the login, and nil for those that
// are gone.
func (h *Handler) addressees(ctx context.Context, state seal.State) (*v1alpha1.OAuthConnection, *v1alpha1.OAuthApplication, error) {
	connection, err := h.current(ctx, state.Connection, state.ConnectionUID, func(c *v1alpha1.OAuthConnection) bool {
		return c.Generation >= state.Generation
	})
	if err != nil || connection == nil {
		return nil, nil, err
	}
	application, err := h.application(ctx, connection, func(a *v1alpha1.OAuthApplication) bool { return fingerprint(a) == state.Setup })
	return connection, application, err
}

// judge says what the controller is told of a response, and how it is counted.
func (h *Handler) judge(
	state seal.State, c *v1alpha1.OAuthConnection, a *v1alpha1.OAuthApplication, query url.Values, expired bool,
) (pending.Response, metrics.CallbackResult) {
	response := pending.Response{Login: state.Login, Generation: state.Generation}
	refuse := func(result metrics.CallbackResult, reason, message string) (pending.Response, metrics.CallbackResult) {
		response.Reason, response.Message = reason, sensitive.Scrub(message, maxDetail, secretsOf(query)...)
		return response, result
	}
	switch {
	case expired:
		return refuse(metrics.CallbackExpired, v1alpha1.ReasonAuthorizationExpired,
			"the person came back from the provider more than ten minutes after they had left; the response was not used")
	case c.Generation != state.Generation:
		return refuse(metrics.CallbackChanged, v1alpha1.ReasonConnectionChanged,
			"the connection was changed while the person was at the provider; the response was not used")
	case a == nil || a.UID != state.ApplicationUID || fingerprint(a) != state.Setup:
		return refuse(metrics.CallbackChanged, v1alpha1.ReasonConnectionChanged,
			"the application was changed while the person was at the provider; the response was not used")
	}
	callback, err := h.read(a, query)
	if err != nil {
		return refuse(metrics.CallbackBadRequest, v1alpha1.ReasonAuthorizationFailed, "the provider's response cannot be used: "+err.Error())
	}
	// Of errors too: they may be another server's, which a person was led to in this one's place (RFC 9207, section 2.4).
	if err := oauth.CheckIssuer(callback.Issuer, callback.IssuerPresent, oauth.Metadata{
		Issuer: a.Status.Issuer, AuthorizationResponseIssParameterSupported: a.Status.IssuerInResponse,
	}); err != nil {
		return refuse(metrics.CallbackWrongIssuer, v1alpha1.ReasonAuthorizationFailed, err.Error()+"; it was not used")
	}
	switch {
	case callback.Error == "access_denied":
		return refuse(metrics.CallbackDenied, v1alpha1.ReasonAccessDenied, describe(callback))
	case callback.Error != "":
		return refuse(metrics.CallbackProviderError, v1alpha1.ReasonAuthorizationFailed, describe(callback))
	case callback.Code.IsEmpty():
		return refuse(metrics.CallbackBadRequest, v1alpha1.ReasonAuthorizationFailed, "the provider sent neither a code nor an error")
	}
	response.Code, response.Verifier = callback.Code, state.Verifier
	response.RedirectURL, response.Captured = a.Status.RedirectURL, callback.Captured
	return response, metrics.CallbackCode
}

// read reads a response as the application's provider writes it.
func (h *Handler) read(a *v1alpha1.OAuthApplication, query url.Values) (provider.Callback, error) {
	effective, err := h.Catalogue.Effective(&a.Spec)
	if err != nil {
		return provider.Callback{}, err
	}
	return provider.Public(effective, &a.Status).ReadCallback(query)
}

// describe says what a provider's error says.
func describe(callback provider.Callback) string {
	text := "the provider answered " + callback.Error
	if callback.ErrorDescription != "" {
		text += ": " + callback.ErrorDescription
	}
	return text
}

// secretsOf are the values of a callback that must not be told: all but those that explain it.
func secretsOf(query url.Values) []sensitive.String {
	var all []sensitive.String
	for name, values := range query {
		if slices.Contains([]string{"error", "error_description", "iss", "scope"}, name) {
			continue
		}
		for _, value := range values {
			all = append(all, sensitive.New(value))
		}
	}
	return all
}

// delivery is a response on its way to the controller.
type delivery struct {
	state       seal.State
	connection  *v1alpha1.OAuthConnection
	application *v1alpha1.OAuthApplication
	response    pending.Response
	result      metrics.CallbackResult
}

// deliver hands a response over, which uses up the login, and sends the person to the outcome.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, d delivery) {
	now := h.Clock.Now()
	log := []any{"connection", d.state.Connection.String(), "login", d.state.Login, "outcome", either(d.response.Reason, "code received")}
	// First of all, so that nothing can fail any more once the login is used up.
	result, err := h.Sealer.SealLogin(seal.Login{
		Connection: d.state.Connection, ConnectionUID: d.state.ConnectionUID, Login: d.state.Login,
		StartedAt: now, ExpiresAt: now.Add(resultLifetime),
	})
	if err == nil {
		err = h.send(r.Context(), h.message(d.state, d.response, now), kindLogin, d.state.Login)
	}
	switch {
	case errors.Is(err, errUsed):
		h.replayed(w, r, d)
	case err != nil:
		h.Metrics.Callback(metrics.CallbackFailed)
		h.Log.Error(err, "a response could not be handed over; nothing was stored", log...)
		n := h.about(pages.ServerError, d.connection, d.application)
		n.RetryURL = h.retryLink(d.connection)
		h.notice(w, n)
	default:
		h.Metrics.Callback(d.result)
		h.Log.Info("callback handed over", log...)
		redirect(w, h.external+PathResult+"/"+result)
	}
}

// replayed answers a response that has come before.
func (h *Handler) replayed(w http.ResponseWriter, r *http.Request, d delivery) {
	h.Metrics.Callback(metrics.CallbackReplayed)
	h.Log.Info("callback refused", "connection", d.state.Connection.String(), "login", d.state.Login, "outcome", v1alpha1.ReasonResponseReplayed)
	h.report(r.Context(), d.state, "replayed", v1alpha1.ReasonResponseReplayed, "an authorization response came a second time; it was refused")
	n := h.about(pages.Replayed, d.connection, d.application)
	n.RetryURL = h.retryLink(d.connection)
	h.notice(w, n)
}

// message is a response as the controller gets it.
func (h *Handler) message(state seal.State, response pending.Response, now time.Time) pending.Message {
	return pending.Message{
		Connection: state.Connection, ConnectionUID: state.ConnectionUID, ApplicationUID: state.ApplicationUID,
		ReceivedAt: now, KeepUntil: state.ExpiresAt.Add(lateness + replayMargin), Response: &response,
	}
}
