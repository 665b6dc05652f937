// SPDX-License-Identifier: Apache-2.0

package integrations

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// MaxBody bounds the body of POST connect, in bytes.
const MaxBody = 64 << 10

// maxCredential bounds a code and a refresh token, in bytes: providers make some out of JWTs.
const maxCredential = 32 << 10

// ConnectRequest is the body of POST connect: code or refreshToken, not both.
type ConnectRequest struct {
	// Code is an authorization code that the caller got at redirectUri.
	Code string `json:"code,omitempty" minLength:"1" maxLength:"32768" description:"The authorization code that the provider gave at redirectUri. Not beside refreshToken."`
	// CodeVerifier is the PKCE verifier (RFC 7636) that belongs to the code.
	CodeVerifier string `json:"codeVerifier,omitempty" maxLength:"1024" description:"The PKCE verifier (RFC 7636) that belongs to the code."`
	// RedirectURI is the one that the code was asked for with; default: the application's.
	RedirectURI string `json:"redirectUri,omitempty" maxLength:"2048" format:"uri" description:"The redirect URI that the code was asked for with; default: the application's redirect URL."`
	// RefreshToken is that of a grant that was obtained elsewhere, for the same client.
	RefreshToken string `json:"refreshToken,omitempty" minLength:"1" maxLength:"32768" description:"The refresh token of a grant that the same client obtained elsewhere. Not beside code."`
	// Shared is true for the connection of all; default: the caller's own.
	Shared bool `json:"shared,omitempty" default:"false" description:"true: the connection of all; otherwise the caller's own."`
	// DisplayName of the connection.
	DisplayName *string `json:"displayName,omitempty" nullable:"false" maxLength:"256" description:"The label of the connection."`
	// Scopes to ask for, in place of the application's.
	Scopes []string `json:"scopes,omitempty" maxItems:"100" description:"The scopes of the connection, in place of the application's."`
	// Inputs are the values that the application asks for, by name.
	Inputs map[string]string `json:"inputs,omitempty" maxProperties:"16" description:"The values that the application asks for (its spec.inputs), by name."`
}

// bounds that the API server does not know, or knows in other units.
const (
	maxVerifier  = 1024
	maxURL       = 2048
	maxScopes    = 100
	maxDisplayed = 256
)

// offer is what a caller brings to authorize a connection: a code with what belongs to it, or a refresh token.
type offer struct {
	code, verifier, refreshToken sensitive.String
	redirectURL                  string
}

// read takes the body of POST connect apart. Errors name the member that is wrong and quote no value.
func read(w http.ResponseWriter, r *http.Request) (wish, offer, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return wish{}, offer{}, problem.New(problem.UnsupportedMediaType, "Content-Type has to be application/json")
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if tooLarge, is := errors.AsType[*http.MaxBytesError](err); is {
		return wish{}, offer{}, problem.New(problem.TooLarge, "the body is longer than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return wish{}, offer{}, problem.New(problem.InvalidRequest, "the body could not be read").Because(err)
	}
	body, err := decode(content)
	if err != nil {
		return wish{}, offer{}, err
	}
	if err := body.check(); err != nil {
		return wish{}, offer{}, err
	}
	wanted := wish{
		selector: selectorOf(r), shared: body.Shared,
		settings: settings{displayName: body.DisplayName, scopes: body.Scopes, inputs: body.Inputs},
	}
	return wanted, offer{
		code: sensitive.New(body.Code), verifier: sensitive.New(body.CodeVerifier), refreshToken: sensitive.New(body.RefreshToken),
		redirectURL: body.RedirectURI,
	}, wanted.settings.check()
}

// decode reads JSON to the letter: no unknown members, none twice, none in another case, and null is no value.
func decode(content []byte) (ConnectRequest, error) {
	var body ConnectRequest
	members := map[string]any{
		"code": &body.Code, "codeVerifier": &body.CodeVerifier, "redirectUri": &body.RedirectURI, "refreshToken": &body.RefreshToken,
		"shared": &body.Shared, "displayName": &body.DisplayName, "scopes": &body.Scopes, "inputs": &body.Inputs,
	}
	malformed := problem.New(problem.InvalidRequest, "the body is not a JSON object")
	decoder := json.NewDecoder(bytes.NewReader(content))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') || !utf8.Valid(content) {
		return body, malformed
	}
	for given := map[string]bool{}; decoder.More(); {
		token, err := decoder.Token()
		name, _ := token.(string)
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			return body, malformed
		}
		member, known := members[name]
		switch {
		case !known:
			return body, problem.New(problem.InvalidRequest, "there is no member %s", quoted(name))
		case given[name]:
			return body, problem.New(problem.InvalidRequest, "%s is given more than once", name)
		}
		given[name] = true
		if err := fill(member, value); err != nil {
			return body, problem.New(problem.InvalidRequest, "%s: %s", name, err)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return body, malformed
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return body, malformed
	}
	return body, nil
}

