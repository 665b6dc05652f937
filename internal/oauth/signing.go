// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// The sizes of RSA keys that are accepted: RFC 7518, section 3.3 sets the least; a larger one than the most takes seconds
// for each signature.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// SigningKey is a private key for signatures. It is immutable and safe for concurrent use.
type SigningKey struct {
	key crypto.Signer
	// algorithms fit the key; the first one is the default.
	algorithms []string
	// keyID and algorithm are those that a JWK names.
	keyID, algorithm string
}

// ParseSigningKey reads a private key: PEM (PKCS #1, PKCS #8, SEC 1) or a JWK (RFC 7517). RSA has at least 2048 bits, an
// elliptic curve is P-256, P-384, P-521 or Ed25519. The error never quotes the content.
func ParseSigningKey(content []byte) (*SigningKey, error) {
	content = bytes.TrimSpace(content)
	if bytes.HasPrefix(content, []byte("{")) {
		return parseJWK(content)
	}
	return parsePEM(content)
}

func parseJWK(content []byte) (*SigningKey, error) {
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(content) != nil || !jwk.Valid() {
		return nil, errors.New("the JWK is not a valid key")
	}
	if jwk.IsPublic() {
		return nil, errors.New("the JWK holds a public key, not a private one")
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return nil, errors.New("the JWK is not for signatures")
	}
	key, err := newSigningKey(jwk.Key)
	if err != nil {
		return nil, err
	}
	if jwk.Algorithm != "" && !slices.Contains(key.algorithms, jwk.Algorithm) {
		return nil, fmt.Errorf("the JWK names an algorithm that does not fit it; these do: %s", strings.Join(key.algorithms, ", "))
	}
	key.keyID, key.algorithm = jwk.KeyID, jwk.Algorithm
	return key, nil
}

// parsePEM takes the first private key; certificates and parameters before it are skipped.
func parsePEM(content []byte) (*SigningKey, error) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("the key is encrypted; store it without a passphrase")
			}
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("the key is encrypted; store it without a passphrase")
			}
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the key is encrypted; store it without a passphrase")
		case "PUBLIC KEY", "RSA PUBLIC KEY":
			return nil, errors.New("the PEM block holds a public key, not a private one")
		case "OPENSSH PRIVATE KEY":
			return nil, errors.New("the key is in the format of OpenSSH; convert it to PKCS #8")
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the PEM block %s is not a valid key", block.Type)
		}
		return newSigningKey(key)
	}
	return nil, errors.New("there is neither a PEM block with a private key nor a JWK")
}

func newSigningKey(key any) (*SigningKey, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("the RSA key has %d bits; between %d and %d are needed", bits, minRSABits, maxRSABits)
		}
		if key.Validate() != nil {
			return nil, errors.New("the RSA key is not valid")
		}
		return &SigningKey{key: key, algorithms: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}}, nil
	case *ecdsa.PrivateKey:
		if !isPair(key) {
			return nil, errors.New("the key of an elliptic curve is not valid")
		}
		switch key.Curve {
		case elliptic.P256():
			return &SigningKey{key: key, algorithms: []string{"ES256"}}, nil
		case elliptic.P384():
			return &SigningKey{key: key, algorithms: []string{"ES384"}}, nil
		case elliptic.P521():
			return &SigningKey{key: key, algorithms: []string{"ES512"}}, nil
		}
		return nil, errors.New("the curve of the key is not supported; P-256, P-384, P-521 and Ed25519 are")
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize || !ed25519.NewKeyFromSeed(key.Seed()).Equal(key) {
			return nil, errors.New("the Ed25519 key is not valid")
		}
		return &SigningKey{key: key, algorithms: []string{"EdDSA"}}, nil
	}
	return nil, errors.New("the kind of key is not supported; RSA, P-256, P-384, P-521 and Ed25519 are")
}

// isPair tells whether the two halves of a key belong together, which a JWK leaves open. A curve that is not supported
// counts as a pair.
func isPair(key *ecdsa.PrivateKey) bool {
	switch key.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return true
	}
	private, err := key.ECDH()
	if err != nil {
		return false
	}
	public, err := key.PublicKey.ECDH()
	return err == nil && private.PublicKey().Equal(public)
}

// SignOptions say how a JWT is signed.
type SignOptions struct {
	// Algorithm is of RFC 7518, section 3.1. Empty: the JWK's, else RS256, ES256, ES384, ES512 or EdDSA, by the key.
	Algorithm string
	// KeyID is sent as `kid`. Empty: the JWK's, or none.
	KeyID string
}

// CheckAlgorithm tells whether the algorithm fits the key; an empty one does. The error says which ones fit.
func (k *SigningKey) CheckAlgorithm(algorithm string) error {
	if algorithm == "" || slices.Contains(k.algorithms, algorithm) {
		return nil
	}
	return fmt.Errorf("the algorithm %s does not fit the key; these do: %s", algorithm, strings.Join(k.algorithms, ", "))
}

// Sign makes a JWT (RFC 7519) of the claims.
func (k *SigningKey) Sign(claims map[string]any, o SignOptions) (sensitive.String, error) {
	if err := k.CheckAlgorithm(o.Algorithm); err != nil {
		return sensitive.String{}, err
	}
	algorithm := cmp.Or(o.Algorithm, k.algorithm, k.algorithms[0])
	options := (&jose.SignerOptions{}).WithType("JWT")
	if keyID := cmp.Or(o.KeyID, k.keyID); keyID != "" {
		options = options.WithHeader(jose.HeaderKey("kid"), keyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: k.key}, options)
	if err != nil {
		return sensitive.String{}, fmt.Errorf("the key cannot sign: %w", err)
	}
	signed, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return sensitive.String{}, fmt.Errorf("the claims cannot be signed: %w", err)
	}
	return sensitive.New(signed), nil
}

// assertionLifetime is how long a client assertion is good: long enough for a slow clock, and hardly worth stealing.
const assertionLifetime = 5 * time.Minute

// ClientAssertion returns the claims by which a client authenticates (RFC 7523, section 3). The id must be used once
// only: servers refuse it the second time.
func ClientAssertion(clientID, audience, id string, now time.Time) map[string]any {
	return map[string]any{
		"iss": clientID,
		"sub": clientID,
		"aud": audience,
		"jti": id,
		"iat": now.Unix(),
		"exp": now.Add(assertionLifetime).Unix(),
	}
}
