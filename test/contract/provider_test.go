// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What the application registered at every provider.
const (
	clientID     = "client-4711"
	clientSecret = "client-secret-4711"
	redirectURL  = "https://connect.example.com/oauth2/callback"
	apiKey       = "platform-key-4711"
)

// provider plays a script. What a request does wrong that the real provider would refuse is an error of the test.
type provider struct {
	t      *testing.T
	script script

	mu     sync.Mutex
	number int
	codes  map[string]*code
	access map[string]*grant
	// refresh are the refresh tokens that are good.
	refresh map[string]*grant
	grants  []*grant
	// seen counts requests by endpoint.
	seen map[string]int
	// refusal is the answer to the next token request, whatever it says.
	refusal *answer
}

type code struct {
	challenge, redirect string
	scopes              []string
	spent               bool
}

type grant struct {
	dead   bool
	scopes []string
}

func newProvider(t *testing.T, s script) *provider {
	t.Helper()
	return &provider{
		t: t, script: s, codes: map[string]*code{}, access: map[string]*grant{}, refresh: map[string]*grant{}, seen: map[string]int{},
	}
}

// end does what a user does who takes the access away.
func (p *provider) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range p.grants {
		each.dead = true
	}
}

// alive tells whether an access token works.
func (p *provider) alive(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.access[token] != nil && !p.access[token].dead
}

// newToken makes up a token.
func (p *provider) newToken(kind string) string {
	p.number++
	return fmt.Sprintf("%s-%s-%d", p.script.preset, kind, p.number)
}

// productionToken is what the sandbox takes.
func (p *provider) productionToken() string { return "production-token-4711" }

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	address := r.Host + r.URL.EscapedPath()
	p.seen[address]++
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.complain("the body cannot be read: %v", err)
	}
	call := &call{provider: p, Request: r, body: body, address: address}
	given := call.answer()
	if given.location != "" {
		w.Header().Set("Location", given.location)
		w.WriteHeader(http.StatusFound)
		return
	}
	if text, isForm := given.body.(url.Values); isForm {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		w.WriteHeader(given.status)
		_, _ = io.WriteString(w, text.Encode())
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(given.status)
	if given.body != nil {
		_ = json.NewEncoder(w).Encode(given.body)
	}
}

func (p *provider) complain(format string, arguments ...any) answer {
	message := fmt.Sprintf(format, arguments...)
	p.t.Errorf("%s would refuse this: %s", p.script.preset, message)
	return answer{http.StatusBadRequest, map[string]any{"error": "contract", "error_description": message}}
}

// call is one request.
type call struct {
	*http.Request
	provider *provider
	body     []byte
	address  string
}

type reply struct {
	answer
	location string
}

func (c *call) answer() reply {
	s := c.provider.script
	switch {
	case s.page.address != "" && c.address == s.page.address:
		return c.authorize()
	case c.address == s.token.address || s.token.refresh != "" && c.address == s.token.refresh:
		return reply{answer: c.token()}
	case s.revoke != nil && c.address == s.revoke.address:
		return reply{answer: c.revoke()}
	case s.device != "" && c.address == s.device:
		return reply{answer: c.device()}
	case s.introspect != nil && c.address == s.introspect.address:
		return reply{answer: c.introspect()}
	case s.list != nil && (c.address == s.list.connections || c.address == s.list.applications):
		return reply{answer: c.list()}
	}
	for _, one := range s.resources {
		if c.address == one.address {
			return reply{answer: c.resource(one)}
		}
	}
	return reply{answer: c.provider.complain("there is nothing at %s %s", c.Method, c.address)}
}

func (c *call) complain(format string, arguments ...any) answer {
	return c.provider.complain("%s %s: %s", c.Method, c.address, fmt.Sprintf(format, arguments...))
}

// single reads parameters, none of which may occur twice.
func (c *call) single(values url.Values) map[string]string {
	all := map[string]string{}
	for name, each := range values {
		if len(each) > 1 {
			c.complain("%s occurs twice", name)
		}
		if each[0] == "" {
			c.complain("%s is empty", name)
		}
		all[name] = each[0]
	}
	return all
}

// expect takes parameters away that must have these values.
func (c *call) expect(all map[string]string, wanted map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if got := all[name]; got != wanted[name] {
			c.complain("%s is %q, want %q", name, got, wanted[name])
		}
		delete(all, name)
	}
}

// nothingElse refuses parameters that are not documented.
func (c *call) nothingElse(all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c.complain("the parameter %s is not documented (%q)", name, all[name])
	}
}

