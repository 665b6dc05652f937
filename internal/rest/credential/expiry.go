// SPDX-License-Identifier: Apache-2.0

package credential

import "time"

// ExpiredAt tells whether the token must not be sent any more at a time: it has certainly expired then, or there is none.
func (c *Credential) ExpiredAt(now time.Time) bool { return c.expired(now) }
