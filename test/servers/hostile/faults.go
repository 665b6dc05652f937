// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"bytes"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is one thing that goes wrong with a request. The zero value is none.
// A fault acts before the server processes the request, in place of that, on
// the answer, or on how the answer travels.
type Fault struct {
	before  func(*exchange)
	instead func(*exchange) answer
	rewrite func(*answer)
	deliver func(*exchange, answer)
}

// All joins faults into one. Where several answer in place of the server, or
// decide how the answer travels, the last one does.
func All(faults ...Fault) Fault {
	var joined Fault
	for _, f := range faults {
		before, rewrite := joined.before, joined.rewrite
		if f.before != nil {
			joined.before = func(x *exchange) {
				if before != nil {
					before(x)
				}
				f.before(x)
			}
		}
		if f.rewrite != nil {
			joined.rewrite = func(a *answer) {
				if rewrite != nil {
					rewrite(a)
				}
				f.rewrite(a)
			}
		}
		if f.instead != nil {
			joined.instead = f.instead
		}
		if f.deliver != nil {
			joined.deliver = f.deliver
		}
	}
	return joined
}

// Hang holds the request back before it is processed, until Release, which
// lets it go on, or until the client or the server gives up.
func Hang() Fault {
	return Fault{before: (*exchange).hang}
}

// HangAnswer processes the request, rotation included, and then holds the
// answer back as Hang does.
func HangAnswer() Fault {
	return Fault{deliver: func(x *exchange, a answer) {
		x.hang()
		x.deliver(a)
	}}
}

func (x *exchange) hang() {
	if x.server.Hold(x.r.Context()) != nil {
		x.cut()
	}
}

// LoseResponse processes the request, rotation included, and cuts the
// connection in place of an answer.
func LoseResponse() Fault {
	return Fault{deliver: func(x *exchange, _ answer) { x.cut() }}
}

// CloseBeforeProcessing cuts the connection and does nothing: no token is
// spent, made or revoked.
func CloseBeforeProcessing() Fault {
	return Fault{before: (*exchange).cut}
}

// Status answers in place of the server. header may be nil.
func Status(code int, body string, header http.Header) Fault {
	return instead(answer{status: code, body: []byte(body), header: header})
}

// OAuthError answers with an error of RFC 6749 section 5.2 in place of the
// server.
func OAuthError(status int, code string) Fault {
	return instead(refuse(status, code, "scripted"))
}

// OKWithError answers 200 with an error inside, in place of the server.
func OKWithError(code string) Fault { return OAuthError(http.StatusOK, code) }

// RetryAfterSeconds is the Retry-After header in its first form (RFC 9110
// section 10.2.3), for Status.
func RetryAfterSeconds(n int) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(n)}}
}

// RetryAfterDate is the Retry-After header in its second form, for Status.
func RetryAfterDate(t time.Time) http.Header {
	return http.Header{"Retry-After": {t.UTC().Format(http.TimeFormat)}}
}

// Garbage answers 200 with bytes that are no JSON, though they say so.
func Garbage() Fault {
	return instead(answer{
		status: http.StatusOK,
		body:   []byte("\x00\xff<html>{\"access_token\": \"unclosed"),
		header: http.Header{"Content-Type": {"application/json"}},
	})
}

// Redirect answers 307, which asks the client to send the same body, with its
// secrets, to the given URL.
func Redirect(target string) Fault {
	return instead(answer{
		status: http.StatusTemporaryRedirect,
		header: http.Header{"Location": {target}},
	})
}

// instead hands out copies, because what follows may rewrite the fields.
func instead(a answer) Fault {
	return Fault{instead: func(*exchange) answer {
		copied := a
		copied.fields = maps.Clone(a.fields)
		return copied
	}}
}

// EchoSecrets refuses with an error whose description repeats every parameter
// that came in, code, refresh token and client secret too.
func EchoSecrets(status int, code string) Fault {
	return Fault{instead: func(x *exchange) answer {
		said := []string{x.r.Header.Get("Authorization")}
		if _, password, ok := x.r.BasicAuth(); ok {
			said = append(said, password)
		}
		for name, values := range x.parsed.Form {
			said = append(said, name+"="+strings.Join(values, ","))
		}
		return refuse(status, code, strings.Join(said, " "))
	}}
}