func (c *call) authorize() reply {
	page, query := c.provider.script.page, c.single(c.URL.Query())
	if c.Method != http.MethodGet {
		c.complain("a person's browser sends GET")
	}
	take := func(standard string) string {
		name := standard
		if own, renamed := page.names[standard]; renamed {
			name = own
		}
		value := query[name]
		delete(query, name)
		return value
	}
	wanted := map[string]string{"response_type": "code", "client_id": clientID, "redirect_uri": redirectURL, "scope": page.scope}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if own, renamed := page.names[name]; renamed && own == "" {
			continue // Then it is among what is not documented.
		}
		if got := take(name); got != wanted[name] {
			c.complain("%s is %q, want %q", name, got, wanted[name])
		}
	}
	state := take("state")
	if len(state) < 16 {
		c.complain("the state %q is shorter than 16 characters", state)
	}
	made := &code{redirect: redirectURL, scopes: c.provider.scopes()}
	if page.pkce != pkceRefused {
		made.challenge = take("code_challenge")
		if method := take("code_challenge_method"); made.challenge != "" && method != "S256" {
			c.complain("code_challenge_method is %q", method)
		}
	}
	if page.pkce == pkceRequired && made.challenge == "" {
		c.complain("there is no code_challenge")
	}
	c.expect(query, page.params)
	c.nothingElse(query)
	value := c.provider.newToken("code")
	c.provider.codes[value] = made
	back := url.Values{"code": {value}, "state": {state}}
	for name, extra := range page.callback {
		back.Set(name, extra)
	}
	return reply{location: redirectURL + "?" + back.Encode()}
}

// scopes are those that the provider grants: what the page was asked for.
func (p *provider) scopes() []string {
	return strings.FieldsFunc(p.script.page.scope, func(r rune) bool { return r == ' ' || r == ',' })
}

// parameters reads the body in the form that it must have.
func (c *call) parameters(wantJSON bool) map[string]string {
	if c.URL.RawQuery != "" {
		c.complain("there is a query in the URL")
	}
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil {
		c.complain("Content-Type: %v", err)
	}
	if wantJSON {
		if media != "application/json" {
			c.complain("the body is %s, not JSON", media)
		}
		all := map[string]string{}
		if err := json.Unmarshal(c.body, &all); err != nil {
			c.complain("the body is not an object of strings: %v", err)
		}
		return all
	}
	if media != "application/x-www-form-urlencoded" {
		c.complain("the body is %s, not a form", media)
	}
	values, err := url.ParseQuery(string(c.body))
	if err != nil {
		c.complain("the body is not a form: %v", err)
	}
	return c.single(values)
}

func (c *call) headers(wanted map[string]string) {
	for name, value := range wanted {
		if got := c.Header.Get(name); got != value && (value != "*" || got == "") {
			c.complain("the header %s is %q, want %q", name, got, value)
		}
	}
	if c.Header.Get("User-Agent") == "" {
		c.complain("there is no User-Agent")
	}
}

// client checks who asks. known is false for a wrong secret; everything else is a complaint.
func (c *call) client(by auth, all, names map[string]string) (known bool) {
	name := func(standard string) string {
		if own := names[standard]; own != "" {
			return own
		}
		return standard
	}
	user, password, isBasic := c.BasicAuth()
	id, secret := all[name("client_id")], all[name("client_secret")]
	delete(all, name("client_id"))
	delete(all, name("client_secret"))
	switch by {
	case basic:
		if !isBasic || id != "" || secret != "" {
			c.complain("the client must be in the Authorization header only")
		}
		id, secret = user, password
	case secretAsUser:
		if !isBasic || password != "" || secret != "" {
			c.complain("the secret must be the user name, without password")
		}
		id, secret = clientID, user
	case post:
		if isBasic {
			c.complain("the client must be in the body only")
		}
	case bearer, open:
		if isBasic || id != "" || secret != "" {
			c.complain("the client must not be sent")
		}
		return true
	}
	if id != clientID {
		c.complain("the client is %q", id)
	}
	return secret == clientSecret
}

