// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Parameter is one parameter of a request's body. A name may occur several times among the extra parameters of a request
// (`resource` of RFC 8707 does).
type Parameter struct {
	Name  string
	Value sensitive.String
}

// Header is a header that a request carries besides the usual ones. It replaces one of the same name, but neither those
// that describe the body and the connection, nor client authentication.
type Header struct {
	Name  string
	Value sensitive.String
}

// Format is how a body is written, in the spelling of the API.
type Format string

// The formats.
const (
	// FormatForm is application/x-www-form-urlencoded (RFC 6749, appendix B). So is an empty Format.
	FormatForm Format = "Form"
	// FormatJSON is a JSON object whose members are all strings.
	FormatJSON Format = "JSON"
)

// TokenRequest is a request to a token endpoint.
type TokenRequest struct {
	// URL of the token endpoint; it may have a query.
	URL    string
	Client Client
	Grant  Grant
	// Parameters are sent besides those of the grant and the client, in this order. None may have the name of one of
	// those: a parameter of the protocol must not occur twice (RFC 6749, section 3.2).
	Parameters []Parameter
	Headers    []Header
	Format     Format
	// Names are the provider's names of parameters, by standard name. They hold for every parameter of the body.
	Names map[string]string
	// Response says where the answer has what; nil means as in the standard.
	Response *ResponseMapping
}

// message is a request in the form that all endpoints share.
type message struct {
	method, url, contentType string
	// body is empty when there is none.
	body sensitive.String
	// headers include the one that authenticates the request.
	headers []Header
	// secrets are what an answer must not repeat into an error.
	secrets []sensitive.String
	// credentials are the secrets that are worth something by themselves, which nothing kept of an answer may repeat.
	credentials []sensitive.String
	grantType   string
	mapping     *ResponseMapping
}

// of is what reading the answer has to know.
func (m message) of(now time.Time) asked {
	return asked{now: now, refreshes: m.grantType == grantRefreshToken, credentials: m.credentials}
}

func (r TokenRequest) message() (message, error) {
	switch {
	case r.Grant.grantType == "":
		return message{}, unusable("the request has no grant")
	case r.Grant.missing != "":
		return message{}, unusable("the grant has no " + r.Grant.missing)
	}
	sent, err := draft{
		url: r.URL, client: r.Client, headers: r.Headers, format: r.Format, names: r.Names,
		protocol: append([]Parameter{{Name: "grant_type", Value: sensitive.New(r.Grant.grantType)}}, r.Grant.parameters...),
		extra:    r.Parameters,
	}.message()
	sent.grantType, sent.mapping = r.Grant.grantType, r.Response
	return sent, err
}

// named is a parameter under the provider's name, with the standard's.
type named struct {
	Parameter
	standard string
}

// draft is what a message is made of.
type draft struct {
	method  string
	url     string
	client  Client
	headers []Header
	format  Format
	names   map[string]string
	// protocol and the client's parameters come before the extra ones, which may not repeat any of them.
	protocol, extra []Parameter
	// own parameters come first, under names of the provider's. They replace the client's of the same name.
	own []Parameter
	// bearer is sent in the Authorization header. With it, or when anonymous, the client is not authenticated.
	bearer    sensitive.String
	anonymous bool
	// bare leaves out the body.
	bare bool
}

func (d draft) message() (message, error) {
	if err := checkEndpoint(d.url); err != nil {
		return message{}, err
	}
	authorization, parameters, err := d.parameters()
	if err != nil {
		return message{}, err
	}
	sent := message{
		method: cmp.Or(d.method, http.MethodPost), url: d.url,
		secrets:     confidential(d.client, parameters, d.headers),
		credentials: credentials(d.client, parameters, d.headers),
	}
	if !authorization.IsEmpty() {
		sent.secrets = append(sent.secrets, authorizationSecret(authorization))
	}
	if sent.headers, err = checkHeaders(d.headers, authorization); err != nil {
		return message{}, err
	}
	if !d.bare {
		err = sent.write(parameters, d.format)
	}
	return sent, err
}

func checkEndpoint(endpoint string) error {
	target, err := url.Parse(endpoint)
	if err != nil || target.Host == "" || (target.Scheme != "https" && target.Scheme != "http") || target.User != nil {
		return unusable("the endpoint is not an absolute http(s) URL without user information")
	}
	return nil
}

// parameters returns the Authorization header, empty without one, and the body's parameters under the provider's names.
func (d draft) parameters() (authorization sensitive.String, all []named, err error) {
	var client []Parameter
	switch {
	case !d.bearer.IsEmpty():
		authorization = sensitive.New("Bearer " + d.bearer.Reveal())
	case !d.anonymous:
		var basic sensitive.String
		if client, basic, err = d.client.authentication(); err != nil {
			return sensitive.String{}, nil, err
		}
		if !basic.IsEmpty() {
			authorization = sensitive.New("Basic " + basic.Reveal())
		}
	}
	all, err = d.collect(client)
	return authorization, all, err
}

