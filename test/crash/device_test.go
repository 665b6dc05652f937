// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// pollInterval lies between two polls; the shortest that the program makes.
const pollInterval = time.Second

// TestKillDuringDeviceAuthorization kills the program at each moment from asking for a device code to the Secret.
func TestKillDuringDeviceAuthorization(t *testing.T) {
	t.Parallel()
	everywhere(t, scenario{
		prepare: func(w *world) (string, func()) {
			w.server.SetDevicePolling(pollInterval, time.Hour)
			w.person = w.approves
			w.create(w.connection(connectionName, v1alpha1.GrantSpec{Type: v1alpha1.GrantDeviceCode}))
			return "", func() { w.start() }
		},
		from: "provider device_authorization #1 received",
		among: []string{
			"provider device_authorization", "record with device code", "provider token " + hostile.DeviceCodeGrant, "record with outcome",
			"token Secret", "oauthconnections/status",
		},
		done:     func(*world, sight) func(sight) error { return deviceDone },
		unmarked: true,
		resumed:  (*world).sameDevice,
	})
}

// approves is a person who types the code that status shows, once the program has asked whether they did.
func (w *world) approves(r record.Request) {
	if r.GrantType != hostile.DeviceCodeGrant {
		return
	}
	seen, err := w.look(connectionName)
	if err != nil || seen.connection.Status.DeviceAuthorization == nil {
		return
	}
	shown := seen.connection.Status.DeviceAuthorization.UserCode
	for _, d := range w.server.Devices() {
		if d.UserCode == shown && d.Decision == hostile.Undecided {
			// An error means that the code has just expired or been used; the person would see another one.
			_ = w.server.ApproveDevice(shown, owner)
		}
	}
}

// deviceDone wants nothing to be left of the device authorization.
func deviceDone(s sight) error {
	last := s.connection.Status.LastAuthorization
	switch {
	case s.record.Device != nil || s.connection.Status.DeviceAuthorization != nil:
		return errors.New("want no device code any more")
	case last == nil || last.Outcome != v1alpha1.AuthorizationSucceeded:
		return errors.New("want the authorization to be reported as a success")
	}
	return nil
}

// sameDevice wants the person to have been asked once, and once more only where the kill came before the code, or the tokens
// for it, could be written. The provider's pace is kept across the restart.
func (w *world) sameDevice(_, died sight) {
	w.t.Helper()
	want, devices := 1, w.server.Devices()
	if !died.record.Held() && (died.record == nil || died.record.Device == nil || w.refreshTokens() > 1) {
		want = 2
	}
	if died.record == nil && len(devices) == 1 {
		want = 1 // Nothing had been asked for yet.
	}
	if len(devices) != want {
		w.t.Errorf("%d device codes were asked for, want %d", len(devices), want)
	}
	for _, d := range devices {
		if d.Interval != pollInterval {
			w.t.Error("the program has polled too soon")
		}
	}
	granted := w.server.Count(record.Filter{Endpoint: record.Token, GrantType: hostile.DeviceCodeGrant, Status: 200})
	if most := len(devices); granted > most {
		w.t.Errorf("%d answers with tokens for %d device codes", granted, most)
	}
}

// refreshTokens counts those that were issued.
func (w *world) refreshTokens() int {
	count := 0
	for _, token := range w.server.Issued() {
		if strings.HasPrefix(token, "refresh-") {
			count++
		}
	}
	return count
}
