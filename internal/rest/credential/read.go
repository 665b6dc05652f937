// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	// upstreamAge is after how long a kept client is read again: a changed client Secret changes no generation.
	upstreamAge = 15 * time.Second
	// upstreamGrace is for how long one is used that cannot be read again, and upstreamPause when that is tried the next time.
	upstreamGrace = 5 * time.Minute
	upstreamPause = 5 * time.Second
)

// kept is what was read of a connection's grant, and what was made of it. It is replaced, never changed.
type kept struct {
	access *grant.Access
	// version of the connection that it was read at: the record is not older.
	version string

	// credential was made of access, upstream and generation's inputs; nil: not yet.
	credential *Credential
	upstream   *registration.Upstream
	generation int64
}

// keptUpstream is what was read of an application's kept client.
type keptUpstream struct {
	*registration.Upstream
	// observed is status.observedGeneration of the application that it was read at.
	observed int64
	readAt   time.Time
	// fresh until then, it is not read again.
	freshUntil time.Time
}

// current returns the credential as it is, expired or not.
func (s *Source) current(ctx context.Context, c *v1alpha1.OAuthConnection) (*Credential, error) {
	known := s.known(c)
	if known == nil {
		access, err := s.sharedAccess(ctx, c)
		if err != nil {
			return nil, err
		}
		known = &kept{access: access, version: c.ResourceVersion}
	}
	return s.complete(ctx, c, known)
}

// complete makes the credential of what was read of the grant, and keeps both.
func (s *Source) complete(ctx context.Context, c *v1alpha1.OAuthConnection, known *kept) (*Credential, error) {
	application, err := s.application(c)
	if err != nil {
		return nil, err
	}
	if known.access.Application.UID != string(application.UID) {
		return nil, notReady(c, v1alpha1.ReasonApplicationNotReady, fmt.Sprintf(
			"cannot be used: its grant was obtained at an application %s/%s that is gone, and another one has its name now; a refresh makes it that one's", application.Namespace, application.Name))
	}
	upstream, err := s.upstream(ctx, c, application)
	if err != nil {
		return nil, err
	}
	if known.credential != nil && known.upstream == upstream && known.generation == c.Generation {
		return known.credential, nil
	}
	made := &kept{access: known.access, version: known.version, upstream: upstream, generation: c.Generation}
	made.credential, err = compose(c, upstream, known.access)
	s.keep(c.UID, made)
	return made.credential, err
}

// known returns what was read at this version of a connection, or at a later one.
func (s *Source) known(c *v1alpha1.OAuthConnection) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, _ := s.connections.Get(c.UID)
	if known, ok := found.(*kept); ok && !older(known.version, c.ResourceVersion) {
		return known
	}
	return nil
}

// keep does not put what was read earlier in the place of what was read later.
func (s *Source) keep(connection types.UID, made *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, _ := s.connections.Get(connection)
	if known, ok := found.(*kept); ok && older(made.version, known.version) {
		return
	}
	s.connections.Add(connection, made)
}

