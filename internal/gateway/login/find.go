// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

// readFor is how long a live read may take: somebody waits.
const readFor = 5 * time.Second

// Who makes live reads: each has a share of its own, so that people who guess tickets keep nobody's login from being found.
const (
	readTicket = "ticket" // Anybody may ask.
	readLogin  = "login"  // Somebody has shown what was sealed for a login, or a ticket that is good.
)

// errBusy : the API server was asked so often that it is not asked again now.
var errBusy = errors.New("too many live reads")

// ticketed returns the connection whose own ticket this is. What the cache does not know may be too new for it, so one live
// read is made before a ticket is refused. A connection comes with ticket.ErrExpired too. For ticket.ErrUnknown nothing that
// was found out leaves this function: not whether there is such a connection.
func (h *Handler) ticketed(ctx context.Context, key types.NamespacedName, text string) (*v1alpha1.OAuthConnection, ticket.Claims, error) {
	if _, err := ticket.Parse(text); err != nil || !isName(key) {
		return nil, ticket.Claims{}, ticket.ErrUnknown
	}
	connection, err := h.cached(ctx, key)
	if err != nil {
		return nil, ticket.Claims{}, err
	}
	if connection != nil {
		claims, err := ticket.Check(connection, text, h.Clock.Now())
		if err == nil || errors.Is(err, ticket.ErrExpired) {
			return connection, claims, err
		}
	}
	connection, err = h.live(ctx, key, readTicket)
	switch {
	case errors.Is(err, errBusy), err == nil && connection == nil:
		return nil, ticket.Claims{}, ticket.ErrUnknown
	case err != nil:
		return nil, ticket.Claims{}, err
	}
	claims, err := ticket.Check(connection, text, h.Clock.Now())
	if err != nil && !errors.Is(err, ticket.ErrExpired) {
		return nil, ticket.Claims{}, ticket.ErrUnknown
	}
	return connection, claims, err
}

func isName(key types.NamespacedName) bool {
	return len(validation.IsDNS1123Label(key.Namespace)) == 0 && len(validation.IsDNS1123Subdomain(key.Name)) == 0
}

// cached returns a connection of the cache; nil: it has none.
func (h *Handler) cached(ctx context.Context, key types.NamespacedName) (*v1alpha1.OAuthConnection, error) {
	connection := &v1alpha1.OAuthConnection{}
	if err := h.Cached.Get(ctx, key, connection); err != nil {
		return nil, absent(err, key)
	}
	return connection, nil
}

// live returns a connection of the API server; nil: there is none. It is errBusy when that reader has made too many.
func (h *Handler) live(ctx context.Context, key types.NamespacedName, reader string) (*v1alpha1.OAuthConnection, error) {
	if ok, _ := h.Reads.Allow(reader); !ok {
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	connection := &v1alpha1.OAuthConnection{}
	if err := h.Live.Get(ctx, key, connection); err != nil {
		return nil, absent(err, key)
	}
	return connection, nil
}

func absent(err error, key types.NamespacedName) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("read %s: %w", key, err)
}

// current returns the connection with that UID as the cache has it, or as the API server does where the cache has none or
// does not satisfy. nil: there is none any more.
func (h *Handler) current(ctx context.Context, key types.NamespacedName, uid types.UID, satisfies func(*v1alpha1.OAuthConnection) bool) (*v1alpha1.OAuthConnection, error) {
	known, err := h.cached(ctx, key)
	if err != nil {
		return nil, err
	}
	if known != nil && known.UID == uid && satisfies(known) {
		return known, nil
	}
	newer, err := h.live(ctx, key, readLogin)
	switch {
	case errors.Is(err, errBusy):
		newer = known
	case err != nil:
		return nil, err
	}
	if newer == nil || newer.UID != uid {
		return nil, nil
	}
	return newer, nil
}

// application returns the application that a connection refers to, as the cache has it, or as the API server does where the
// cache's does not satisfy; nil: there is none.
func (h *Handler) application(ctx context.Context, c *v1alpha1.OAuthConnection, satisfies func(*v1alpha1.OAuthApplication) bool) (*v1alpha1.OAuthApplication, error) {
	namespace, name := c.ApplicationKey()
	key := types.NamespacedName{Namespace: namespace, Name: name}
	known := &v1alpha1.OAuthApplication{}
	err := h.Cached.Get(ctx, key, known)
	if err == nil && satisfies(known) {
		return known, nil
	}
	if err != nil {
		known = nil
		if err := absent(err, key); err != nil {
			return nil, err
		}
	}
	if ok, _ := h.Reads.Allow(readLogin); !ok {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	newer := &v1alpha1.OAuthApplication{}
	if err := h.Live.Get(ctx, key, newer); err != nil {
		return nil, absent(err, key)
	}
	return newer, nil
}