// collect puts the parameters together. No name may occur twice (RFC 6749, section 3.2), but for repetitions among those
// of the grant or among the extra ones, such as the resources of RFC 8693.
func (d draft) collect(client []Parameter) ([]named, error) {
	var all []named
	taken := map[string]string{}
	add := func(parameter Parameter, standard string) {
		taken[parameter.Name] = standard
		all = append(all, named{parameter, standard})
	}
	for _, parameter := range d.own {
		add(parameter, parameter.Name)
	}
	for _, parameter := range d.protocol {
		name := d.rename(parameter.Name)
		if other, ok := taken[name]; ok && other != parameter.Name {
			return nil, unusable("the parameters " + other + " and " + parameter.Name + " have the same name, " + name)
		}
		add(Parameter{Name: name, Value: parameter.Value}, parameter.Name)
	}
	for _, parameter := range client {
		name := d.rename(parameter.Name)
		if other, ok := taken[name]; ok {
			if d.own != nil {
				continue
			}
			return nil, unusable("the parameters " + other + " and " + parameter.Name + " have the same name, " + name)
		}
		add(Parameter{Name: name, Value: parameter.Value}, parameter.Name)
	}
	for _, parameter := range d.extra {
		if name := d.rename(parameter.Name); taken[name] != "" {
			return nil, unusable("the extra parameter " + name + " is one that the request has already")
		}
	}
	for _, parameter := range d.extra {
		add(Parameter{Name: d.rename(parameter.Name), Value: parameter.Value}, parameter.Name)
	}
	return all, nil
}

func (d draft) rename(name string) string { return cmp.Or(d.names[name], name) }

// write puts the parameters into the body.
func (m *message) write(parameters []named, format Format) error {
	switch format {
	case "", FormatForm:
		m.contentType, m.body = "application/x-www-form-urlencoded", encodeForm(parameters)
		return nil
	case FormatJSON:
		body, err := encodeJSON(parameters)
		m.contentType, m.body = "application/json", body
		for _, secret := range m.secrets {
			if escaped := jsonText(secret.Reveal()); escaped != secret.Reveal() {
				m.secrets = append(m.secrets, sensitive.New(escaped))
			}
		}
		return err
	}
	return unusable("the body format " + string(format) + " is not supported")
}

// encodeForm keeps the order of the parameters, which url.Values would not.
func encodeForm(parameters []named) sensitive.String {
	var body strings.Builder
	for i, parameter := range parameters {
		if i > 0 {
			body.WriteByte('&')
		}
		body.WriteString(url.QueryEscape(parameter.Name))
		body.WriteByte('=')
		body.WriteString(url.QueryEscape(parameter.Value.Reveal()))
	}
	return sensitive.New(body.String())
}

// encodeJSON keeps the order of the parameters, for people who compare requests with a provider's examples.
func encodeJSON(parameters []named) (sensitive.String, error) {
	var body strings.Builder
	seen := map[string]bool{}
	body.WriteByte('{')
	for i, parameter := range parameters {
		if seen[parameter.Name] {
			return sensitive.String{}, unusable("the parameter " + parameter.Name + " occurs twice, which a JSON body cannot say")
		}
		seen[parameter.Name] = true
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(`"` + jsonText(parameter.Name) + `":"` + jsonText(parameter.Value.Reveal()) + `"`)
	}
	body.WriteByte('}')
	return sensitive.New(body.String()), nil
}

// jsonText is the inside of a JSON string.
func jsonText(text string) string {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return "" // A string can always be encoded.
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(quoted.String(), "\n"), `"`), `"`)
}

// checkHeaders returns the headers with the one that authenticates the request. net/http would find a malformed one only
// when the call is under way.
func checkHeaders(headers []Header, authorization sensitive.String) ([]Header, error) {
	var kept []Header
	for _, header := range headers {
		switch {
		case !httpguts.ValidHeaderFieldName(header.Name):
			return nil, unusable("a header has a name that is not allowed")
		case !httpguts.ValidHeaderFieldValue(header.Value.Reveal()):
			return nil, unusable("the header " + header.Name + " has a value that is not allowed")
		}
		switch strings.ToLower(header.Name) {
		case "host", "content-length", "content-type", "transfer-encoding", "accept-encoding", "connection", "cookie", "upgrade",
			"te", "trailer", "expect":
			return nil, unusable("the header " + header.Name + " cannot be set")
		case "authorization":
			if !authorization.IsEmpty() {
				return nil, unusable("the request has an Authorization header already, from its client's authentication")
			}
		}
		kept = append(kept, header)
	}
	if !authorization.IsEmpty() {
		kept = append(kept, Header{Name: "Authorization", Value: authorization})
	}
	return kept, nil
}
