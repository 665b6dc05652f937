// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const maxIDToken = 64 << 10

// IDTokenSubject returns the `sub` of an ID token that came straight from the token endpoint: there TLS vouches for it in
// place of its signature (OpenID Connect Core, section 3.1.3.7, item 6), so this must never be used for one that came
// another way. `iss` is checked unless the issuer is empty, `aud` must hold the client's id, `exp` must be ahead. The
// subject is at most 1 KiB and printable. The error quotes nothing of the token but its public claims.
func IDTokenSubject(raw sensitive.String, issuer, clientID string, now time.Time) (string, error) {
	if raw.IsEmpty() || len(raw.Reveal()) > maxIDToken {
		return "", errors.New("the ID token is empty or too large")
	}
	verifier := oidc.NewVerifier(issuer, nil, &oidc.Config{
		ClientID:        clientID,
		SkipIssuerCheck: issuer == "",
		// Whatever it is signed with; without these the token is not even read.
		SupportedSigningAlgs: []string{
			"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
		},
		Now:                        func() time.Time { return now },
		InsecureSkipSignatureCheck: true,
	})
	token, err := verifier.Verify(context.Background(), raw.Reveal())
	if err != nil {
		return "", fmt.Errorf("the ID token is not acceptable: %s", sensitive.Scrub(err.Error(), maxDescription, raw))
	}
	subject := keepable(token.Subject, []sensitive.String{raw})
	if subject == "" {
		return "", errors.New("the ID token names no subject that can be kept")
	}
	return subject, nil
}
