// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pause notes that the provider refused the client c on a lane. It writes nothing when that is known and no probe was
// due, nor when the client has changed since c was read: the refusal then concerns a client that is no longer used.
// Afterwards c stands for the newest version.
func (s *Store) Pause(ctx context.Context, c *Client, lane, reason, message string) error {
	now := s.options.Clock.Now()
	return s.change(ctx, c, func(latest *Client) bool {
		if latest.Fingerprint() != c.Fingerprint() {
			return false
		}
		pause, paused := latest.Paused(lane)
		switch {
		case !paused:
			pause = Pause{Since: now, Fingerprint: latest.Fingerprint()}
		case pause.Reason == reason && now.Before(pause.NextProbeAt):
			return false
		default:
			pause.Count++
		}
		pause.Reason, pause.Message = reason, message
		pause.NextProbeAt = now.Add(probeDistance(latest, lane, pause.Count))
		latest.Pauses = latest.withPause(lane, pause)
		return true
	})
}

// ClaimProbe asks for the right to try a paused lane: true for one caller each time a probe is due, and for everybody
// where there is no pause. The claim already moves the next probe away, so a probe that is refused costs no second write.
func (s *Store) ClaimProbe(ctx context.Context, c *Client, lane string) (bool, error) {
	latest, err := s.Get(ctx, c.Application.UID)
	if err != nil {
		return false, err
	}
	pause, paused := latest.Paused(lane)
	now := s.options.Clock.Now()
	switch {
	case !paused:
		*c = *latest
		return true, nil
	case now.Before(pause.NextProbeAt):
		return false, nil
	}
	pause.Count++
	pause.NextProbeAt = now.Add(probeDistance(latest, lane, pause.Count))
	latest.Pauses = latest.withPause(lane, pause)
	err = s.Save(ctx, latest)
	if apierrors.IsConflict(err) {
		return false, nil // Somebody else has claimed it, or the client has changed and is read anew.
	}
	if err != nil {
		return false, err
	}
	*c = *latest
	return true, nil
}

// Lift ends a pause after the provider accepted the client c on a lane. It writes nothing where there is none.
func (s *Store) Lift(ctx context.Context, c *Client, lane string) error {
	return s.change(ctx, c, func(latest *Client) bool {
		if _, paused := latest.Paused(lane); !paused || latest.Fingerprint() != c.Fingerprint() {
			return false
		}
		latest.Pauses = maps.Clone(latest.Pauses)
		delete(latest.Pauses, lane)
		return true
	})
}

// change applies edit, which says whether there is anything to write, to the newest version, again after a conflict.
func (s *Store) change(ctx context.Context, c *Client, edit func(latest *Client) bool) error {
	latest, err := s.Get(ctx, c.Application.UID)
	for range attempts {
		if err != nil {
			return err
		}
		if !edit(latest) {
			return nil
		}
		err = s.Save(ctx, latest)
		if err == nil {
			*c = *latest
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		latest, err = s.live(ctx, c.Application.UID)
	}
	return conflict(c, fmt.Errorf("it was changed by others %d times in a row", attempts))
}

// live reads from the API server and remembers what it finds.
func (s *Store) live(ctx context.Context, application types.UID) (*Client, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.options.Namespace, Name: SecretName(application)}
	if err := s.options.Live.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("read kept client %s: %w", key.Name, err)
	}
	return s.merge(application, secret)
}