func (c *call) token() answer {
	s := c.provider.script.token
	if c.Method != http.MethodPost {
		return c.complain("the method must be POST")
	}
	all := c.parameters(s.json)
	if key, wanted := s.headers["Authorization"]; wanted && c.Header.Get("Authorization") != key {
		return s.stranger
	}
	c.headers(s.headers)
	if !c.client(s.auth, all, s.names) {
		return s.stranger
	}
	grantType := all["grant_type"]
	delete(all, "grant_type")
	refreshes := grantType != "authorization_code" && grantType != s.grant
	if refusal := c.provider.refusal; refusal != nil {
		c.provider.refusal = nil
		return *refusal
	}
	if s.refresh != "" && refreshes != (c.address == s.refresh) {
		return c.complain("%s is sent to the wrong endpoint", grantType)
	}
	c.expect(all, s.extra[grantType])
	defer func() { c.nothingElse(all) }()
	switch {
	case grantType == "authorization_code" && s.grant == "":
		return c.exchange(all)
	case s.grant != "" && grantType == s.grant:
		value := all[s.parameter]
		delete(all, s.parameter)
		if value != c.provider.productionToken() {
			return s.dead
		}
		return c.issue(&grant{}, false)
	case grantType == "refresh_token" && (s.renewal == rotates || s.renewal == keeps || s.renewal == repeats):
		value := all["refresh_token"]
		delete(all, "refresh_token")
		return c.renew(value)
	case s.renewal == exchanges && grantType == s.parameter:
		value := all[s.parameter]
		delete(all, s.parameter)
		if held := c.provider.access[value]; held != nil && !held.dead {
			return c.issue(held, false)
		}
		return s.dead
	}
	return c.complain("the grant type %q is not supported", grantType)
}

func (c *call) exchange(all map[string]string) answer {
	s := c.provider.script.token
	made := c.provider.codes[all["code"]]
	redirect, sent := all["redirect_uri"]
	verifier := all["code_verifier"]
	for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
		delete(all, name)
	}
	switch {
	case s.noRedirect && sent:
		return c.complain("redirect_uri is not documented")
	case made == nil || made.spent:
		return s.dead
	case !s.noRedirect && redirect != made.redirect:
		return c.complain("redirect_uri is %q", redirect)
	case made.challenge == "" && verifier != "":
		return c.complain("there is a code_verifier, and there was no challenge")
	case made.challenge != "" && challengeOf(verifier) != made.challenge:
		return c.complain("the code_verifier does not fit")
	}
	made.spent = true
	return c.issue(&grant{scopes: made.scopes}, s.renewal != noRefresh && s.renewal != exchanges)
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (c *call) renew(token string) answer {
	s := c.provider.script.token
	held := c.provider.refresh[token]
	if held == nil || held.dead {
		return s.dead
	}
	switch s.renewal {
	case rotates:
		delete(c.provider.refresh, token)
		return c.issue(held, true)
	case repeats:
		return c.success(held, token)
	default:
		return c.success(held, "")
	}
}

func (c *call) issue(held *grant, withRefresh bool) answer {
	if !slices.Contains(c.provider.grants, held) {
		c.provider.grants = append(c.provider.grants, held)
	}
	refresh := ""
	if withRefresh {
		refresh = c.provider.newToken("refresh")
		c.provider.refresh[refresh] = held
	}
	return c.success(held, refresh)
}

func (c *call) success(held *grant, refresh string) answer {
	s := c.provider.script.token
	access := c.provider.newToken("access")
	c.provider.access[access] = held
	body := s.answer(issued{access: access, refresh: refresh, scopes: held.scopes})
	if fields, ok := body.(map[string]any); ok && s.form && c.Header.Get("Accept") != "application/json" {
		form := url.Values{}
		for name, value := range fields {
			form.Set(name, fmt.Sprint(value))
		}
		return answer{http.StatusOK, form}
	}
	return answer{http.StatusOK, body}
}

func (c *call) revoke() answer {
	s := c.provider.script.revoke
	if c.Method != s.method {
		return c.complain("the method must be %s", s.method)
	}
	var all map[string]string
	if s.params != nil {
		all = c.parameters(s.json)
	} else if len(c.body) > 0 {
		return c.complain("there must be no body")
	}
	own := map[string]string{}
	for _, name := range []string{"client_id", "client_secret"} {
		if wanted, ok := s.params[name]; ok { // Documented as parameters, not as authentication.
			own[name] = wanted
			if all[name] != wanted {
				c.complain("%s is %q", name, all[name])
			}
			delete(all, name)
		}
	}
	if !c.client(s.auth, all, nil) {
		return c.complain("the client is not authenticated")
	}
	token := strings.TrimPrefix(c.Header.Get("Authorization"), "Bearer ")
	for name, value := range s.headers {
		got := c.Header.Get(name)
		if before, _, found := strings.Cut(value, "{token}"); found {
			token = strings.TrimPrefix(got, before)
		} else if got != value {
			c.complain("the header %s is %q, want %q", name, got, value)
		}
	}
	if s.hint {
		delete(all, "token_type_hint")
	}
	for name, value := range s.params {
		switch {
		case value == "{token}":
			if s.auth == bearer && all[name] != token {
				c.complain("%s and the header have different tokens", name)
			}
			token = all[name]
		case own[name] == "" && all[name] != value:
			c.complain("%s is %q, want %q", name, all[name], value)
		}
		delete(all, name)
	}
	c.nothingElse(all)
	if s.account {
		c.provider.grants[len(c.provider.grants)-1].dead = true
		return s.answer
	}
	return c.endToken(token)
}

