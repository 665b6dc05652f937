// SPDX-License-Identifier: Apache-2.0

// Package serviceaccount asks the API server for tokens of ServiceAccounts, to be shown to OAuth providers that trust the
// cluster's issuer. Nothing that is handed out is a credential for the API server itself. The permissions are no part of
// the installation: the component config/components/service-account-tokens gives them.
package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Component is the kustomize component that gives the controller the permissions that an Issuer needs.
const Component = "config/components/service-account-tokens"

const (
	// lifetime is what tokens are asked for: the API server gives none for less.
	lifetime = 10 * time.Minute
	// remembered is how long an audience of the API server's is refused without making another token that would be good
	// for it.
	remembered = 10 * time.Minute
)

// NotAllowedError says that no token may be had, and what somebody has to change. Trying again does not help until then.
type NotAllowedError struct {
	// Namespace and Name of the ServiceAccount.
	Namespace, Name string
	// Message says what is wrong and what to do. It holds no token and is fit for a status.
	Message string
}

// Error implements error.
func (e *NotAllowedError) Error() string {
	return fmt.Sprintf("ServiceAccount %s/%s: %s", e.Namespace, e.Name, e.Message)
}

// Options are what an Issuer needs.
type Options struct {
	// Live reads ServiceAccounts from the API server. A cache would watch all those of the cluster, and might still show
	// a permission that has been taken back.
	Live client.Reader
	// Writer creates TokenRequests and TokenReviews, and reads nothing.
	Writer client.Client
	Clock  clock.PassiveClock
}

// Issuer asks for tokens of ServiceAccounts. It is safe for concurrent use.
type Issuer struct {
	options Options
	mu      sync.Mutex
	refused map[string]time.Time // by audience of the API server's: until when it is refused unasked
}

// New makes an Issuer.
func New(options Options) *Issuer { return &Issuer{options: options, refused: map[string]time.Time{}} }

// Token returns a new token of a ServiceAccount that lives about ten minutes, for exactly one audience, and when it
// expires. The ServiceAccount has to allow it with the annotation v1alpha1.AnnotationAllowTokens, and the audience may
// not be one of the API server's: each token is shown to it before it is handed out, so a change of its settings is
// noticed with the next token. Errors are *NotAllowedError where somebody has to change something, else transient; none
// shows a token.
func (i *Issuer) Token(ctx context.Context, namespace, name, audience string) (token sensitive.String, expiresAt time.Time, err error) {
	issued, err := i.issue(ctx, &ticket{options: &i.options, namespace: namespace, name: name, audience: audience})
	return issued.token, issued.expiresAt, err
}

// issued is a token; empty beside an error.
type issued struct {
	token     sensitive.String
	expiresAt time.Time
}

func (i *Issuer) issue(ctx context.Context, t *ticket) (issued, error) {
	// The API server would put its own audiences in place of none.
	if t.audience == "" {
		return issued{}, t.notAllowed("the audience of the token is empty; name the one that the provider expects")
	}
	account, err := t.account(ctx)
	if err != nil {
		return issued{}, err
	}
	if i.isRefused(t.audience) {
		return issued{}, t.audienceOfAPIServer()
	}
	candidate, err := t.request(ctx, account)
	if err != nil {
		return issued{}, err
	}
	accepted, err := t.acceptedByAPIServer(ctx, account, candidate.token)
	if err != nil {
		return issued{}, err
	}
	if accepted {
		i.refuse(t.audience)
		return issued{}, t.audienceOfAPIServer()
	}
	return candidate, nil
}

// isRefused tells whether the audience was found to be one of the API server's lately. That it is none is never
// remembered: API servers are restarted with other settings.
func (i *Issuer) isRefused(audience string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.options.Clock.Now().Before(i.refused[audience])
}

// refuse remembers an audience. There are never more of them than the API server has.
func (i *Issuer) refuse(audience string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refused[audience] = i.options.Clock.Now().Add(remembered)
}

// ticket is one call of Token.
type ticket struct {
	options                   *Options
	namespace, name, audience string
}

