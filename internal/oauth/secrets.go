// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// confidential lists what must not come back in an error: everything that was sent but what is public by its nature,
// which would make messages unreadable if it were replaced.
func confidential(client Client, sent []named, headers []Header) []sensitive.String {
	secrets := []sensitive.String{client.Secret, client.Assertion}
	for _, parameter := range sent {
		if !isPublicParameter(parameter, client) {
			secrets = append(secrets, parameter.Value)
		}
	}
	for _, header := range headers {
		secrets = append(secrets, headerSecrets(header)...)
	}
	return secrets
}

// isPublicParameter goes by names, since a provider's own parameter may hold anything; the client's id is public under
// any name.
func isPublicParameter(parameter named, client Client) bool {
	switch parameter.standard {
	case "grant_type", "client_id", "scope", "redirect_uri", "token_type_hint", "resource", "audience", "client_assertion_type",
		"subject_token_type", "actor_token_type", "requested_token_type":
		return true
	}
	return parameter.Value.Reveal() == client.ID
}

// headerSecrets are the value of a header and the words in it, since a provider repeats `Bearer abc` as `abc`.
func headerSecrets(header Header) []sensitive.String {
	switch strings.ToLower(header.Name) {
	case "accept", "accept-language", "user-agent":
		return nil
	}
	secrets := []sensitive.String{header.Value}
	words := strings.Fields(header.Value.Reveal())
	for i, word := range words {
		// The first of several is a scheme.
		if len(words) == 1 || i > 0 {
			secrets = append(secrets, sensitive.New(word))
		}
	}
	return secrets
}

// authorizationSecret is what follows the scheme.
func authorizationSecret(authorization sensitive.String) sensitive.String {
	_, secret, _ := strings.Cut(authorization.Reveal(), " ")
	return sensitive.New(secret)
}

const minHeaderCredential = 20

// credentials lists the secrets that are worth something by themselves: a captured value may well contain a tenant's name
// that was sent as a parameter, but never one of these.
func credentials(client Client, sent []named, headers []Header) []sensitive.String {
	secrets := []sensitive.String{client.Secret, client.Assertion}
	for _, parameter := range sent {
		switch parameter.standard {
		case "code", "code_verifier", "refresh_token", "device_code", "assertion", "subject_token", "actor_token", "token":
			secrets = append(secrets, parameter.Value)
		}
	}
	for _, header := range headers {
		for _, secret := range headerSecrets(header) {
			// Shorter ones are versions and names.
			if len(secret.Reveal()) >= minHeaderCredential {
				secrets = append(secrets, secret)
			}
		}
	}
	return secrets
}
