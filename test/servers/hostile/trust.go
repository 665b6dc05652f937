// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// The methods of client authentication that need more than a secret, as
// harness.Client.AuthMethod and record.Kind.AuthMethod name them.
const (
	// PrivateKeyJWT : a signed assertion (RFC 7523 section 2.2); see TrustKey.
	PrivateKeyJWT = "private_key_jwt"
	// TLSClientAuth : a client certificate (RFC 8705 section 2), self-signed or
	// not; see TrustCertificate and TrustAuthority.
	TLSClientAuth = "tls_client_auth"
)

// clientAssertionType is the one form of client assertions (RFC 7523 section 2.2).
const clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxAssertion is how far ahead an assertion may expire.
const maxAssertion = time.Hour

// Key is a public key and what assertions that it verifies must say.
type Key struct {
	// Public is an *rsa.PublicKey, an *ecdsa.PublicKey or an ed25519.PublicKey.
	Public crypto.PublicKey
	// ID is the kid of the header; empty takes any.
	ID string
	// Algorithms that are accepted; default: all that fit the key.
	Algorithms []string
	// Issuer and Subject of the claims. For TrustKey both are the client id by
	// default; others make a federated client, which signs in with the tokens of
	// a third party, and may send one token several times. For TrustIssuer the
	// issuer must be given, and an empty subject takes any.
	Issuer, Subject string
	// Audience of the claims. Default: the server's issuer, its token endpoint,
	// or the endpoint that is called.
	Audience string
}

// certificate is a client certificate that is trusted: itself, or by its chain.
type certificate struct {
	self *x509.Certificate
	// roots and name are used when self is nil.
	roots *x509.CertPool
	name  string
}

// trust is what the server believes beside client secrets.
type trust struct {
	keys         map[string][]Key         // of clients
	certificates map[string][]certificate // of clients
	issuers      []Key
	// seen are the ids of assertions that were used, by issuer and jti.
	seen map[[2]string]bool
	// aliases: certificates count at the aliases alone.
	aliases bool
}

func newTrust() trust {
	return trust{keys: map[string][]Key{}, certificates: map[string][]certificate{}, seen: map[[2]string]bool{}}
}

// TrustKey lets a client authenticate by assertions that the key verifies,
// beside those trusted before.
func (s *Server) TrustKey(clientID string, k Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.clients[clientID]; !known {
		return errors.New("no such client: " + clientID)
	}
	if k.Issuer == "" {
		k.Issuer = clientID
	}
	if k.Subject == "" {
		k.Subject = clientID
	}
	s.trust.keys[clientID] = append(s.trust.keys[clientID], k)
	return nil
}

// ForgetKeys takes back every TrustKey of a client.
func (s *Server) ForgetKeys(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.trust.keys, clientID)
}

// TrustIssuer believes assertions of this issuer when they are grants (RFC 7523
// section 2.1) or tokens to be exchanged (RFC 8693). Their subject is the
// account.
func (s *Server) TrustIssuer(k Key) error {
	if k.Issuer == "" {
		return errors.New("an issuer needs a name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trust.issuers = append(s.trust.issuers, k)
	return nil
}

// TrustCertificate lets a client authenticate with this very certificate
// (self_signed_tls_client_auth, RFC 8705 section 2.2). The server must have been
// started with TLS.
func (s *Server) TrustCertificate(clientID string, c *x509.Certificate) error {
	return s.trustCertificate(clientID, certificate{self: c})
}

// TrustAuthority lets a client authenticate with a certificate that the
// authority issued for the DNS name (tls_client_auth, RFC 8705 section 2.1).
func (s *Server) TrustAuthority(clientID string, authority *x509.Certificate, name string) error {
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return s.trustCertificate(clientID, certificate{roots: roots, name: name})
}

func (s *Server) trustCertificate(clientID string, c certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.clients[clientID]; !known {
		return errors.New("no such client: " + clientID)
	}
	if len(s.CAPEM) == 0 {
		return errors.New("without TLS there are no client certificates")
	}
	s.trust.certificates[clientID] = append(s.trust.certificates[clientID], c)
	return nil
}

// ForgetCertificates takes back every TrustCertificate and TrustAuthority of a
// client.
func (s *Server) ForgetCertificates(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.trust.certificates, clientID)
}

// SeparateMTLS makes certificates count under /mtls alone, and names the
// endpoints there in mtls_endpoint_aliases (RFC 8705 section 5).
func (s *Server) SeparateMTLS() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trust.aliases = true
}

