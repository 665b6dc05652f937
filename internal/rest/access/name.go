// SPDX-License-Identifier: Apache-2.0

package access

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ConnectionName is the name of a connection that is made for a user at an application, in the application's namespace; an empty
// owner means all. It is the same whoever makes the connection, and whenever: a second one conflicts, and a role can allow one
// name.
func ConnectionName(application, owner string) string {
	const longest, digits = 253, 5
	suffix := "-shared"
	if owner != "" {
		sum := sha256.Sum256([]byte(owner))
		suffix = "-" + hex.EncodeToString(sum[:digits])
	}
	if most := longest - len(suffix); len(application) > most {
		application = strings.TrimRight(application[:most], "-.")
	}
	return application + suffix
}
