// SPDX-License-Identifier: Apache-2.0

// Package hostile is a scriptable OAuth server. Left alone it is correct: codes
// with PKCE, client credentials, device codes, assertions, token exchange,
// refresh rotation whose reuse detection kills the family, revocation,
// introspection, discovery; clients with secrets, keys or certificates. A script
// makes it fail in the ways that providers fail.
package hostile

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
	"github.com/oauth-operator/oauth-operator/test/servers/script"
)

// Options say how the server starts; every field is honoured.
type Options = harness.Options

// Stage is a moment in the life of a request at which OnRequest's hook runs.
type Stage string

const (
	// Received : the request has been read and counted, nothing has been done.
	Received Stage = "received"
	// Processed : tokens have been made, spent or revoked, and the client knows
	// nothing of it yet. Faults that answer in place of the server skip it.
	Processed Stage = "processed"
	// Answered : the whole answer has been handed to the kernel (on a lean server:
	// is about to be). Requests whose connection is cut never reach it.
	Answered Stage = "answered"
)

// Server is a running hostile server. It answers at /authorize, /token,
// /device_authorization, /device, /revoke, /introspect, /userinfo, /jwks and at
// both discovery paths, and under /mtls once more at those that clients call.
type Server struct {
	*harness.Server
	*record.Log

	script.Plan[Fault]
	script.Gate

	lean bool
	hook atomic.Pointer[func(Stage, record.Request)]

	mu             sync.Mutex // guards what follows
	options        Options
	clients        map[string]harness.Client
	accounts       map[string]Account
	trust          trust
	identity       identity
	extensions     map[string]func(ExtensionRequest) Approval
	interval       time.Duration // between polls of a device
	deviceLifetime time.Duration
	skew           time.Duration
	vault          vault
}

// Start starts a server; Close ends it, hanging requests included.
func Start(o Options) (*Server, error) {
	o = o.WithDefaults()
	signer, err := newIdentity()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Log:            record.NewLog(o.Lean),
		lean:           o.Lean,
		options:        o,
		clients:        map[string]harness.Client{},
		accounts:       map[string]Account{},
		trust:          newTrust(),
		identity:       signer,
		extensions:     map[string]func(ExtensionRequest) Approval{},
		interval:       deviceInterval,
		deviceLifetime: deviceLifetime,
		vault:          newVault(),
	}
	for _, c := range o.Clients {
		if _, twice := s.clients[c.ID]; twice || c.ID == "" {
			return nil, errors.New("client ids must be unique and not empty")
		}
		s.clients[c.ID] = c
	}
	if s.Server, err = harness.Listen(o, s.routes); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) routes(url string) http.Handler {
	discovery := s.handle(record.Discovery, func(*exchange) answer {
		return answer{status: http.StatusOK, fields: s.metadata(url)}
	})
	mux := http.NewServeMux()
	mux.Handle("GET "+harness.OpenIDPath, discovery)
	mux.Handle("GET "+harness.MetadataPath, discovery)
	mux.Handle("/authorize", s.handle(record.Authorize, s.authorize))
	mux.Handle("GET /device", s.handle(record.Verification, s.verifyDevice))
	mux.Handle("GET /jwks", s.handle(record.Keys, s.keys))
	for _, prefix := range []string{"", aliasPrefix} {
		mux.Handle("POST "+prefix+"/token", s.handle(record.Token, s.token))
		mux.Handle("POST "+prefix+"/revoke", s.handle(record.Revoke, s.revoke))
		mux.Handle("POST "+prefix+"/introspect", s.handle(record.Introspect, s.introspect))
		mux.Handle("POST "+prefix+"/device_authorization", s.handle(record.DeviceAuthorization, s.authorizeDevice))
	}
	mux.Handle("/userinfo", s.handle(record.UserInfo, s.userInfo))
	return mux
}

// aliasPrefix goes before the paths of endpoints that take client certificates;
// see SeparateMTLS.
const aliasPrefix = "/mtls"

func (x *exchange) alias() bool { return strings.HasPrefix(x.r.URL.Path, aliasPrefix+"/") }

// metadata is the discovery document as things stand. Called with mu held.
func (s *Server) metadata(url string) map[string]any {
	fields := harness.Metadata(url)
	fields["revocation_endpoint"] = url + "/revoke"
	fields["introspection_endpoint"] = url + "/introspect"
	fields["userinfo_endpoint"] = url + "/userinfo"
	fields["device_authorization_endpoint"] = url + "/device_authorization"
	fields["authorization_response_iss_parameter_supported"] = true
	grants := []string{
		"authorization_code", "refresh_token", "client_credentials", DeviceCodeGrant, JWTBearerGrant, TokenExchangeGrant,
	}
	fields["grant_types_supported"] = append(grants, slices.Sorted(maps.Keys(s.extensions))...)
	methods := []string{"client_secret_basic", "client_secret_post", "none"}
	if len(s.trust.keys) > 0 {
		methods = append(methods, PrivateKeyJWT)
	}
	if len(s.trust.certificates) > 0 {
		methods = append(methods, TLSClientAuth, "self_signed_tls_client_auth")
	}
	fields["token_endpoint_auth_methods_supported"] = methods
	if s.identity.enabled {
		fields["jwks_uri"] = url + "/jwks"
		fields["id_token_signing_alg_values_supported"] = []string{"ES256"}
		fields["subject_types_supported"] = []string{"public"}
	}
	if s.trust.aliases {
		aliases := map[string]any{}
		for _, name := range []string{
			"token_endpoint", "revocation_endpoint", "introspection_endpoint", "device_authorization_endpoint",
		} {
			if endpoint, ok := fields[name].(string); ok {
				aliases[name] = url + aliasPrefix + strings.TrimPrefix(endpoint, url)
			}
		}
		fields["mtls_endpoint_aliases"] = aliases
	}
	return fields
}

