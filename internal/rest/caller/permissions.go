// SPDX-License-Identifier: Apache-2.0

package caller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

const (
	// rememberAllowed is how long somebody whose role was taken away still goes on. Watching roles would be faster, but the API may
	// not read roles, and RBAC need not be what decides.
	rememberAllowed = 10 * time.Second
	// rememberDenied is shorter, because people who have just been given a role try again at once.
	rememberDenied = 5 * time.Second
)

// PermissionsOptions say who is asked about permissions.
type PermissionsOptions struct {
	// Client may create SubjectAccessReviews.
	Client authorizationclient.AuthorizationV1Interface
	// RememberAllowed is how long a yes is kept; default: 10 seconds.
	RememberAllowed time.Duration
	// RememberDenied is how long a no is kept; default: 5 seconds.
	RememberDenied time.Duration
}

// AccessReviews are Permissions by SubjectAccessReview. It is safe for concurrent use.
type AccessReviews struct {
	authorizer authorizer.Authorizer
	asking     singleflight.Group
}

var _ Permissions = (*AccessReviews)(nil)

// NewPermissions makes AccessReviews that remember nothing yet. The cache is the API server's own: it is bounded (8,192 answers,
// the least recently used goes first), and errors are not kept.
func NewPermissions(o PermissionsOptions) (*AccessReviews, error) {
	if o.RememberAllowed <= 0 {
		o.RememberAllowed = rememberAllowed
	}
	if o.RememberDenied <= 0 {
		o.RememberDenied = rememberDenied
	}
	backoff := retries()
	delegating, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: o.Client,
		AllowCacheTTL:             o.RememberAllowed,
		DenyCacheTTL:              o.RememberDenied,
		WebhookRetryBackoff:       &backoff,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("make the reviewer of permissions: %w", err)
	}
	return &AccessReviews{authorizer: delegating}, nil
}

// question is one SubjectAccessReview: everything that its answer depends on.
type question struct {
	Name, UID  string
	Groups     []string
	Extra      map[string][]string
	Attributes Attributes
}

// May implements Permissions. The caller's UID, groups and extra go into the question. Whoever asks the same at the same time
// waits for one answer.
func (p *AccessReviews) May(ctx context.Context, c Caller, a Attributes) (bool, error) {
	if c.Info == nil || c.GetName() == "" {
		return false, nil
	}
	key, err := json.Marshal(question{c.GetName(), c.GetUID(), c.GetGroups(), c.GetExtra(), a})
	if err != nil {
		return false, fmt.Errorf("name the question: %w", err)
	}
	answers := p.asking.DoChan(string(key), func() (any, error) {
		// One of those that wait may leave without taking the answer from the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		decision, _, err := p.authorizer.Authorize(ctx, record(c, a))
		return decision == authorizer.DecisionAllow && err == nil, err
	})
	select {
	case answer := <-answers:
		if answer.Err != nil {
			return false, unavailable(answer.Err)
		}
		allowed, ok := answer.Val.(bool)
		return ok && allowed, nil
	case <-ctx.Done():
		return false, unavailable(context.Cause(ctx))
	}
}

func record(c Caller, a Attributes) authorizer.AttributesRecord {
	group := v1alpha1.GroupVersion()
	return authorizer.AttributesRecord{
		User: c.Info, Verb: a.Verb, Namespace: a.Namespace, Name: a.Name, Resource: a.Resource, Subresource: a.Subresource,
		APIGroup: group.Group, APIVersion: group.Version, ResourceRequest: true,
	}
}
