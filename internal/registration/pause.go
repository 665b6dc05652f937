// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"strings"
	"time"
)

const (
	firstProbe = 5 * time.Second
	lastProbe  = 5 * time.Minute
	// probeJitter is the share by which a distance may be shorter, so that many applications do not probe in step.
	probeJitter = 0.2
)

// Pause says that the provider does not accept the client on one lane. Connections wait; one of them probes now and then.
type Pause struct {
	// Reason is v1alpha1.ReasonInvalidClient or v1alpha1.ReasonUnauthorizedClient.
	Reason string `json:"reason"`
	// Message is what the provider said, fit to be shown.
	Message string `json:"message,omitempty"`
	// Since is when the provider first refused.
	Since time.Time `json:"since"`
	// NextProbeAt is when one call may try again.
	NextProbeAt time.Time `json:"nextProbeAt"`
	// Count of refusals and probes, which the distance of probes grows with.
	Count int `json:"count"`
	// Fingerprint of the client that was refused.
	Fingerprint string `json:"fingerprint"`
}

// LaneKey names what a pause holds for: a resolved token URL and a value of `grant_type`. Others of the same application
// go on.
func LaneKey(tokenURL, grantType string) string { return grantType + " " + tokenURL }

// ParseLane undoes LaneKey.
func ParseLane(lane string) (tokenURL, grantType string) {
	grantType, tokenURL, _ = strings.Cut(lane, " ")
	return tokenURL, grantType
}

// Paused returns the pause that holds for a lane.
func (c *Client) Paused(lane string) (Pause, bool) {
	pause, ok := c.Pauses[lane]
	if !ok || pause.Fingerprint != c.Fingerprint() {
		return Pause{}, false
	}
	return pause, true
}

// validPauses drops the pauses that another client of this application earned.
func (c *Client) validPauses() map[string]Pause {
	fingerprint := c.Fingerprint()
	kept := maps.Clone(c.Pauses)
	maps.DeleteFunc(kept, func(_ string, pause Pause) bool { return pause.Fingerprint != fingerprint })
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// withPause returns the pauses with one set.
func (c *Client) withPause(lane string, pause Pause) map[string]Pause {
	pauses := maps.Clone(c.Pauses)
	if pauses == nil {
		pauses = map[string]Pause{}
	}
	pauses[lane] = pause
	return pauses
}

// probeDistance is how long to wait after count probes: twice as long each time up to lastProbe, and up to a fifth less
// by a hash of its inputs, so that it is the same whoever computes it.
func probeDistance(c *Client, lane string, count int) time.Duration {
	distance := lastProbe
	if count < 10 { // 5 s · 2^10 is over an hour; further shifts would overflow in time.
		distance = min(firstProbe<<max(count, 0), lastProbe)
	}
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%s\n%s\n%d", c.Application.UID, lane, count)
	fraction := float64(binary.BigEndian.Uint16(hash.Sum(nil)[6:])) / (1 << 16)
	return distance - time.Duration(probeJitter*fraction*float64(distance))
}