// exchange is one request under way.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	entry  *record.Entry
	parsed record.Parsed
	// keepRefresh leaves the refresh token as it is: no rotation, none sent.
	keepRefresh bool
	// refused is set by a fault that answers in place of the server only
	// sometimes.
	refused *answer
}

// answer is what the client will be told: fields as JSON, or else body.
type answer struct {
	status int
	header http.Header
	fields map[string]any
	body   []byte
}

// handle runs every request through the same stages: record, fault, process,
// fault, deliver. process runs under the server's lock.
func (s *Server) handle(endpoint record.Endpoint, process func(*exchange) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parsed, err := record.Parse(endpoint, r, s.lean)
		if err != nil {
			http.Error(w, "unreadable request", http.StatusBadRequest)
			return
		}
		entry := s.Receive(parsed.Request, parsed.Credential)
		x := &exchange{server: s, w: w, r: r, entry: entry, parsed: parsed}
		s.tell(Received, entry)
		fault := s.Next(entry.Kind)
		if fault.before != nil {
			fault.before(x)
		}
		var a answer
		switch {
		case x.refused != nil:
			a = *x.refused
		case fault.instead != nil:
			a = fault.instead(x)
		default:
			a = s.process(x, process)
			s.tell(Processed, entry)
		}
		if fault.rewrite != nil {
			fault.rewrite(&a)
		}
		if fault.deliver != nil {
			fault.deliver(x, a)
		} else {
			x.deliver(a)
		}
		s.tell(Answered, entry)
	})
}

func (s *Server) process(x *exchange, process func(*exchange) answer) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.entry.Process()
	return process(x)
}

func (s *Server) tell(stage Stage, e *record.Entry) {
	if hook := s.hook.Load(); hook != nil {
		(*hook)(stage, e.Request)
	}
}

// deliver sends the answer in one piece. A lean server leaves it to net/http to
// flush at the end, which saves a system call.
func (x *exchange) deliver(a answer) {
	body := a.encode()
	x.head(a, len(body))
	x.write(body)
	if !x.server.lean {
		x.flush()
	}
}

func (a *answer) encode() []byte {
	if a.fields == nil {
		return a.body
	}
	body, err := json.Marshal(a.fields)
	if err != nil {
		// Only a script can put a value there that JSON has no form for.
		panic(err)
	}
	return body
}

// head sends status and headers for a body of length bytes.
func (x *exchange) head(a answer, length int) {
	h := x.w.Header()
	if a.fields != nil {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Cache-Control", "no-store")
	for name, values := range a.header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	h.Set("Content-Length", strconv.Itoa(length))
	x.entry.Answer(a.status)
	x.w.WriteHeader(a.status)
}

// write sends part of a body, or ends the request when the client has gone.
func (x *exchange) write(part []byte) {
	if _, err := x.w.Write(part); err != nil {
		x.cut()
	}
}

// flush hands what was written to the kernel.
func (x *exchange) flush() {
	if err := http.NewResponseController(x.w).Flush(); err != nil {
		x.cut()
	}
}

// cut closes the connection without another byte.
func (x *exchange) cut() {
	x.entry.Answer(record.NoAnswer)
	panic(http.ErrAbortHandler)
}

// OnRequest makes hook run at every stage of every request, in the goroutine
// that serves it: while the hook blocks, so does the request. Nil ends it. The
// hook must return before Close can.
func (s *Server) OnRequest(hook func(Stage, record.Request)) {
	if hook == nil {
		s.hook.Store(nil)
		return
	}
	s.hook.Store(&hook)
}

// Introspect says whether an access or refresh token is alive. It is not
// counted as a request.
func (s *Server) Introspect(token string) (active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vault.grantOf(token, s.now()) != nil
}

// RevokeGrant kills the grant that a living access or refresh token belongs
// to, as a user does at the provider, behind the client's back.
func (s *Server) RevokeGrant(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.vault.grantOf(token, s.now())
	if g == nil {
		return errors.New("no grant lives behind this token")
	}
	g.dead = true
	return nil
}

// RotateClientSecret replaces the secret of a client at once. An unknown
// client is an error.
func (s *Server) RotateClientSecret(id, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.clients[id]
	if !known {
		return errors.New("no such client: " + id)
	}
	c.Secret = secret
	s.clients[id] = c
	return nil
}

// SetSubject changes the user who consents from now on.
func (s *Server) SetSubject(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Subject = subject
}

// SetAccessTokenLifetime changes the lifetime of access tokens from now on.
func (s *Server) SetAccessTokenLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.AccessTokenLifetime = d
}

// Advance moves the server's clock, so that codes and tokens expire at once.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew += d
}

// now is the server's time. Called with mu held.
func (s *Server) now() time.Time { return time.Now().Add(s.skew) }
