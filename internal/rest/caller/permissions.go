// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/util/webhook"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/utils/clock"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

const (
	// rememberAllowed is how long somebody whose role was taken away still goes on. Watching roles would be faster, but the API may
	// not read roles, and RBAC need not be what decides.
	rememberAllowed = 10 * time.Second
	// rememberDenied is shorter, because people who have just been given a role try again at once.
	rememberDenied = 5 * time.Second
	// rememberUnlisted is longer: whoever may not list everywhere costs a question for each namespace, again as soon as the answers
	// are forgotten, and what they miss meanwhile are lines of a list.
	rememberUnlisted = 30 * time.Second
	// atOnce bounds the questions that the API server is asked at the same time, whoever they are about: its own limits should not
	// come down on everybody because one caller lists thousands of namespaces.
	atOnce = 64
	// maxAnswers bounds what is remembered by default, in answers of about 300 bytes; the least recently used goes first. It holds the lists of
	// some callers in thousands of namespaces.
	maxAnswers = 1 << 15
)

// PermissionsOptions say who is asked about permissions.
type PermissionsOptions struct {
	// Client may create SubjectAccessReviews.
	Client authorizationclient.AuthorizationV1Interface
	// RememberAllowed is how long a yes is kept; default: 10 seconds.
	RememberAllowed time.Duration
	// RememberDenied is how long a no is kept; default: 5 seconds.
	RememberDenied time.Duration
	// RememberUnlisted is how long a no to a list is kept; default: 30 seconds.
	RememberUnlisted time.Duration
	// AtOnce is how many questions the API server is asked at the same time; default: 64.
	AtOnce int64
	// MaxAnswers is how many answers are kept; default: 32,768.
	MaxAnswers int
	// Clock is nil for the real one. It tells how old answers are.
	Clock clock.PassiveClock
}

// AccessReviews are Permissions by SubjectAccessReview. They can be used by many at once.
//
// The API server's own delegating authorizer is not used because many requests at once ask each by itself there, and to look up
// what it remembers takes 10 µs, up to twice for each proxied request.
type AccessReviews struct {
	reviews                   authorizationclient.SubjectAccessReviewInterface
	allowed, denied, unlisted time.Duration
	// turns are taken by those that ask the API server.
	turns *semaphore.Weighted
	// answers are bools by question. Errors are not kept.
	answers *cache.LRUExpireCache
	asking  singleflight.Group
}

var _ Permissions = (*AccessReviews)(nil)

// NewPermissions makes AccessReviews that remember nothing yet.
func NewPermissions(o PermissionsOptions) (*AccessReviews, error) {
	if o.Client == nil {
		return nil, errors.New("a client is needed")
	}
	if o.RememberAllowed <= 0 {
		o.RememberAllowed = rememberAllowed
	}
	if o.RememberDenied <= 0 {
		o.RememberDenied = rememberDenied
	}
	if o.RememberUnlisted <= 0 {
		o.RememberUnlisted = rememberUnlisted
	}
	if o.AtOnce <= 0 {
		o.AtOnce = atOnce
	}
	if o.MaxAnswers <= 0 {
		o.MaxAnswers = maxAnswers
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &AccessReviews{
		reviews: o.Client.SubjectAccessReviews(), allowed: o.RememberAllowed, denied: o.RememberDenied,
		unlisted: o.RememberUnlisted, turns: semaphore.NewWeighted(o.AtOnce),
		answers: cache.NewLRUExpireCacheWithClock(o.MaxAnswers, o.Clock),
	}, nil
}

// fingerprint stands for everything that an answer about somebody depends on: name, UID, groups and extra.
type fingerprint [sha256.Size]byte

func fingerprintOf(who user.Info) (fingerprint, error) {
	content, err := json.Marshal(userOfReview(who))
	if err != nil {
		return fingerprint{}, fmt.Errorf("tell callers apart: %w", err)
	}
	return sha256.Sum256(content), nil
}

// question is everything that an answer depends on.
type question struct {
	who  fingerprint
	what Attributes
}

// May implements Permissions. The caller's UID, groups and extra go into the question. Whoever asks the same at the same time
// waits for one answer.
func (p *AccessReviews) May(ctx context.Context, c Caller, a Attributes) (bool, error) {
	if c.Info == nil || c.GetName() == "" {
		return false, nil
	}
	who, err := c.fingerprint()
	if err != nil {
		return false, err
	}
	asked := question{who: who, what: a}
	if may, known := p.remembered(asked); known {
		return may, nil
	}
	// In quotes, fields cannot run into each other.
	answers := p.asking.DoChan(fmt.Sprintf("%x %q", who, a), func() (any, error) {
		if may, known := p.remembered(asked); known { // Answered between the look and the question.
			return may, nil
		}
		// One of those that wait may leave without taking the answer from the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := p.turns.Acquire(ctx, 1); err != nil {
			return false, fmt.Errorf("wait for a turn to ask: %w", err)
		}
		defer p.turns.Release(1)
		may, err := p.ask(ctx, c, a)
		if err == nil {
			p.remember(asked, may)
		}
		return may, err
	})
	select {
	case answer := <-answers:
		if answer.Err != nil {
			return false, unavailable(answer.Err)
		}
		may, ok := answer.Val.(bool)
		return ok && may, nil
	case <-ctx.Done():
		return false, unavailable(context.Cause(ctx))
	}
}

func (p *AccessReviews) remembered(asked question) (may, known bool) {
	answer, ok := p.answers.Get(asked)
	if !ok {
		return false, false
	}
	may, known = answer.(bool)
	return may, known
}

// fingerprint of somebody whose token was reviewed is known already.
func (c Caller) fingerprint() (fingerprint, error) {
	if known, ok := c.Info.(*identity); ok {
		return known.fingerprint, nil
	}
	return fingerprintOf(c.Info)
}

func (p *AccessReviews) remember(asked question, may bool) {
	kept := p.denied
	switch {
	case may:
		kept = p.allowed
	case asked.what.Verb == "list":
		kept = p.unlisted
	}
	p.answers.Add(asked, may, kept)
}

// ask asks the API server. Roles that could not be evaluated give no right; a denial goes before a permission.
func (p *AccessReviews) ask(ctx context.Context, c Caller, a Attributes) (bool, error) {
	group := v1alpha1.GroupVersion()
	spec := userOfReview(c.Info)
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Group: group.Group, Version: group.Version, Resource: a.Resource, Subresource: a.Subresource,
		Verb: a.Verb, Namespace: a.Namespace, Name: a.Name,
	}
	var review *authorizationv1.SubjectAccessReview
	err := webhook.WithExponentialBackoff(ctx, retries(), func() (err error) {
		review, err = p.reviews.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		return err
	}, webhook.DefaultShouldRetry)
	if err != nil {
		return false, err
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

// userOfReview says who a review is about, and nothing of what.
func userOfReview(who user.Info) authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{User: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups()}
	if extra := who.GetExtra(); extra != nil {
		spec.Extra = make(map[string]authorizationv1.ExtraValue, len(extra))
		for key, values := range extra {
			spec.Extra[key] = values
		}
	}
	return spec
}