// fill decodes one member. Errors say what it has to be.
func fill(member any, value json.RawMessage) error {
	var wanted string
	null := string(value) == "null"
	switch into := member.(type) {
	case *string:
		wanted = "it is a string that is not empty"
		null = null || string(value) == `""`
	case **string:
		wanted = "it is a string"
	case *bool:
		wanted = "it is true or false"
	case *[]string:
		wanted = "it is a list of strings"
		var list []*string
		if json.Unmarshal(value, &list) != nil || slices.Contains(list, nil) {
			return errors.New(wanted)
		}
		*into = []string{} // None is not the same as not said.
	case *map[string]string:
		wanted = "it is an object of strings"
		var values map[string]*string
		if json.Unmarshal(value, &values) != nil || slices.Contains(slices.Collect(maps.Values(values)), nil) {
			return errors.New(wanted)
		}
	}
	if null || json.Unmarshal(value, member) != nil {
		return errors.New(wanted)
	}
	return nil
}

// check finds what does not go together, or is too long.
func (b *ConnectRequest) check() error {
	invalid := func(format string, arguments ...any) error {
		return problem.New(problem.InvalidRequest, format, arguments...)
	}
	switch {
	case b.Code == "" && b.RefreshToken == "":
		return invalid("give code, or refreshToken")
	case b.Code != "" && b.RefreshToken != "":
		return invalid("give one of code and refreshToken, not both")
	case b.Code == "" && b.CodeVerifier != "":
		return invalid("codeVerifier goes with code")
	case b.Code == "" && b.RedirectURI != "":
		return invalid("redirectUri goes with code")
	}
	for name, bounded := range map[string]struct{ is, most int }{
		"code": {len(b.Code), maxCredential}, "refreshToken": {len(b.RefreshToken), maxCredential},
		"codeVerifier": {len(b.CodeVerifier), maxVerifier}, "redirectUri": {len(b.RedirectURI), maxURL},
	} {
		if bounded.is > bounded.most {
			return invalid("%s is longer than %d bytes", name, bounded.most)
		}
	}
	if b.RedirectURI != "" {
		if at, err := url.Parse(b.RedirectURI); err != nil || !at.IsAbs() {
			return invalid("redirectUri is not an absolute URL")
		}
	}
	return nil
}

// check finds settings that can be told wrong without asking the API server; the rest it tells itself.
func (s settings) check() error {
	switch {
	case s.displayName != nil && utf8.RuneCountInString(*s.displayName) > maxDisplayed:
		return problem.New(problem.InvalidRequest, "displayName is longer than %d characters", maxDisplayed)
	case len(s.scopes) > maxScopes:
		return problem.New(problem.InvalidRequest, "scopes are more than %d", maxScopes)
	case slices.Contains(s.scopes, ""):
		return problem.New(problem.InvalidRequest, "scopes: one is empty")
	}
	seen := map[string]bool{}
	for _, scope := range s.scopes {
		if seen[scope] {
			return problem.New(problem.InvalidRequest, "scopes: one is given more than once")
		}
		seen[scope] = true
	}
	return nil
}
