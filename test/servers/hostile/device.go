// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// DeviceCodeGrant is the grant type of RFC 8628.
const DeviceCodeGrant = "urn:ietf:params:oauth:grant-type:device_code"

// The defaults of RFC 8628 section 3.2, and what slow_down adds to the interval
// (section 3.5).
const (
	deviceLifetime = 10 * time.Minute
	deviceInterval = 5 * time.Second
	slowDown       = 5 * time.Second
)

// Decision is what a person said about a device.
type Decision string

// What a person can say.
const (
	Undecided Decision = ""
	Approved  Decision = "approved"
	Denied    Decision = "denied"
)

// Device is a device authorization, without its secret code.
type Device struct {
	UserCode string
	ClientID string
	Scope    string
	Decision Decision
	// Polls counts token requests for it; Interval is what must lie between two.
	Polls    int
	Interval time.Duration
	Expires  time.Time
}

type device struct {
	Device

	grant *grant // set by approval
	last  time.Time
	spent bool
}

// SetDevicePolling changes the interval between polls, and the lifetime of
// device codes, of authorizations from now on. A zero interval is not told to
// the client, who must then take 5 seconds (RFC 8628 section 3.2).
func (s *Server) SetDevicePolling(interval, lifetime time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interval, s.deviceLifetime = interval, lifetime
}

// Devices returns all device authorizations, the oldest first.
func (s *Server) Devices() []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Device, len(s.vault.devices))
	for i, d := range s.vault.devices {
		all[i] = d.Device
	}
	return all
}

// ApproveDevice consents, in the name of the account, as a person does who
// types the user code. A code that is unknown, decided or too old is an error.
func (s *Server) ApproveDevice(userCode, account string) error {
	return s.decideDevice(userCode, Approved, account)
}

// DenyDevice refuses as a person may.
func (s *Server) DenyDevice(userCode string) error { return s.decideDevice(userCode, Denied, "") }

func (s *Server) decideDevice(userCode string, d Decision, account string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decideLocked(userCode, d, account)
}

func (s *Server) decideLocked(userCode string, decision Decision, account string) error {
	for _, d := range s.vault.devices {
		if d.UserCode != userCode {
			continue
		}
		if d.Decision != Undecided || !s.now().Before(d.Expires) {
			break
		}
		d.Decision = decision
		if decision == Approved {
			d.grant = &grant{clientID: d.ClientID, subject: account, scope: s.consented(account, d.Scope)}
		}
		return nil
	}
	return errors.New("no device waits with this user code")
}

// authorizeDevice follows RFC 8628 section 3.2.
func (s *Server) authorizeDevice(x *exchange) answer {
	c, ok := s.client(x)
	if !ok {
		return refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	scope := x.parsed.Form.Get("scope")
	if !allowed(c, scope) {
		return refuse(http.StatusBadRequest, "invalid_scope", "the client may not have this scope")
	}
	deviceCode := secret("device-")
	letters := rand.Text()
	d := &device{Device: Device{
		UserCode: letters[:4] + "-" + letters[4:8], ClientID: c.ID, Scope: scope,
		Interval: s.interval, Expires: s.now().Add(s.deviceLifetime),
	}}
	s.vault.devices = append(s.vault.devices, d)
	s.vault.deviceCodes[deviceCode] = d
	s.Issue(deviceCode)
	fields := map[string]any{
		"device_code":               deviceCode,
		"user_code":                 d.UserCode,
		"verification_uri":          s.URL + "/device",
		"verification_uri_complete": s.URL + "/device?user_code=" + d.UserCode,
		"expires_in":                int64(s.deviceLifetime / time.Second),
	}
	if s.interval > 0 {
		fields["interval"] = int64((s.interval + time.Second - 1) / time.Second)
	} else {
		d.Interval = deviceInterval
	}
	return answer{status: http.StatusOK, fields: fields}
}

// verifyDevice is the page where the user, who always agrees, gives the user code.
func (s *Server) verifyDevice(x *exchange) answer {
	if err := s.decideLocked(x.parsed.Form.Get("user_code"), Approved, s.subjectOf(x)); err != nil {
		return answer{status: http.StatusNotFound, body: []byte(err.Error())}
	}
	return answer{status: http.StatusOK, body: []byte("The device is connected.")}
}

// pollDevice follows RFC 8628 section 3.5.
func (s *Server) pollDevice(x *exchange, c harness.Client) answer {
	d := s.vault.deviceCodes[x.parsed.Form.Get("device_code")]
	if d == nil || d.ClientID != c.ID || d.spent {
		return refuse(http.StatusBadRequest, "invalid_grant", "the device code is unknown or was used")
	}
	now := s.now()
	d.Polls++
	early := !d.last.IsZero() && now.Before(d.last.Add(d.Interval))
	d.last = now
	switch {
	case !now.Before(d.Expires):
		return refuse(http.StatusBadRequest, "expired_token", "the device code has expired")
	case d.Decision == Denied:
		return refuse(http.StatusBadRequest, "access_denied", "the user refused")
	case early:
		d.Interval += slowDown
		return refuse(http.StatusBadRequest, "slow_down", "asked too soon")
	case d.Decision == Undecided:
		return refuse(http.StatusBadRequest, "authorization_pending", "the user has not decided")
	}
	d.spent = true
	return s.issueFirst(x, d.grant)
}
