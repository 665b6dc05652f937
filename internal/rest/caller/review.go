// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/util/webhook"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// patience is how long an answer of the API server is waited for, attempts together.
	patience = 10 * time.Second
	// comeBack is what a client is told to wait when the API server does not answer and says nothing itself.
	comeBack = 2 * time.Second
)

// retries of questions that the API server could not answer for the moment.
func retries() wait.Backoff {
	return wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}
}

// unavailable is the problem when the API server could not be asked. It is never 401 or 403: those are answers.
func unavailable(err error) *problem.Error {
	after := comeBack
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
		after = time.Duration(seconds) * time.Second
	}
	return problem.New(problem.ClusterUnavailable, "the Kubernetes API server did not answer; nothing was done").Because(err).After(after)
}

// identity is who a token belongs to, and until when.
type identity struct {
	user.Info

	// expires is the token's exp; zero: it does not tell.
	expires     time.Time
	fingerprint fingerprint
}

// tokenReviewer asks the API server about tokens. The API server's own delegating authenticator is not used because its error
// may be the API server's failure or its verdict; here an error is always the former.
type tokenReviewer struct {
	reviews   authenticationclient.TokenReviewInterface
	audiences []string
}

// AuthenticateToken implements authenticator.Token.
func (r *tokenReviewer) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	question := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: r.audiences}}
	var review *authenticationv1.TokenReview
	err := webhook.WithExponentialBackoff(ctx, retries(), func() (err error) {
		review, err = r.reviews.Create(ctx, question, metav1.CreateOptions{})
		return err
	}, webhook.DefaultShouldRetry)
	if err != nil {
		return nil, false, err
	}
	if !r.accepts(&review.Status) {
		return nil, false, nil
	}
	who := &identity{Info: userOf(&review.Status.User), expires: expiry(token)}
	if who.fingerprint, err = fingerprintOf(who.Info); err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: who, Audiences: review.Status.Audiences}, true, nil
}

// accepts checks the review of a token. A server that names no audience has not looked at it, so its yes counts for nothing; and
// somebody without a name is nobody.
func (r *tokenReviewer) accepts(status *authenticationv1.TokenReviewStatus) bool {
	forUs := func(audience string) bool { return slices.Contains(r.audiences, audience) }
	nobody := status.User.Username == "" || status.User.Username == user.Anonymous ||
		slices.Contains(status.User.Groups, user.AllUnauthenticated)
	return status.Authenticated && !nobody && slices.ContainsFunc(status.Audiences, forUs)
}

func userOf(info *authenticationv1.UserInfo) *user.DefaultInfo {
	known := &user.DefaultInfo{Name: info.Username, UID: info.UID, Groups: info.Groups}
	if info.Extra != nil {
		known.Extra = make(map[string][]string, len(info.Extra))
		for key, values := range info.Extra {
			known.Extra[key] = values
		}
	}
	return known
}

// expiry reads exp (RFC 7519, section 4.1.4) of a token that the API server has verified. It is zero when the token is no JWT or
// has no exp.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expiry *float64 `json:"exp"`
	}
	const beyond = 1 << 40 // Some ten thousand years: no time that a clock shows.
	if err := json.Unmarshal(content, &claims); err != nil || claims.Expiry == nil || *claims.Expiry >= beyond {
		return time.Time{}
	}
	return time.Unix(int64(max(*claims.Expiry, 1)), 0)
}
