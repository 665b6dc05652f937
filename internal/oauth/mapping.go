// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// MappingOptions say where a provider puts what it answers. Paths are JSONPaths (RFC 9535) on the whole answer, of which a
// form counts as an object; the first value that is not empty counts. An empty path means the place of the standard, where
// there is one.
type MappingOptions struct {
	AccessToken, RefreshToken, TokenType, ExpiresIn, RefreshTokenExpiresIn, Scope string
	// ExpiresAt is a time in place of a lifetime: RFC 3339, or seconds or milliseconds since 1970.
	ExpiresAt string
	// ID is what the provider calls the grant, Subject what it calls the account.
	ID, Subject             string
	Error, ErrorDescription string
	// ErrorCodes translate the provider's codes into those of RFC 6749, section 5.2.
	ErrorCodes map[string]string
	// SuccessPath selects a value that must be SuccessValue, as text, in every success. Then no error in the answer counts.
	SuccessPath, SuccessValue string
	// DefaultLifetime is taken for a lifetime that is unknown. LifetimeNever is taken only for a token that comes without
	// a refresh token, and not in answer to one.
	DefaultLifetime Lifetime
	// Capture names further values to keep.
	Capture map[string]string
}

// ResponseMapping is how the answers of a token endpoint are read. It is immutable and safe for concurrent use.
type ResponseMapping struct {
	accessToken, refreshToken, tokenType, expiresIn, expiresAt, refreshTokenExpiresIn, scope *path

	id, subject, code, description *path

	errorCodes      map[string]string
	success         *path
	successValue    string
	defaultLifetime Lifetime
	capture         map[string]*path
}

// NewResponseMapping parses the paths. The error names the member and says what is wrong with its path.
func NewResponseMapping(o MappingOptions) (*ResponseMapping, error) {
	mapping := &ResponseMapping{
		errorCodes: maps.Clone(o.ErrorCodes), successValue: o.SuccessValue, defaultLifetime: o.DefaultLifetime,
		capture: map[string]*path{},
	}
	for _, member := range []struct {
		name, path string
		parsed     **path
	}{
		{"accessToken", o.AccessToken, &mapping.accessToken},
		{"refreshToken", o.RefreshToken, &mapping.refreshToken},
		{"tokenType", o.TokenType, &mapping.tokenType},
		{"expiresIn", o.ExpiresIn, &mapping.expiresIn},
		{"expiresAt", o.ExpiresAt, &mapping.expiresAt},
		{"refreshTokenExpiresIn", o.RefreshTokenExpiresIn, &mapping.refreshTokenExpiresIn},
		{"scope", o.Scope, &mapping.scope},
		{"id", o.ID, &mapping.id},
		{"subject", o.Subject, &mapping.subject},
		{"error", o.Error, &mapping.code},
		{"errorDescription", o.ErrorDescription, &mapping.description},
		{"successPath", o.SuccessPath, &mapping.success},
	} {
		if member.path == "" {
			continue
		}
		parsed, err := parsePath(member.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member.name, err)
		}
		*member.parsed = parsed
	}
	for _, name := range slices.Sorted(maps.Keys(o.Capture)) {
		parsed, err := parsePath(o.Capture[name])
		if err != nil {
			return nil, fmt.Errorf("capture %s: %w", name, err)
		}
		mapping.capture[name] = parsed
	}
	return mapping, nil
}

// errors is the part of a mapping that holds for other answers than those with tokens.
func (m *ResponseMapping) errors() *ResponseMapping {
	if m == nil {
		return nil
	}
	return &ResponseMapping{code: m.code, description: m.description, errorCodes: m.errorCodes}
}

func (m *ResponseMapping) translate(said refusal) refusal {
	if m == nil {
		return said
	}
	if standard, ok := m.errorCodes[said.code]; ok && said.code != "" {
		said.code, said.own = standard, said.code
	}
	return said
}

// reading is an answer under a mapping.
type reading struct {
	document
	mapping *ResponseMapping
	root    *yaml.Node
}

// read looks at the document under a mapping; nil is the standard's.
func (d document) read(mapping *ResponseMapping) reading {
	if mapping == nil {
		return reading{document: d, mapping: &ResponseMapping{}}
	}
	return reading{document: d, mapping: mapping, root: d.tree().root}
}

// text is a value as it came, from its path or else from the member of the standard.
func (r reading) text(path *path, member string) string {
	if path == nil {
		return r.document.text(member)
	}
	return path.text(r.root)
}

// secret is a token as it came: a string, or a number.
func (r reading) secret(path *path, member string) sensitive.String {
	if path == nil {
		return r.document.secret(member)
	}
	return sensitive.New(path.find(r.root, isToken))
}

// secrets are the tokens in the answer, which no error may repeat.
func (r reading) secrets() []sensitive.String {
	return append(r.document.secrets(), r.secret(r.mapping.accessToken, "access_token"), r.secret(r.mapping.refreshToken, "refresh_token"))
}

// asked is what reading an answer has to know of its request.
type asked struct {
	now time.Time
	// refreshes says that the request offered a refresh token.
	refreshes   bool
	credentials []sensitive.String
}