// RequireJSON refuses any request whose body is not JSON, and lets others pass.
func RequireJSON() Fault {
	return Fault{before: func(x *exchange) {
		if media, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type")); media != "application/json" {
			x.refused = &answer{status: http.StatusUnsupportedMediaType}
		}
	}}
}

// Missing as a value of SetField, ExpiresIn or Scope leaves the field out.
type Missing struct{}

// SetField sets a field of the JSON answer to any value that encoding/json
// takes, a json.RawMessage too. Error answers stay as they are.
func SetField(name string, value any) Fault {
	return Fault{rewrite: func(a *answer) {
		if a.fields == nil || a.status != http.StatusOK {
			return
		}
		if _, missing := value.(Missing); missing {
			delete(a.fields, name)
			return
		}
		a.fields[name] = value
	}}
}

// ExpiresIn sets expires_in; the server's own idea of the expiry stays.
func ExpiresIn(value any) Fault { return SetField("expires_in", value) }

// Scope sets the scope that the server claims to have granted.
func Scope(value any) Fault { return SetField("scope", value) }

// WrongIssuer makes a discovery document claim another issuer.
func WrongIssuer(issuer string) Fault { return SetField("issuer", issuer) }

// OmitRefreshToken acts as a provider that does not rotate: no refresh token
// is sent, and the one that came in stays good. A code then gives a grant
// without any refresh token.
func OmitRefreshToken() Fault {
	return Fault{before: func(x *exchange) { x.keepRefresh = true }}
}

// NestedFields moves the whole answer into objects of the given names, the
// outermost first, beside "ok": true.
func NestedFields(path ...string) Fault {
	return Fault{rewrite: func(a *answer) {
		if a.fields == nil || a.status != http.StatusOK {
			return
		}
		for _, p := range slices.Backward(path) {
			a.fields = map[string]any{p: a.fields}
		}
		a.fields["ok"] = true
	}}
}

// SlowDrip sends the answer byte by byte, one each interval, with the headers
// at once. An empty body is the real answer, after processing; any other is
// sent in place of it.
func SlowDrip(body string, interval time.Duration) Fault {
	f := Fault{deliver: func(x *exchange, a answer) {
		raw := a.encode()
		x.head(a, len(raw))
		x.flush()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for i := range raw {
			select {
			case <-tick.C:
				x.write(raw[i : i+1])
				x.flush()
			case <-x.r.Context().Done():
				x.cut()
			}
		}
	}}
	if body != "" {
		f.instead = instead(answer{status: http.StatusOK, body: []byte(body)}).instead
	}
	return f
}

// GiantBody answers 200 with a JSON object of n bytes, whose access token
// never seems to end, in place of the server.
func GiantBody(n int) Fault {
	const start, end = `{"access_token":"`, `"}`
	n = max(n, len(start)+len(end))
	f := instead(answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}})
	f.deliver = func(x *exchange, a answer) {
		x.head(a, n)
		x.write([]byte(start))
		chunk := bytes.Repeat([]byte("a"), 32<<10)
		for left := n - len(start) - len(end); left > 0; left -= len(chunk) {
			chunk = chunk[:min(left, len(chunk))]
			x.write(chunk)
		}
		x.write([]byte(end))
		x.flush()
	}
	return f
}

// DenyConsent makes the authorization endpoint redirect with an error (RFC
// 6749 section 4.1.2.1) to the redirect URI that it was given.
func DenyConsent(code string) Fault {
	return Fault{instead: func(x *exchange) answer {
		form := x.parsed.Form
		said := url.Values{"error": {code}, "state": {form.Get("state")}, "iss": {x.server.URL}}
		return answer{
			status: http.StatusFound,
			header: http.Header{"Location": {form.Get("redirect_uri") + "?" + said.Encode()}},
		}
	}}
}