func (c *call) endToken(token string) answer {
	s := c.provider.script.revoke
	held := c.provider.refresh[token]
	isRefresh := held != nil
	if !isRefresh {
		held = c.provider.access[token]
	}
	switch {
	case held == nil:
		return c.complain("%q is no token", token)
	case isRefresh && !s.refresh, !isRefresh && !s.access:
		return c.complain("tokens of this kind cannot be revoked")
	case held.dead && s.auth == bearer:
		return unauthorized()
	}
	held.dead = true
	return s.answer
}

func (c *call) device() answer {
	all := c.parameters(false)
	if _, _, isBasic := c.BasicAuth(); !isBasic && all["client_id"] == "" {
		c.complain("there is no client_id")
	}
	for _, name := range []string{"client_id", "client_secret", "scope"} {
		delete(all, name)
	}
	c.nothingElse(all)
	return answer{http.StatusOK, map[string]any{
		"device_code": "device-code-4711", "user_code": "WDJB-MJHT", "verification_uri": "https://example.com/device", "expires_in": 900, "interval": 5,
	}}
}

func (c *call) introspect() answer {
	all := c.parameters(false)
	if !c.client(c.provider.script.introspect.auth, all, nil) {
		return c.complain("the client is not authenticated")
	}
	delete(all, "token_type_hint")
	held := c.provider.access[all["token"]]
	delete(all, "token")
	c.nothingElse(all)
	if held == nil || held.dead {
		return answer{http.StatusOK, map[string]any{"active": false}}
	}
	return answer{http.StatusOK, map[string]any{"active": true, "client_id": clientID}}
}

func (c *call) resource(one resource) answer {
	if c.Method != http.MethodGet {
		return c.complain("the method must be GET")
	}
	c.headers(one.headers)
	query := c.single(c.URL.Query())
	c.expect(query, one.query)
	c.nothingElse(query)
	header, scheme := "Authorization", "Bearer "
	if one.header != "" {
		header, scheme = one.header, one.scheme
	} else if one.scheme != "" {
		scheme = one.scheme
	}
	token, found := strings.CutPrefix(c.Header.Get(header), scheme)
	held := c.provider.access[token]
	switch {
	case !found || held == nil:
		return c.complain("there is no token in %s: %q", header, c.Header.Get(header))
	case held.dead:
		return one.dead
	}
	return answer{http.StatusOK, one.body}
}

// list answers with two pages, the connection on the second one.
func (c *call) list() answer {
	s := c.provider.script.list
	if c.Header.Get("Authorization") != "Bearer "+s.key {
		return answer{http.StatusUnauthorized, map[string]any{"type": "invalid_api_key_error"}}
	}
	query := c.single(c.URL.Query())
	if limit, err := strconv.Atoi(query["limit"]); err != nil || limit < 1 || limit > 100 {
		c.complain("the limit is %q", query["limit"])
	}
	if c.address == s.applications {
		return answer{http.StatusOK, map[string]any{"next_cursor": nil, "data": []any{map[string]any{
			"id": "application_1", "client_id": clientID, "status": "active", "type": "oauth_application", "deleted_at": nil,
		}}}}
	}
	if query["oauth_application_id"] != "application_1" || query["status.in"] != "active,inactive" {
		c.complain("the filters are %v", query)
	}
	if query["cursor"] == "" {
		return answer{http.StatusOK, map[string]any{"next_cursor": "page-2", "data": []any{connectionOf("connection_1", "group_other", false)}}}
	}
	if query["cursor"] != "page-2" {
		c.complain("the cursor is %q", query["cursor"])
	}
	ended := len(c.provider.grants) > 0 && c.provider.grants[len(c.provider.grants)-1].dead
	return answer{http.StatusOK, map[string]any{"next_cursor": nil, "data": []any{connectionOf("connection_2", "group_1", ended)}}}
}

func connectionOf(id, group string, ended bool) map[string]any {
	fields := map[string]any{
		"id": id, "group_id": group, "oauth_application_id": "application_1", "type": "oauth_connection",
		"status": "active", "created_at": "2026-01-01T00:00:00Z", "deleted_at": nil,
	}
	if ended {
		fields["status"], fields["deleted_at"] = "inactive", "2026-01-02T00:00:00Z"
	}
	return fields
}