// tokens reads a success. The response holds whatever could be read even when the error is not nil.
func (r reading) tokens(of asked) (TokenResponse, error) {
	scope, given := r.scope()
	response := TokenResponse{
		AccessToken:           r.secret(r.mapping.accessToken, "access_token"),
		RefreshToken:          r.secret(r.mapping.refreshToken, "refresh_token"),
		IDToken:               r.document.secret("id_token"),
		TokenType:             normalizeTokenType(r.text(r.mapping.tokenType, "token_type")),
		Scope:                 scope,
		ScopeGiven:            given,
		RefreshTokenExpiresIn: r.refreshTokenLifetime(),
	}
	response.ExpiresIn = r.lifetime(of.now)
	if response.ExpiresIn.Kind == LifetimeUnknown {
		fallback := r.mapping.defaultLifetime
		if fallback.Kind != LifetimeNever || (response.RefreshToken.IsEmpty() && !of.refreshes) {
			response.ExpiresIn = fallback
		}
	}
	r.keep(&response, append(r.secrets(), of.credentials...))
	return response, r.usable(response)
}

func (r reading) lifetime(now time.Time) Lifetime {
	lifetime := parseLifetime(r.text(r.mapping.expiresIn, "expires_in"))
	if lifetime.Kind != LifetimeUnknown || r.mapping.expiresAt == nil {
		return lifetime
	}
	return lifetimeUntil(parseTime(r.mapping.expiresAt.text(r.root)), now)
}

// keep fills in what comes besides the tokens. A value that is not fit to be kept is left out.
func (r reading) keep(response *TokenResponse, secrets []sensitive.String) {
	if r.mapping.id != nil {
		response.ID = keepable(r.mapping.id.text(r.root), secrets)
	}
	if r.mapping.subject != nil {
		response.Subject = keepable(r.mapping.subject.text(r.root), secrets)
	}
	for name, path := range r.mapping.capture {
		value := keepable(path.text(r.root), secrets)
		if value == "" {
			continue
		}
		if response.Captured == nil {
			response.Captured = map[string]string{}
		}
		response.Captured[name] = value
	}
}

func (r reading) refreshTokenLifetime() Lifetime {
	if r.mapping.refreshTokenExpiresIn == nil {
		return r.document.refreshTokenLifetime()
	}
	return parseLifetime(r.mapping.refreshTokenExpiresIn.text(r.root))
}

// scope reads the granted scopes: a text, or a list of texts.
func (r reading) scope() (scope []string, given bool) {
	if r.mapping.scope == nil {
		return r.document.scope()
	}
	for _, node := range r.mapping.scope.nodes(r.root) {
		switch node.Tag {
		case tagString:
			scope, given = splitScope(node.Value), true
		case tagList:
			var values []string
			for _, value := range node.Content {
				values = append(values, nodeText(value))
			}
			scope, given = splitScope(strings.Join(values, " ")), true
		}
		if len(scope) > 0 {
			break
		}
	}
	return scope, given
}

// refusal tells a success that is none, by the mapping's own rule or by the error that it holds.
func (r reading) refusal() (refusal, bool) {
	if r.mapping.success == nil {
		return r.said()
	}
	value := r.mapping.success.text(r.root)
	switch {
	case value == r.mapping.successValue:
		return refusal{}, false
	case value == "" && !r.complete:
		return refusal{}, false // It may be in the part that is missing.
	}
	found, _ := r.said()
	if found.description == "" && found.code == "" {
		found.description = "the provider's answer does not say that it is a success"
	}
	return found, true
}

// said reads the error: at its path, or else where the standard has it.
func (r reading) said() (refusal, bool) {
	found, ok := r.document.refusal()
	if r.mapping.code != nil {
		if code := r.mapping.code.find(r.root, isCode); code != "" {
			found.code, ok = code, true
		}
	}
	if r.mapping.description != nil {
		if description := r.mapping.description.text(r.root); description != "" {
			found.description = description
		}
	}
	if found.description == "" {
		found.description = r.first("error_description", "message", "detail")
	}
	return r.mapping.translate(found), ok
}

// isCode leaves out what providers put where an error code would be to say that there is none. A truth value is no code.
func isCode(node *yaml.Node) bool { return isToken(node) && node.Value != "0" }

// noAccessToken says where one was looked for, and the names of what there is.
func (r reading) noAccessToken() error {
	const most = 12
	where, names := "", slices.Sorted(maps.Keys(r.members))
	if r.mapping.accessToken != nil {
		where = " at " + r.mapping.accessToken.query.String()
	}
	if len(names) > most {
		names = append(names[:most], "…")
	}
	if len(names) == 0 {
		names = []string{"nothing"}
	}
	return fmt.Errorf("the answer has no access token%s; it has %s", where, strings.Join(names, ", "))
}

func (r reading) usable(response TokenResponse) error {
	switch {
	case response.AccessToken.IsEmpty():
		return r.noAccessToken()
	case !r.complete && response.RefreshToken.IsEmpty():
		// The missing part may have held a new refresh token: to go on with the old one could be reuse.
		return errBreaksOff
	}
	return nil
}