// public says whether a client has nothing to authenticate with. Called with mu
// held.
func (s *Server) public(c harness.Client) bool {
	return c.Secret == "" && c.AuthMethod != PrivateKeyJWT && c.AuthMethod != TLSClientAuth &&
		len(s.trust.keys[c.ID]) == 0 && len(s.trust.certificates[c.ID]) == 0
}

// asserts says whether the request carries a good client assertion.
func (s *Server) asserts(x *exchange, c harness.Client) bool {
	form := x.parsed.Form
	if form.Get("client_assertion_type") != clientAssertionType || form.Has("client_secret") {
		return false
	}
	claims, k, err := s.verifyAny(form.Get("client_assertion"), s.trust.keys[c.ID], s.endpointURL(x))
	if err != nil {
		return false
	}
	return k.Issuer != c.ID || s.firstUse(claims, true)
}

// endpointURL is the address that the client called, aliases included.
func (s *Server) endpointURL(x *exchange) string { return s.URL + x.r.URL.Path }

// firstUse refuses an assertion that was used before (RFC 7523 section 3, item 7).
func (s *Server) firstUse(claims jwt.MapClaims, demanded bool) bool {
	id, _ := claims["jti"].(string)
	if id == "" {
		return !demanded
	}
	issuer, _ := claims.GetIssuer()
	use := [2]string{issuer, id}
	if s.trust.seen[use] {
		return false
	}
	s.trust.seen[use] = true
	return true
}

// certified says whether the connection shows a certificate of the client's.
func (s *Server) certified(x *exchange, c harness.Client) bool {
	if s.trust.aliases && !x.alias() {
		return false
	}
	if x.r.TLS == nil || len(x.r.TLS.PeerCertificates) == 0 {
		return false
	}
	shown := x.r.TLS.PeerCertificates
	return slices.ContainsFunc(s.trust.certificates[c.ID], func(t certificate) bool {
		if t.self != nil {
			return t.self.Equal(shown[0])
		}
		between := x509.NewCertPool()
		for _, one := range shown[1:] {
			between.AddCert(one)
		}
		_, err := shown[0].Verify(x509.VerifyOptions{
			DNSName: t.name, Roots: t.roots, Intermediates: between, CurrentTime: s.now(),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		return err == nil
	})
}

// verifyAny returns the claims of an assertion and the first key that verifies
// it. Called with mu held.
func (s *Server) verifyAny(raw string, keys []Key, endpoint string) (jwt.MapClaims, Key, error) {
	err := errors.New("nobody is trusted")
	for _, k := range keys {
		var claims jwt.MapClaims
		if claims, err = s.verify(raw, k, endpoint); err == nil {
			return claims, k, nil
		}
	}
	return nil, Key{}, err
}

// verify holds an assertion to RFC 7523 section 3.
func (s *Server) verify(raw string, k Key, endpoint string) (jwt.MapClaims, error) {
	audience := []string{s.URL, s.URL + "/token", endpoint}
	if k.Audience != "" {
		audience = []string{k.Audience}
	}
	algorithms := k.Algorithms
	if len(algorithms) == 0 {
		algorithms = []string{
			"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
		}
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithTimeFunc(s.now), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithIssuer(k.Issuer), jwt.WithAudience(audience...), jwt.WithStrictDecoding(),
	}
	if k.Subject != "" {
		options = append(options, jwt.WithSubject(k.Subject))
	}
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(options...).ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		if k.ID != "" && t.Header["kid"] != k.ID {
			return nil, fmt.Errorf("kid is not %q", k.ID)
		}
		return k.Public, nil
	})
	if err != nil {
		return nil, err
	}
	if expires, err := claims.GetExpirationTime(); err != nil || expires.After(s.now().Add(maxAssertion)) {
		return nil, errors.New("exp is too far ahead")
	}
	if subject, err := claims.GetSubject(); err != nil || subject == "" {
		return nil, errors.New("sub is missing")
	}
	return claims, nil
}
