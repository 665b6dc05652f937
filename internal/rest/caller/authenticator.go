// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// rememberAccepted is as long as the API server itself remembers that a token is good: whoever deletes a ServiceAccount or the
	// pod that a token is bound to waits that long twice, 20 seconds at most. A token is not remembered beyond its own exp.
	rememberAccepted = 10 * time.Second
	// rememberRefused keeps a client with a bad token from asking the API server by each of its requests. A token that was refused
	// becomes good only where a clock is behind, so little is lost.
	rememberRefused = 5 * time.Second
	// maxToken bounds a token, in bytes. ServiceAccount's tokens take about 1 KiB; an identity token with hundreds of groups fits.
	maxToken = 16 << 10
)

const (
	challenge        = `Bearer realm="oauth-operator"`
	challengeInvalid = challenge + `, error="invalid_token"`
)

// AuthenticatorOptions say whose tokens count.
type AuthenticatorOptions struct {
	// Client may create TokenReviews.
	Client authenticationclient.AuthenticationV1Interface
	// Audiences that a token may be for: one of them is enough. At least one, because a TokenReview without audiences accepts tokens
	// for the API server, which a workload hands to nobody else.
	Audiences []string
	// RememberAccepted is how long a good token is not asked about again, unless it expires before; default: 10 seconds.
	RememberAccepted time.Duration
	// RememberRefused is how long a bad token is not asked about again; default: 5 seconds.
	RememberRefused time.Duration
	// Failed, which may be nil, is told of each request that was turned away.
	Failed func(r *http.Request, p *problem.Error)
	// Clock is nil for the real one. It tells when tokens expire.
	Clock clock.PassiveClock
}

// Authenticator knows callers by their bearer tokens (RFC 6750). It can be used by many at once.
type Authenticator struct {
	tokens authenticator.Token
	failed func(r *http.Request, p *problem.Error)
	clock  clock.PassiveClock
}

// NewAuthenticator makes an Authenticator that remembers nobody yet.
//
// The cache is the API server's own: it keeps hashes instead of tokens, asks once for all who bring the same token at the same
// time, and forgets an answer when its time is over. Errors of the API server are not kept.
func NewAuthenticator(o AuthenticatorOptions) (*Authenticator, error) {
	if o.Client == nil {
		return nil, errors.New("a client is needed")
	}
	if len(o.Audiences) == 0 || slices.Contains(o.Audiences, "") {
		return nil, errors.New("tokens need an audience")
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.RememberAccepted <= 0 {
		o.RememberAccepted = rememberAccepted
	}
	if o.RememberRefused <= 0 {
		o.RememberRefused = rememberRefused
	}
	asking := &tokenReviewer{reviews: o.Client.TokenReviews(), audiences: o.Audiences}
	return &Authenticator{
		tokens: cache.New(asking, false, o.RememberAccepted, o.RememberRefused),
		failed: o.Failed, clock: o.Clock,
	}, nil
}

// Require lets only requests with a good bearer token through, with the caller in their context (see From) and without the
// header Authorization, so that the token goes nowhere from here. Others are answered by 401, and by 503 when the API server does
// not answer. Nothing but that header is looked at for a token: those in addresses end up in logs.
func (a *Authenticator) Require(next http.Handler) http.Handler {
	return problem.Handler(func(w http.ResponseWriter, r *http.Request) error {
		c, err := a.authenticate(r)
		if err != nil {
			return err
		}
		r = r.WithContext(With(r.Context(), c))
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
		return nil
	}, a.failed)
}

// authenticate tells who sends a request, or returns a *problem.Error.
func (a *Authenticator) authenticate(r *http.Request) (Caller, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return Caller{}, unauthenticated(challenge, "send a token of Kubernetes: Authorization: Bearer …")
	}
	token, ok := bearer(values)
	if !ok {
		return Caller{}, unauthenticated(challengeInvalid, "the header Authorization holds no bearer token")
	}
	answer, ok, err := a.tokens.AuthenticateToken(r.Context(), token)
	if err != nil {
		return Caller{}, unavailable(err)
	}
	if !ok || a.expired(answer) {
		return Caller{}, unauthenticated(challengeInvalid, "Kubernetes does not know this token, or not for this audience")
	}
	return Caller{Info: answer.User}, nil
}

// expired is about the token's own end, which may come while its review is still remembered.
func (a *Authenticator) expired(answer *authenticator.Response) bool {
	known, ok := answer.User.(*identity)
	return ok && !known.expires.IsZero() && !a.clock.Now().Before(known.expires)
}

// bearer returns the token of the header Authorization (RFC 6750, section 2.1). The scheme's case does not matter (RFC 9110,
// section 11.1). What can be no token, and what is too large, never reaches the API server.
func bearer(values []string) (token string, ok bool) {
	if len(values) != 1 || len(values[0]) > maxToken {
		return "", false
	}
	scheme, token, found := strings.Cut(strings.TrimSpace(values[0]), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	token = strings.TrimLeft(token, " ")
	return token, isToken(token)
}

// isToken tells whether a text is a b64token: letters, digits and -._~+/, and = at the end only.
func isToken(text string) bool {
	core := strings.TrimRight(text, "=")
	for i := range len(core) {
		if !isTokenByte(core[i]) {
			return false
		}
	}
	return core != ""
}

func isTokenByte(c byte) bool {
	switch c {
	case '-', '.', '_', '~', '+', '/':
		return true
	}
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}

func unauthenticated(challenge, detail string) *problem.Error {
	p := problem.New(problem.Unauthenticated, "%s", detail)
	p.Header = http.Header{"Www-Authenticate": {challenge}}
	return p
}
