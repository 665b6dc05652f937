// SPDX-License-Identifier: Apache-2.0

// Package credential finds the access token of a connection and where it may go. It reads, and asks the controller for another
// token where one has expired or does not work: it never talks to a provider, and never sees a refresh token.
package credential

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// defaultCacheSize is of how many connections and applications what was read is kept.
	defaultCacheSize = 10_000
	// readFor is how long one call to the API server may take: somebody waits.
	readFor = 5 * time.Second
)

// Credential is an access token and where it may go. It is shared: nothing that it points to is changed.
type Credential struct {
	// Token is the access token, as it is in Headers already.
	Token sensitive.String
	// Hash identifies Token.
	Hash   string
	Expiry lifecycle.Expiry
	// Renewable tells that another token can be had without a person.
	Renewable bool
	// Base is where the provider's API begins; nil: the application names none.
	Base *url.URL
	// Headers go with each request to the API, and only to Base's host and to AllowedHosts: the token is in them.
	Headers []Header
	// AllowedHosts are further hosts that the token may be sent to: a name, or `*.` before a domain.
	AllowedHosts []string
	// CA holds the only certificates to trust (PEM); nil means the system's.
	CA []byte
	// Limits of the requests to the API, and the names of the headers in which the provider tells its own; nil: the defaults.
	Limits *v1alpha1.APILimits

	application types.UID
	issuedAt    time.Time
	// byItself : the access token is exchanged for a newer one, so only one that has not expired can be.
	byItself bool
}

// Header is one header of a request.
type Header struct {
	Name  string
	Value sensitive.String
}

// expired tells whether the token must not be sent.
func (c *Credential) expired(now time.Time) bool { return c.Token.IsEmpty() || c.Expiry.Passed(now) }

func (c *Credential) renewable(now time.Time) bool {
	return c.Renewable && (!c.byItself || !c.expired(now))
}

// Directory is what the informers know. What it returns is not changed. *directory.Directory is one.
type Directory interface {
	// ApplicationNamed returns nil when there is none.
	ApplicationNamed(name types.NamespacedName) *v1alpha1.OAuthApplication
	// Connection returns nil when there is none.
	Connection(uid types.UID) *v1alpha1.OAuthConnection
	// Subscribe tells of each change of a connection from now on, its deletion too, several as one. release must be called.
	Subscribe(uid types.UID) (changes <-chan struct{}, release func())
}

// Creator makes Secrets in the operator's namespace.
type Creator interface {
	Create(ctx context.Context, secret *corev1.Secret) error
}

// Options of a Source. All but Renewed and CacheSize are needed.
type Options struct {
	Directory Directory
	// Live gets Secrets of Namespace from the API server.
	Live    client.Reader
	Creator Creator
	// Namespace is the operator's own.
	Namespace string
	Clock     clock.WithTicker
	Log       logr.Logger
	// Renewed is told of each caller that waited for another token, with the error of Renew; nil: nobody is.
	Renewed func(c *v1alpha1.OAuthConnection, err error)
	// CacheSize bounds of how many connections what was read is kept; 0: 10,000.
	CacheSize int
}

// Cause is why a token is of no use.
type Cause string

// Causes.
const (
	// Expired : its time is over.
	Expired Cause = "expired"
	// Rejected : the provider's API has answered 401.
	Rejected Cause = "rejected"
)

// Errors of Renew that are no problems: with both the provider's own answer is all that the caller can be told.
var (
	// ErrNotRenewable : no other token can be had without a person. The controller was told, and finds out whether the grant
	// still exists.
	ErrNotRenewable = errors.New("the access token cannot be renewed")
	// ErrTooSoon : another token was asked for within the last minute.
	ErrTooSoon = errors.New("the access token was renewed, or was to be, within the last minute")
)

// Source finds credentials. It is safe for concurrent use.
type Source struct {
	Options
	live liveReader
	// connections holds *kept by the UID of a connection, upstreams *keptUpstream by the UID of an application, and asked when
	// the controller was last asked by the kind of the message and the UID.
	connections, upstreams, asked *lru.Cache
	// mu makes reading and changing the caches above one step.
	mu sync.Mutex
	// reads and renewals let many callers share one call.
	reads, renewals singleflight.Group
}

// New makes a Source.
func New(options Options) *Source {
	if options.CacheSize <= 0 {
		options.CacheSize = defaultCacheSize
	}
	return &Source{
		Options: options, live: liveReader{options.Live}, connections: lru.New(options.CacheSize),
		upstreams: lru.New(options.CacheSize), asked: lru.New(2 * options.CacheSize),
	}
}

// Get returns the credential of a connection as the directory has it. One that has expired is renewed first, as Renew does. The
// error is a *problem.Error: ConnectionNotReady or ConnectionInactive where the connection cannot be used, those of Renew, and
// ClusterUnavailable.
func (s *Source) Get(ctx context.Context, c *v1alpha1.OAuthConnection) (*Credential, error) {
	if err := usable(c); err != nil {
		return nil, err
	}
	credential, err := s.current(ctx, c)
	if err != nil {
		return nil, own(err)
	}
	if credential.expired(s.Clock.Now()) {
		return s.Renew(ctx, c, credential, Expired)
	}
	return credential, nil
}

// Forget drops what is known of a connection that is gone.
func (s *Source) Forget(connection types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections.Remove(connection)
}
