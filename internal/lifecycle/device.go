// SPDX-License-Identifier: Apache-2.0

package lifecycle

import "time"

// abandoned tells that nobody has entered any of the codes for so long that no other one is asked for.
func (d *Device) abandoned(now time.Time) bool {
	return !now.Before(d.ExpiresAt) && now.Sub(d.Since) >= devicePatience
}

// replaceable is when another code may be asked for: at first when this one has expired, and later a minute after it was
// asked for, where a provider calls each code expired that it has just given.
func (d *Device) replaceable() time.Time {
	return d.StartedAt.Add(min(d.StartedAt.Sub(d.Since), deviceDistance))
}

// DeviceStarted returns the record with a new device authorization. It counts as asked for since the one before, unless
// somebody asked for it or that one ended otherwise.
func DeviceStarted(r *Record, d Device, request string) *Record {
	next := r.clone()
	d.Since = d.StartedAt
	if r.Device != nil && request == r.RefreshRequest && !d.StartedAt.After(r.Device.Since.Add(devicePatience)) {
		d.Since = r.Device.Since
	}
	next.Device, next.InputFailure, next.RefreshRequest = &d, nil, request
	return next
}

// DeviceSlowed returns the record after `slow_down`: all polls from now on are five seconds further apart (RFC 8628
// section 3.5).
func DeviceSlowed(r *Record) *Record {
	next := r.clone()
	next.InputFailure = nil
	if next.Device != nil {
		next.Device.Interval += slowDown
	}
	return next
}

// DevicePending returns the record after an answer that ends a failure but no waiting.
func DevicePending(r *Record) *Record {
	next := r.clone()
	next.InputFailure = nil
	return next
}

// DeviceExpired returns the record after the provider has said that the code is no longer good.
func DeviceExpired(r *Record, now time.Time) *Record {
	next := r.clone()
	next.InputFailure = nil
	if next.Device != nil && now.Before(next.Device.ExpiresAt) {
		next.Device.ExpiresAt = now
	}
	return next
}
