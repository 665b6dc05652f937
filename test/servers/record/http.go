// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds what a server of the tests reads of a request, in bytes.
const maxBody = 1 << 20

// Parsed is a request taken apart.
type Parsed struct {
	Request Request
	// Credential is the code or refresh token in clear, or the token to revoke
	// or introspect; empty where there is none.
	Credential string
	// Form holds the parameters, read from the query, from a form or from a
	// JSON object.
	Form url.Values
}

// Parse reads the whole body of r, so that the server notices a client that
// goes away, and leaves r.Form filled for a library to go on with. lean leaves
// out Params and Header.
func Parse(endpoint Endpoint, r *http.Request, lean bool) (Parsed, error) {
	form, err := parameters(r)
	if err != nil {
		return Parsed{}, err
	}
	p := Parsed{Form: form}
	p.Request.Endpoint = endpoint
	p.Request.ClientID, p.Request.AuthMethod = clientOf(r, form)
	switch endpoint {
	case Token:
		p.Request.GrantType = form.Get("grant_type")
		switch p.Request.GrantType {
		case "authorization_code":
			p.Credential = form.Get("code")
		case "refresh_token":
			p.Credential = form.Get("refresh_token")
		}
	case Revoke, Introspect:
		p.Credential = form.Get("token")
	case UserInfo:
		p.Credential = Bearer(r)
	case Authorize, Discovery, DeviceAuthorization, Verification, Keys: // They take none.
	}
	if !lean {
		p.Request.Params = redacted(form)
		p.Request.Header = r.Header.Clone()
		p.Request.Header.Del("Authorization")
		p.Request.Header.Del("Cookie")
	}
	return p, nil
}

// Bearer returns the token of the Authorization header (RFC 6750 section 2.1).
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// BasicAuth returns the client of the Authorization header with both parts
// decoded as RFC 6749 section 2.3.1 has them encoded.
func BasicAuth(r *http.Request) (id, secret string, ok bool) {
	rawID, rawSecret, ok := r.BasicAuth()
	if !ok {
		return "", "", false
	}
	id, errID := url.QueryUnescape(rawID)
	secret, errSecret := url.QueryUnescape(rawSecret)
	return id, secret, errID == nil && errSecret == nil
}

func parameters(r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody)
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		return r.Form, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	form := r.URL.Query()
	for name, value := range fields {
		form.Set(name, fmt.Sprint(value))
	}
	return form, nil
}

func clientOf(r *http.Request, form url.Values) (id, method string) {
	if id, _, ok := BasicAuth(r); ok {
		return id, "client_secret_basic"
	}
	id = form.Get("client_id")
	switch {
	case form.Has("client_assertion"):
		return id, "private_key_jwt"
	case form.Has("client_secret"):
		return id, "client_secret_post"
	case Bearer(r) != "":
		return id, "bearer"
	case id != "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		return id, "tls_client_auth"
	case id != "":
		return id, "none"
	}
	return "", ""
}

func redacted(form url.Values) url.Values {
	out := make(url.Values, len(form))
	for name, values := range form {
		switch name {
		case "code", "refresh_token", "client_secret", "code_verifier", "token",
			"client_assertion", "assertion", "subject_token", "actor_token", "password",
			"device_code", "production_token":
			for _, v := range values {
				out.Add(name, Hash(v))
			}
		default:
			out[name] = append([]string(nil), values...)
		}
	}
	return out
}

// Wrap records each request around a handler of the endpoint. The handler
// tells the entry what it did with the credential; the status is seen here.
func (l *Log) Wrap(endpoint Endpoint, serve func(http.ResponseWriter, *http.Request, *Entry)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := Parse(endpoint, r, l.lean)
		if err != nil {
			http.Error(w, "unreadable request", http.StatusBadRequest)
			return
		}
		e := l.Receive(p.Request, p.Credential)
		defer func() {
			if e.Status == 0 {
				e.Answer(NoAnswer)
			}
		}()
		sw := &statusWriter{ResponseWriter: w, entry: e}
		serve(sw, r, e)
		e.Answer(http.StatusOK)
	})
}

type statusWriter struct {
	http.ResponseWriter

	entry *Entry
}

func (w *statusWriter) WriteHeader(status int) {
	w.entry.Answer(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(body []byte) (int, error) {
	w.entry.Answer(http.StatusOK)
	return w.ResponseWriter.Write(body)
}