// older compares resourceVersions of one object. One that is no number is older than any other.
func older(version, than string) bool {
	if version == than {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || order < 0
}

// sharedAccess reads the record once for all that ask at the same time.
func (s *Source) sharedAccess(ctx context.Context, c *v1alpha1.OAuthConnection) (*grant.Access, error) {
	return shared(ctx, s, "grant/"+string(c.UID)+"/"+c.ResourceVersion, func(ctx context.Context) (*grant.Access, error) {
		return s.access(ctx, c)
	})
}

// access reads the record as the API server has it now.
func (s *Source) access(ctx context.Context, c *v1alpha1.OAuthConnection) (*grant.Access, error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	access, err := grant.ReadAccess(ctx, s.live, s.Namespace, string(c.UID))
	switch {
	case err != nil:
		return nil, err
	case access == nil, access.Token.IsEmpty() && !access.Renewable:
		return nil, notReady(c, v1alpha1.ReasonProgressing, "is not ready: no grant is held for it")
	}
	return access, nil
}

// upstream returns what the kept client of an application says, at most upstreamAge old. One that is known goes on being used
// for a while when it cannot be read again.
func (s *Source) upstream(ctx context.Context, c *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication) (*registration.Upstream, error) {
	found, _ := s.upstreams.Get(application.UID)
	known, _ := found.(*keptUpstream)
	observed := application.Status.ObservedGeneration
	if known != nil && known.observed == observed && s.Clock.Now().Before(known.freshUntil) {
		return known.Upstream, nil
	}
	read, err := shared(ctx, s, fmt.Sprintf("client/%s/%d", application.UID, observed), func(ctx context.Context) (*registration.Upstream, error) {
		return s.readUpstream(ctx, application.UID, observed)
	})
	switch {
	case err != nil && known != nil && known.observed == observed && s.Clock.Since(known.readAt) < upstreamGrace:
		s.Log.Error(err, "the kept client cannot be read again, the known one is used", "application", application.Namespace+"/"+application.Name)
		s.upstreams.Add(application.UID, &keptUpstream{
			Upstream: known.Upstream, observed: observed, readAt: known.readAt, freshUntil: s.Clock.Now().Add(upstreamPause),
		})
		return known.Upstream, nil
	case err != nil:
		return nil, err
	case read == nil:
		return nil, notReady(c, v1alpha1.ReasonApplicationNotReady, fmt.Sprintf(
			"cannot be used: application %s/%s is not ready", application.Namespace, application.Name))
	}
	return read, nil
}

// readUpstream returns the one that is known where nothing has changed, so that what was made of it stays.
func (s *Source) readUpstream(ctx context.Context, application types.UID, observed int64) (*registration.Upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	read, err := registration.ReadUpstream(ctx, s.live, s.Namespace, application)
	if err != nil || read == nil {
		return nil, err
	}
	found, _ := s.upstreams.Get(application)
	if known, ok := found.(*keptUpstream); ok && known.Version == read.Version {
		read = known.Upstream
	}
	now := s.Clock.Now()
	s.upstreams.Add(application, &keptUpstream{Upstream: read, observed: observed, readAt: now, freshUntil: now.Add(upstreamAge)})
	return read, nil
}

// shared makes one call for all that ask for the same at the same time. It does not end when one of them goes away.
func shared[T any](ctx context.Context, s *Source, key string, call func(context.Context) (T, error)) (T, error) {
	var none T
	answers := s.reads.DoChan(key, func() (any, error) { return call(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return none, problem.New(problem.ClusterUnavailable, "the Kubernetes API server did not answer in time").Because(context.Cause(ctx))
	case answer := <-answers:
		if answer.Err != nil {
			return none, answer.Err
		}
		value, _ := answer.Val.(T)
		return value, nil
	}
}

// compose says where a token may go. Values of inputs are the connection's present ones, as when the controller asks the API
// about a token; but they lead no token to another host than the one it was granted for.
func compose(c *v1alpha1.OAuthConnection, upstream *registration.Upstream, access *grant.Access) (*Credential, error) {
	profile := upstream.Profile
	values, err := profile.Values(inputsOf(c), access.Captured)
	if err != nil {
		return nil, invalid(c, err)
	}
	base, err := profile.APIBase(values)
	if errors.Is(err, provider.ErrNoAPIBaseURL) {
		base, err = (*url.URL)(nil), nil
	}
	if err != nil {
		return nil, invalid(c, err)
	}
	if base != nil && leadsElsewhere(profile, access, base) {
		return nil, elsewhere(c, base)
	}
	headers, err := profile.APIHeaders(access.Token, values)
	if err != nil {
		return nil, invalid(c, err)
	}
	credential := &Credential{
		Token: access.Token, Hash: access.Hash, Expiry: access.Expiry,
		Base: base, Headers: make([]Header, 0, len(headers)),
		AllowedHosts: profile.Spec.AllowedHosts, CA: upstream.CA, Limits: profile.Spec.APILimits,
		application: types.UID(access.Application.UID), issuedAt: access.IssuedAt,
	}
	for _, header := range headers {
		credential.Headers = append(credential.Headers, Header{Name: header.Name, Value: header.Value})
	}
	issues := issued(c.Spec.Grant.Type)
	credential.byItself = !issues && profile.RenewsByAccessToken()
	credential.Renewable = issues || credential.byItself || access.Renewable
	return credential, nil
}

// leadsElsewhere tells whether a base is at another scheme, host or port than with the inputs that the grant was obtained with.
// Values that the application accepts no more, and bases that cannot be told, are others.
func leadsElsewhere(profile *provider.Profile, access *grant.Access, base *url.URL) bool {
	_, authority, _ := strings.Cut(string(profile.Spec.APIBaseURL), "://")
	if authority, _, _ = strings.Cut(authority, "/"); authority != "" && !strings.Contains(authority, "{") {
		return false // Nothing but the application's own.
	}
	granted, err := profile.APIBase(profile.Fitting(access.Inputs, access.Captured))
	return err != nil || origin(granted) != origin(base)
}

// origin of a URL (RFC 6454, section 4), with the port.
func origin(u *url.URL) [3]string {
	scheme := strings.ToLower(u.Scheme)
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return [3]string{scheme, strings.ToLower(u.Hostname()), port}
}

// elsewhere says what brings a grant for the host that a connection's inputs name now.
func elsewhere(c *v1alpha1.OAuthConnection, base *url.URL) *problem.Error {
	if issued(c.Spec.Grant.Type) { // The controller has another one issued as soon as it sees them.
		return notReady(c, v1alpha1.ReasonInvalidInputs,
			"cannot be used yet: spec.inputs were changed, and its token is not for "+base.Host+"; another one is obtained").After(time.Second)
	}
	p := notReady(c, v1alpha1.ReasonInvalidInputs,
		"cannot be used: its grant was obtained with other spec.inputs, and not for "+base.Host+": take the change back, or authorize again")
	p.AuthorizationURL = c.Status.AuthorizationURL
	return p
}

func invalid(c *v1alpha1.OAuthConnection, cause error) *problem.Error {
	return notReady(c, v1alpha1.ReasonInvalidInputs, "cannot be used at the provider's API: "+cause.Error())
}

// issued tells of grants whose tokens are issued, again and again, without a person.
func issued(grantType v1alpha1.GrantType) bool {
	switch grantType {
	case v1alpha1.GrantClientCredentials, v1alpha1.GrantJWTBearer, v1alpha1.GrantTokenExchange, v1alpha1.GrantExtension:
		return true
	case v1alpha1.GrantAuthorizationCode, v1alpha1.GrantRefreshToken, v1alpha1.GrantDeviceCode:
	}
	return false
}

func inputsOf(c *v1alpha1.OAuthConnection) map[string]string {
	given := make(map[string]string, len(c.Spec.Inputs))
	for name, value := range c.Spec.Inputs {
		given[name] = string(value)
	}
	return given
}

// liveReader says of an API server that cannot be asked that it is away.
type liveReader struct{ client.Reader }

// Get implements client.Reader.
func (r liveReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	err := r.Reader.Get(ctx, key, object, options...)
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	return unanswered(err)
}

// unanswered is the problem of a call to the API server that failed. What this process may not do is nobody else's problem.
func unanswered(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
		return err
	}
	return problem.New(problem.ClusterUnavailable, "the Kubernetes API server did not answer").After(time.Second).Because(err)
}