// account reads the ServiceAccount and checks that it allows tokens.
func (t *ticket) account(ctx context.Context) (*corev1.ServiceAccount, error) {
	account := &corev1.ServiceAccount{}
	err := t.options.Live.Get(ctx, client.ObjectKey{Namespace: t.namespace, Name: t.name}, account)
	if err != nil {
		return nil, t.failed("read it", err)
	}
	if account.Annotations[v1alpha1.AnnotationAllowTokens] != "true" {
		return nil, t.notAllowed(fmt.Sprintf(`it does not allow that its tokens are used at providers; if it should, annotate it with %s: "true"`,
			v1alpha1.AnnotationAllowTokens))
	}
	return account, nil
}

// request asks for the token. By the UID the API server refuses a ServiceAccount that has been made anew since it was read.
func (t *ticket) request(ctx context.Context, account *corev1.ServiceAccount) (issued, error) {
	request := &authenticationv1.TokenRequest{
		ObjectMeta: metav1.ObjectMeta{UID: account.UID},
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:         []string{t.audience},
			ExpirationSeconds: new(int64(lifetime.Seconds())),
		},
	}
	if err := t.options.Writer.SubResource("token").Create(ctx, account, request); err != nil {
		return issued{}, t.failed("request a token of it", err)
	}
	// Admission may have changed the request.
	if !slices.Equal(request.Spec.Audiences, []string{t.audience}) {
		return issued{}, t.notAllowed("the cluster's admission rules give its tokens other audiences than the one that was asked for")
	}
	token := sensitive.New(request.Status.Token)
	if token.IsEmpty() {
		return issued{}, t.transient(errors.New("the API server answered without a token"))
	}
	return issued{token: token, expiresAt: request.Status.ExpirationTimestamp.Time}, nil
}

// acceptedByAPIServer tells whether the token is a credential for the API server. That it does not accept a token proves
// nothing while it cannot verify it at all, as right after the ServiceAccount was created; so it has to recognize it for
// its own audience first.
func (t *ticket) acceptedByAPIServer(ctx context.Context, account *corev1.ServiceAccount, token sensitive.String) (bool, error) {
	recognized, err := t.review(ctx, token, t.audience)
	if err != nil {
		return false, err
	}
	user := recognized.User
	if !recognized.Authenticated || user.UID != string(account.UID) ||
		user.Username != "system:serviceaccount:"+t.namespace+":"+t.name || !slices.Contains(recognized.Audiences, t.audience) {
		return false, t.transient(errors.New("the API server does not recognize the token that it has just issued"))
	}
	// Without audiences, the API server's own count.
	accepted, err := t.review(ctx, token)
	return accepted.Authenticated, err
}

func (t *ticket) review(ctx context.Context, token sensitive.String, audiences ...string) (authenticationv1.TokenReviewStatus, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token.Reveal(), Audiences: audiences}}
	if err := t.options.Writer.Create(ctx, review); err != nil {
		const what = "have a token of it reviewed"
		err = redact.Error(err, token)
		if apierrors.IsForbidden(err) {
			return authenticationv1.TokenReviewStatus{}, t.forbidden(what, err)
		}
		return authenticationv1.TokenReviewStatus{}, t.transient(fmt.Errorf("%s: %w", what, err))
	}
	return review.Status, nil
}

// failed sorts what the API server answered into what somebody has to change and what passes.
func (t *ticket) failed(what string, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return t.notAllowed("it does not exist")
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return t.notAllowed("its namespace is being deleted, so there are no more tokens of it")
	case apierrors.IsForbidden(err):
		return t.forbidden(what, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return t.notAllowed(fmt.Sprintf("the API server refuses to %s: %v", what, redact.Error(err)))
	}
	return t.transient(fmt.Errorf("%s: %w", what, redact.Error(err)))
}

func (t *ticket) forbidden(what string, err error) error {
	return t.notAllowed(fmt.Sprintf("the controller may not %s: tokens of ServiceAccounts need the optional component %s (%v)",
		what, Component, redact.Error(err)))
}

func (t *ticket) audienceOfAPIServer() error {
	return t.notAllowed(fmt.Sprintf("audience %q is one of the API server's: the provider could act as this ServiceAccount in the cluster; "+
		"let the provider expect another audience", t.audience))
}

func (t *ticket) notAllowed(message string) error {
	return &NotAllowedError{Namespace: t.namespace, Name: t.name, Message: message}
}

func (t *ticket) transient(err error) error {
	return fmt.Errorf("token of ServiceAccount %s/%s: %w", t.namespace, t.name, err)
}
