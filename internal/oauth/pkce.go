// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// NewVerifier makes a PKCE code verifier of 43 characters from 32 random bytes (RFC 7636, section 4.1).
func NewVerifier() sensitive.String {
	var random [32]byte
	// Read never fails: without randomness the process ends.
	_, _ = rand.Read(random[:])
	return sensitive.New(base64.RawURLEncoding.EncodeToString(random[:]))
}

// ChallengeS256 computes the code challenge of a verifier for the method S256 (RFC 7636, section 4.2).
func ChallengeS256(verifier sensitive.String) string {
	sum := sha256.Sum256([]byte(verifier.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
