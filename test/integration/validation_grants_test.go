// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	providers "github.com/oauth-operator/oauth-operator/internal/provider"
)

// These tests ask the API server alone, like those of validation_test.go: about providers described in YAML, and about
// every kind of grant.

// applicationYAML returns an application with a spec as users write it.
func applicationYAML(t *testing.T, namespace, name, spec string) *unstructured.Unstructured {
	t.Helper()
	object := connectionYAML(t, namespace, name, spec)
	object.SetKind("OAuthApplication")
	return object
}

const (
	// clientYAML is an application that names no provider; issued names one by its issuer.
	clientYAML = "client: {id: crm}\n"
	issued     = clientYAML + "issuerURL: https://login.example.com\n"
)

// refusal is what one rule says to a spec that breaks it.
type refusal struct {
	// yaml is the spec; of a connection it goes without the applicationRef.
	yaml string
	// field is the path that the API server names, message what the rule says.
	field, message string
}

const (
	ownNames       = "access_token, refresh_token, token, client_id, client_secret, redirect_uri, scope, state, code and application_id are names of the operator's own"
	ownHeaders     = "Host, Content-Type, Content-Length, Cookie and the headers of the connection itself are set by the operator"
	oneValue       = "give exactly one of value and secretKeyRef"
	isJSONPath     = "must be a JSONPath (RFC 9535), for example $.data.token"
	isEndpoint     = "must be an absolute https URL without user name or fragment"
	oneAudience    = "give one of audience and audienceFrom"
	oneTokenSource = "give exactly one of secretKeyRef, connectionRef and serviceAccountToken"
)

// refusedApplications break one rule each.
func refusedApplications() map[string]refusal {
	return map[string]refusal{
		"no provider":                {clientYAML, "spec", "name the provider: set provider (a preset), issuerURL (its endpoints are then discovered) or endpoints.tokenURL"},
		"endpoints without tokenURL": {clientYAML + "endpoints: {authorizationURL: 'https://a.example.com'}", "spec", "name the provider"},
		"a logo that is no URL":      {issued + "logoURL: logo.png", "spec.logoURL", "must be an absolute https URL"},
		"a logo in a script":         {issued + "logoURL: 'javascript:alert(1)'", "spec.logoURL", "must be an absolute https URL"},
		"an issuer without scheme":   {clientYAML + "issuerURL: login.example.com", "spec.issuerURL", "must be an absolute https URL, for example https://login.example.com"},
		"a relative redirect":        {issued + "redirectURL: callback", "spec.redirectURL", "must be an absolute URL"},

		"a relative endpoint":            {clientYAML + "endpoints: {tokenURL: /token}", "spec.endpoints.tokenURL", isEndpoint},
		"an endpoint by ftp":             {clientYAML + "endpoints: {tokenURL: 'ftp://a.example.com/token'}", "spec.endpoints.tokenURL", isEndpoint},
		"an endpoint with a user":        {clientYAML + "endpoints: {tokenURL: 'https://u@a.example.com/token'}", "spec.endpoints.tokenURL", isEndpoint},
		"an endpoint with a password":    {clientYAML + "endpoints: {tokenURL: 'https://u:p@a.example.com?x'}", "spec.endpoints.tokenURL", isEndpoint},
		"an endpoint with a {user}":      {clientYAML + "endpoints: {tokenURL: 'https://{u}@a.example.com'}", "spec.endpoints.tokenURL", isEndpoint},
		"an endpoint with a fragment":    {clientYAML + "endpoints: {tokenURL: 'https://a.example.com/token#x'}", "spec.endpoints.tokenURL", isEndpoint},
		"a whole input with a fragment":  {issued + "apiBaseURL: '{instance_url}/x#y'", "spec.apiBaseURL", isEndpoint},
		"a user of a whole input":        {issued + "apiBaseURL: '{instance_url}@a.example.com'", "spec.apiBaseURL", isEndpoint},
		"an endpoint with a back slash":  {clientYAML + `endpoints: {tokenURL: 'https://a.example.com\@b.example.com'}`, "spec.endpoints.tokenURL", isEndpoint},
		"user info with a fragment":      {issued + "endpoints: {userInfoURL: 'https://a.example.com/#'}", "spec.endpoints.userInfoURL", isEndpoint},
		"a list at no URL":               {list("url: oauth_connections, subject: $.group"), "spec.statusCheck.connectionList.url", "must be a path that begins with /, or an absolute https URL without user name or fragment"},
		"a list with a user":             {list("url: 'https://u@a.example.com/x', subject: $.group"), "spec.statusCheck.connectionList.url", "must be a path"},
		"a list at another host":         {list("url: '//a.example.com/x', subject: $.group"), "spec.statusCheck.connectionList.url", "must be a path"},
		"applications at no URL":         {list("url: /x, subject: $.group, application: {url: x}"), "spec.statusCheck.connectionList.application.url", "must be a path"},
		"authorization parameters":       {issued + "authorizationParameters: {state: x}", "spec.authorizationParameters", "client_id, client_secret, redirect_uri, response_type, state, scope, code_challenge and code_challenge_method are set by the operator"},
		"authorization parameter names":  {issued + "authorizationParameterNames: {audience: aud}", "spec.authorizationParameterNames", "the keys are the standard names: client_id, redirect_uri, response_type, state, scope"},
		"callback parameter names":       {issued + "callback: {parameterNames: {codes: x}}", "spec.callback.parameterNames", "the keys are the standard names: code, state, error, error_description, iss"},
		"an input's name":                {issued + "inputs: [{name: code}]", "spec.inputs[0].name", ownNames},
		"an input called application_id": {issued + "inputs: [{name: application_id}]", "spec.inputs[0].name", ownNames},
		"a captured value's name":        {issued + "tokenResponse: {capture: [{name: access_token, path: $.x}]}", "spec.tokenResponse.capture[0].name", ownNames},
		"a default beside the enum":      {issued + "inputs: [{name: region, enum: [eu, us], default: cn}]", "spec.inputs[0]", "default must be one of enum"},

		"a header with nothing":        {issued + "tokenRequest: {headers: [{name: X-Key}]}", "spec.tokenRequest.headers[0]", oneValue},
		"a header with both":           {issued + "apiHeaders: [{name: X-Key, value: x, secretKeyRef: {key: k}}]", "spec.apiHeaders[0]", oneValue},
		"a header of the transport":    {issued + "apiHeaders: [{name: HOST, value: x}]", "spec.apiHeaders[0].name", ownHeaders},
		"a cookie":                     {issued + "userInfo: {headers: [{name: Cookie, value: x}]}", "spec.userInfo.headers[0].name", ownHeaders},
		"a prefix without Secret":      {issued + "apiHeaders: [{name: X-Key, prefix: 'Bearer ', value: x}]", "spec.apiHeaders[0]", "prefix goes with secretKeyRef; put it into value"},
		"a parameter with nothing":     {issued + "tokenRequest: {parameters: [{name: audience}]}", "spec.tokenRequest.parameters[0]", oneValue},
		"a parameter with both":        {issued + "tokenRequest: {parameters: [{name: audience, value: x, secretKeyRef: {key: k}}]}", "spec.tokenRequest.parameters[0]", oneValue},
		"a parameter of the standard":  {issued + "tokenRequest: {parameters: [{name: client_secret, value: x}]}", "spec.tokenRequest.parameters[0].name", "grant_type, code, code_verifier, refresh_token, client_id, client_secret and scope are set by the operator"},
		"a path that is none":          {issued + "tokenResponse: {accessToken: data.token}", "spec.tokenResponse.accessToken", isJSONPath},
		"a user's path that is none":   {issued + "userInfo: {subject: sub}", "spec.userInfo.subject", isJSONPath},
		"a condition's path":           {issued + "tokenResponse: {success: {path: ok, value: 'true'}}", "spec.tokenResponse.success.path", isJSONPath},
		"a default lifetime of days":   {issued + "tokenResponse: {defaultLifetime: 60d}", "spec.tokenResponse.defaultLifetime", "must be a duration such as 30m or 1h, or Never"},
		"a default lifetime of zero":   {issued + "tokenResponse: {defaultLifetime: 0s}", "spec.tokenResponse.defaultLifetime", "or Never"},
		"a default lifetime: never":    {issued + "tokenResponse: {defaultLifetime: never}", "spec.tokenResponse.defaultLifetime", "or Never"},
		"a check every second":         {issued + "statusCheck: {type: Introspection, interval: 1s}", "spec.statusCheck.interval", "must be a duration of at least 1m, such as 30m or 1h"},
		"a check every day":            {issued + "statusCheck: {type: Introspection, interval: 1d}", "spec.statusCheck.interval", "must be a duration of at least 1m"},
		"a check in words":             {issued + "statusCheck: {type: Introspection, interval: every 5 minutes}", "spec.statusCheck.interval", "must be a duration of at least 1m"},
		"a check every 0.9 m":          {issued + "statusCheck: {type: Introspection, interval: 0.9m}", "spec.statusCheck.interval", "must be a duration of at least 1m"},
		"a check before now":           {issued + "statusCheck: {type: Introspection, interval: -1h}", "spec.statusCheck.interval", "must be a duration of at least 1m"},
		"a probe of introspection":     {issued + "statusCheck: {type: Introspection, probe: {}}", "spec.statusCheck", "probe goes with type Probe or ConnectionList"},
		"a list of a probe":            {issued + "statusCheck: {type: Probe, connectionList: {url: /x, subject: $.id}}", "spec.statusCheck", "connectionList goes with type: ConnectionList"},
		"a selector for all":           {issued + "allowedNamespaces: {from: All, selector: {}}", "spec.allowedNamespaces", "selector goes with from: Selector, and from: Selector needs it"},
		"a selector that is not there": {issued + "allowedNamespaces: {from: Selector}", "spec.allowedNamespaces", "selector goes with from: Selector, and from: Selector needs it"},
		"no request at all":            {issued + "limits: {requestsPerSecond: 0}", "spec.limits.requestsPerSecond", "must be greater than 0"},
		"two bundles":                  {issued + "caBundle: {secretRef: {name: a}, configMapRef: {name: a}}", "spec.caBundle", "give exactly one of secretRef and configMapRef"},

		"no client id":             {"provider: google\nclient: {}", "spec.client", "give exactly one of id and idSecretRef"},
		"two client ids":           {"provider: google\nclient: {id: x, idSecretRef: {name: x}}", "spec.client", "give exactly one of id and idSecretRef"},
		"a public client's secret": {"provider: google\nclient: {id: x, authentication: None, secretRef: {name: x}}", "spec.client", "authentication None is a public client and takes no secretRef"},
		"no key":                   {"provider: google\nclient: {id: x, authentication: PrivateKeyJWT}", "spec.client", "authentication ClientSecretBasic, ClientSecretPost, PrivateKeyJWT and TLS need secretRef"},
		"no certificate":           {"provider: google\nclient: {id: x, authentication: TLS}", "spec.client", "PrivateKeyJWT and TLS need secretRef"},
		"no ServiceAccount":        {"provider: google\nclient: {id: x, authentication: ServiceAccountToken, assertion: {audience: x}}", "spec.client", "authentication ServiceAccountToken needs assertion.serviceAccountName"},
		"two audiences":            {"provider: google\nclient: {id: x, assertion: {audience: x, audienceFrom: Issuer}}", "spec.client.assertion", oneAudience},
	}
}

// list is a status check by list.
func list(members string) string {
	return issued + "statusCheck: {type: ConnectionList, connectionList: {" + members + "}}"
}

func exchange(source string) string {
	return "grant: {type: TokenExchange, tokenExchange: {subjectToken: {" + source + "}}}"
}

func extension(parameter string) string {
	return "grant: {type: Extension, extension: {grantType: x, parameters: [{" + parameter + "}]}}"
}

func signed(members string) string {
	return "grant: {type: JWTBearer, jwtBearer: {signed: {keySecretRef: {name: k}, " + members + "}}}"
}

// refusedConnections break one rule each.
func refusedConnections() map[string]refusal {
	return map[string]refusal{
		"a code of another type":        {"grant: {type: DeviceCode, authorizationCode: {}}", "spec.grant", "authorizationCode goes with type: AuthorizationCode"},
		"a verifier without code":       {"grant: {authorizationCode: {codeVerifierSecretRef: {name: c}}}", "spec.grant.authorizationCode", "codeVerifierSecretRef and redirectURL belong to the code: set codeSecretRef too"},
		"a code's relative redirect":    {"grant: {authorizationCode: {codeSecretRef: {name: c}, redirectURL: x}}", "spec.grant.authorizationCode.redirectURL", "must be an absolute URL"},
		"an import of nothing":          {"grant: {type: RefreshToken}", "spec.grant", "type: RefreshToken needs refreshToken, and refreshToken goes with no other type"},
		"credentials of another type":   {"grant: {clientCredentials: {}}", "spec.grant", "clientCredentials goes with type: ClientCredentials"},
		"a device code of another type": {"grant: {deviceCode: {}}", "spec.grant", "deviceCode goes with type: DeviceCode"},

		"no assertion":               {"grant: {type: JWTBearer}", "spec.grant", "type: JWTBearer needs jwtBearer, and jwtBearer goes with no other type"},
		"an assertion by default":    {"grant: {jwtBearer: {assertionSecretRef: {name: a}}}", "spec.grant", "jwtBearer goes with no other type"},
		"an empty assertion":         {"grant: {type: JWTBearer, jwtBearer: {}}", "spec.grant.jwtBearer", "give exactly one of assertionSecretRef, serviceAccountToken and signed"},
		"two assertions":             {"grant: {type: JWTBearer, jwtBearer: {assertionSecretRef: {name: a}, serviceAccountToken: {name: a, audience: x}}}", "spec.grant.jwtBearer", "give exactly one of assertionSecretRef, serviceAccountToken and signed"},
		"two audiences":              {signed("audience: x, audienceFrom: TokenURL"), "spec.grant.jwtBearer.signed", oneAudience},
		"a claim of the operator's":  {signed("claims: {exp: '1'}"), "spec.grant.jwtBearer.signed.claims", "iss, sub, aud, exp, iat, nbf and jti are set by the operator"},
		"no exchange":                {"grant: {type: TokenExchange}", "spec.grant", "type: TokenExchange needs tokenExchange, and tokenExchange goes with no other type"},
		"no subject token":           {exchange("type: x"), "spec.grant.tokenExchange.subjectToken", oneTokenSource},
		"two subject tokens":         {exchange("secretKeyRef: {name: a}, connectionRef: {name: a}"), "spec.grant.tokenExchange.subjectToken", oneTokenSource},
		"no actor token":             {strings.Replace(exchange("connectionRef: {name: a}"), "subjectToken", "actorToken: {}, subjectToken", 1), "spec.grant.tokenExchange.actorToken", oneTokenSource},
		"no extension":               {"grant: {type: Extension}", "spec.grant", "type: Extension needs extension, and extension goes with no other type"},
		"an extension of the rest":   {"grant: {type: Extension, extension: {grantType: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}}", "spec.grant.extension.grantType", "this grant type has a type of its own: use grant.type"},
		"an extension by refresh":    {"grant: {type: Extension, extension: {grantType: refresh_token}}", "spec.grant.extension.grantType", "use grant.type"},
		"a parameter with nothing":   {extension("name: a"), "spec.grant.extension.parameters[0]", "give exactly one of value, secretKeyRef and connectionRef"},
		"a parameter with two":       {extension("name: a, value: '', connectionRef: {name: a}"), "spec.grant.extension.parameters[0]", "give exactly one of value, secretKeyRef and connectionRef"},
		"a parameter without key":    {extension("name: a, secretKeyRef: {name: a}"), "spec.grant.extension.parameters[0]", "secretKeyRef.key is required"},
		"a parameter of the client":  {extension("name: client_assertion, value: x"), "spec.grant.extension.parameters[0].name", "grant_type, client_id, client_secret, client_assertion, client_assertion_type, scope, code, refresh_token and device_code are set by the operator"},
		"the cluster's own Secret":   {"secret: {type: bootstrap.kubernetes.io/token}", "spec.secret.type", "kubernetes.io/service-account-token and bootstrap.kubernetes.io/token give access to the cluster and are refused"},
		"a refresh in days":          {"refresh: {before: 1d}", "spec.refresh.before", "must be a duration such as 10m or 1h30m, or a percentage from 1% to 99%"},
		"a refresh beyond all years": {"refresh: {before: 99999999999999h}", "spec.refresh.before", ""},
	}
}

// TestEveryRule breaks each rule of the schema at least once, one at a time: the API server names the field and says what
// the rule says, and nothing else.
func TestEveryRule(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	said := &messages{}
	// Run returns when all in it has ended.
	t.Run("applications", func(t *testing.T) {
		all := refusedApplications()
		maps.Copy(all, refusedWebhooks())
		for name, test := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				said.refused(t, applicationYAML(t, namespace, "x", test.yaml), test)
			})
		}
	})
	t.Run("connections", func(t *testing.T) {
		for name, test := range refusedConnections() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				said.refused(t, connectionYAML(t, namespace, "x", minimal+test.yaml), test)
			})
		}
	})
	for _, name := range []string{"oauthapplications", "oauthconnections"} {
		for message := range rulesOf(t, schemaOf(t, name)) {
			// Those about changes are in TestConnectionTransitions.
			if !strings.Contains(message, "immutable") && !said.contain(message) {
				t.Errorf("no spec breaks the rule of %s that says: %s", name, message)
			}
		}
	}
}

// messages are what the API server has said so far.
type messages struct {
	mu  sync.Mutex
	all []string
}

func (m *messages) contain(message string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.all, func(said string) bool { return strings.HasSuffix(said, ": "+message) })
}

// refused wants one cause.
func (m *messages) refused(t *testing.T, object *unstructured.Unstructured, want refusal) {
	t.Helper()
	err := plane.Client().Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) {
		t.Fatalf("got %v, want a refusal", err)
	}
	causes := status.ErrStatus.Details.Causes
	if len(causes) != 1 || causes[0].Field != want.field || !strings.Contains(causes[0].Message, want.message) {
		t.Fatalf("got %v, want %s: %s alone", err, want.field, want.message)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, causes[0].Message)
}

func schemaOf(t *testing.T, resource string) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	crd := get(t, "", resource+"."+v1alpha1.GroupName, &apiextensionsv1.CustomResourceDefinition{})
	return *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// rulesOf returns the messages of all rules of a schema's spec.
func rulesOf(t *testing.T, schema apiextensionsv1.JSONSchemaProps) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	var walk func(path string, schema apiextensionsv1.JSONSchemaProps)
	walk = func(path string, schema apiextensionsv1.JSONSchemaProps) {
		for _, rule := range schema.XValidations {
			if rule.Message == "" {
				t.Errorf("%s: rule %s has no message", path, rule.Rule)
			}
			found[rule.Message] = true
		}
		for name, property := range schema.Properties {
			walk(path+"."+name, property)
		}
		if schema.Items != nil && schema.Items.Schema != nil {
			walk(path+"[]", *schema.Items.Schema)
		}
		if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
			walk(path+"{}", *schema.AdditionalProperties.Schema)
		}
	}
	walk("spec", schema.Properties["spec"])
	return found
}

// TestShapesOfGrants is what is refused by types, lengths and patterns, and what is not.
func TestShapesOfGrants(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	application, connection := applicationYAML, func(t *testing.T, namespace, name, spec string) *unstructured.Unstructured {
		t.Helper()
		return connectionYAML(t, namespace, name, minimal+spec)
	}
	tests := map[string]struct {
		object func(t *testing.T, namespace, name, spec string) *unstructured.Unstructured
		yaml   string
		// want are parts of the error; none: it is valid.
		want []string
	}{
		"a preset alone":                  {application, "provider: google\nclient: {id: x, secretRef: {name: x}}", nil},
		"a preset in capitals":            {application, "provider: Google\nclient: {id: x}", []string{"spec.provider", "should match"}},
		"a client id in a Secret":         {application, "provider: google\nclient: {idSecretRef: {name: x}, secretRef: {name: x}}", nil},
		"a private key":                   {application, "provider: google\nclient: {id: x, authentication: PrivateKeyJWT, secretRef: {name: k}, assertion: {algorithm: PS256, keyID: '1', audienceFrom: Issuer}}", nil},
		"an unknown algorithm":            {application, "provider: google\nclient: {id: x, assertion: {algorithm: HS256}}", []string{"spec.client.assertion.algorithm", "EdDSA"}},
		"no algorithm at all":             {application, "provider: google\nclient: {id: x, assertion: {algorithm: none}}", []string{"spec.client.assertion.algorithm"}},
		"a certificate":                   {application, "provider: google\nclient: {id: x, authentication: TLS, secretRef: {name: k}}", nil},
		"a ServiceAccount":                {application, "provider: google\nclient: {id: x, authentication: ServiceAccountToken, assertion: {serviceAccountName: a}}", nil},
		"a ServiceAccount without name":   {application, "provider: google\nclient: {id: x, authentication: ServiceAccountToken, assertion: {serviceAccountName: ''}}", []string{"spec.client.assertion.serviceAccountName"}},
		"a tenant's host":                 {application, clientYAML + "endpoints: {tokenURL: 'https://{tenant}.example.com/{realm}/token?x={y}'}", nil},
		"a captured base":                 {application, issued + "apiBaseURL: '{instance_url}/services'", nil},
		"a path with an @":                {application, issued + "endpoints: {userInfoURL: 'https://a.example.com/users/@me?x=@'}", nil},
		"an issuer with a tenant":         {application, clientYAML + "issuerURL: 'https://{tenant}.example.com'", nil},
		"plain http, which a flag allows": {application, clientYAML + "endpoints: {tokenURL: 'http://127.0.0.1:8080/token'}", nil},
		"a list at another server":        {application, list("url: 'https://{region}.example.com/x', subject: $.id"), nil},
		"a list with an @":                {application, list("url: /users/@me/x, subject: $.id"), nil},
		"a list without subject":          {application, list("url: /x"), []string{"spec.statusCheck.connectionList.subject", "Required"}},
		"a list of the preset's":          {application, "provider: increase\n" + clientYAML + "statusCheck: {type: ConnectionList, probe: {path: /me}}", nil},
		"the shortest interval":           {application, issued + "statusCheck: {type: Probe, interval: 60s}", nil},
		"an interval as Go writes it":     {application, issued + "statusCheck: {type: Probe, interval: 1h0m0s}", nil},
		"an interval without unit":        {application, issued + "statusCheck: {type: Probe, interval: 3600}", []string{"spec.statusCheck.interval", "string"}},
		"the type of the preset's check":  {application, issued + "statusCheck: {interval: 1h}", nil},
		"statuses that are no refusals":   {application, issued + "statusCheck: {type: Probe, probe: {inactiveStatuses: [500]}}", []string{"spec.statusCheck.probe.inactiveStatuses[0]", "499"}},
		"a revocation with body":          {application, issued + "revocation: {method: DELETE, format: JSON, authentication: Bearer, parameters: [{name: t, value: '{token}'}], tokens: [AccessToken]}", nil},
		"a revocation without body":       {application, issued + "revocation: {parameters: []}", nil},
		"a revocation by GET":             {application, issued + "revocation: {method: GET}", []string{"spec.revocation.method", "DELETE"}},
		"a parameter without value":       {application, issued + "revocation: {parameters: [{name: t}]}", []string{"spec.revocation.parameters[0].value", "Required"}},
		"an error of no standard":         {application, issued + "tokenResponse: {errorCodes: {bad: bad_grant}}", []string{"spec.tokenResponse.errorCodes.bad", "invalid_grant"}},
		"a lifetime":                      {application, issued + "tokenResponse: {defaultLifetime: 1h30m}", nil},
		"a life without end":              {application, issued + "tokenResponse: {defaultLifetime: Never}", nil},
		"an input twice":                  {application, issued + "inputs: [{name: a}, {name: a}]", []string{"spec.inputs[1]", "Duplicate"}},
		"an input with a hyphen":          {application, issued + "inputs: [{name: my-tenant}]", []string{"spec.inputs[0].name", "should match"}},
		"a default of the enum":           {application, issued + "inputs: [{name: region, enum: [eu, us], default: eu}]", nil},
		"an empty default":                {application, issued + "inputs: [{name: region, default: ''}]", nil},
		"a parameter that is left out":    {application, "provider: google\n" + clientYAML + "authorizationParameters: {prompt: ''}", nil},
		"a name that is left out":         {application, issued + "authorizationParameterNames: {response_type: ''}", nil},
		"a header with a line break":      {application, issued + `apiHeaders: [{name: "X\nY", value: x}]`, []string{"spec.apiHeaders[0].name", "should match"}},
		"a Secret's header":               {application, issued + "tokenRequest: {headers: [{name: Authorization, prefix: 'Bearer ', secretKeyRef: {key: api_key}}]}", nil},
		"a Secret's header without key":   {application, issued + "tokenRequest: {headers: [{name: Authorization, secretKeyRef: {name: x}}]}", []string{"secretKeyRef.key", "Required"}},
		"hosts":                           {application, issued + "allowedHosts: ['*.example.com', api.example.org]", nil},
		"all hosts":                       {application, issued + "allowedHosts: ['*']", []string{"spec.allowedHosts[0]", "should match"}},
		"a format of its own":             {application, issued + "tokenRequest: {format: XML}", []string{"spec.tokenRequest.format", "JSON"}},
		"grants of other namespaces":      {application, issued + "allowedGrantTypes: [DeviceCode, JWTBearer, TokenExchange, Extension]", nil},

		"a device code":                    {connection, "grant: {type: DeviceCode}", nil},
		"a device code in full":            {connection, "grant: {type: DeviceCode, deviceCode: {}}", nil},
		"a device code with settings":      {connection, "grant: {type: DeviceCode, deviceCode: {interval: 5s}}", []string{"spec.grant.deviceCode.interval", "unknown field"}},
		"an assertion":                     {connection, "grant: {type: JWTBearer, jwtBearer: {assertionSecretRef: {name: a}}}", nil},
		"an assertion of a ServiceAccount": {connection, "grant: {type: JWTBearer, jwtBearer: {serviceAccountToken: {name: a, audience: x}}}", nil},
		"an assertion for nobody":          {connection, "grant: {type: JWTBearer, jwtBearer: {serviceAccountToken: {name: a}}}", []string{"serviceAccountToken.audience", "Required"}},
		"an assertion for an empty name":   {connection, "grant: {type: JWTBearer, jwtBearer: {serviceAccountToken: {name: a, audience: ''}}}", []string{"serviceAccountToken.audience"}},
		"a signed assertion":               {connection, signed("algorithm: ES256, issuer: i, subject: s, audience: a, claims: {scope: '{scope}'}"), nil},
		"an assertion without key":         {connection, "grant: {type: JWTBearer, jwtBearer: {signed: {issuer: x}}}", []string{"signed.keySecretRef", "Required"}},
		"an exchange of a Secret":          {connection, exchange("secretKeyRef: {name: a}, type: 'urn:ietf:params:oauth:token-type:id_token'"), nil},
		"an exchange of a connection":      {connection, exchange("connectionRef: {name: a}"), nil},
		"an exchange with an actor":        {connection, "grant: {type: TokenExchange, tokenExchange: {subjectToken: {connectionRef: {name: a}}, actorToken: {serviceAccountToken: {name: a, audience: x}}, audience: [a, b], resource: ['https://a.example.com']}}", nil},
		"an exchange of nothing":           {connection, "grant: {type: TokenExchange, tokenExchange: {}}", []string{"tokenExchange.subjectToken", "Required"}},
		"a connection elsewhere":           {connection, exchange("connectionRef: {name: a, namespace: b}"), []string{"connectionRef.namespace", "unknown field"}},
		"a ServiceAccount elsewhere":       {connection, exchange("serviceAccountToken: {name: a, audience: x, namespace: b}"), []string{"serviceAccountToken.namespace", "unknown field"}},
		"an extension":                     {connection, extension("name: production_token, connectionRef: {name: production}"), nil},
		"an extension without parameters":  {connection, "grant: {type: Extension, extension: {grantType: x}}", nil},
		"a parameter with an empty value":  {connection, extension("name: a, value: ''"), nil},
		"a parameter of a Secret":          {connection, extension("name: a, secretKeyRef: {name: a, key: k}"), nil},
		"a parameter twice":                {connection, extension("name: a, value: x}, {name: a, value: y"), []string{"parameters[1]", "Duplicate"}},
		"an extension of no type":          {connection, "grant: {type: Extension, extension: {}}", []string{"extension.grantType", "Required"}},
		"inputs":                           {connection, "inputs: {tenant: acme}", nil},
		"an input of half a kilobyte":      {connection, "inputs: {tenant: " + strings.Repeat("a", 512) + "}", []string{"spec.inputs.tenant", "256"}},
		"a template":                       {connection, "secret: {type: kubernetes.io/dockerconfigjson, template: {metadata: {labels: {a: b}, annotations: {a: b}}, data: {.dockerconfigjson: '{{ .AccessToken }}'}}}", nil},
		"a template of 17 KiB":             {connection, "secret: {template: {data: {a: " + strings.Repeat("a", 17<<10) + "}}}", []string{"spec.secret.template.data.a", "16384"}},
		"a template of a name":             {connection, "secret: {template: {metadata: {name: x}}}", []string{"template.metadata.name", "unknown field"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := test.object(t, namespace, "x", test.yaml)
			err := plane.Client().Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
			if len(test.want) > 0 {
				mentions(t, err, test.want...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			understood(t, object)
		})
	}
}

// understood wants the operator to read what the API server has accepted, and to lose nothing of it: one object that it
// cannot read would stop its whole watch.
func understood(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	typed := map[string]client.Object{"OAuthApplication": &v1alpha1.OAuthApplication{}, "OAuthConnection": &v1alpha1.OAuthConnection{}}[object.GetKind()]
	content, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, typed); err != nil {
		t.Fatalf("the operator cannot read it: %v", err)
	}
	back, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		t.Fatal(err)
	}
	got, want := canonical(t, back["spec"]), canonical(t, object.Object["spec"])
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the operator reads\n%v of\n%v", got, want)
	}
}

// canonical takes away the difference between kinds of numbers, and between ways to write a duration.
func canonical(t *testing.T, spec any) any {
	t.Helper()
	content, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatal(err)
	}
	if check, ok := value["statusCheck"].(map[string]any); ok {
		delete(check, "interval")
	}
	return value
}

// TestPresetsAreApplications writes each preset out as an application of a user's: a preset is nothing that a user could
// not write.
func TestPresetsAreApplications(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	catalogue, err := providers.LoadCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	presets := catalogue.Presets()
	if len(presets) < 40 {
		t.Errorf("there are %d presets", len(presets))
	}
	for _, preset := range presets {
		t.Run(preset.Name, func(t *testing.T) {
			t.Parallel()
			for name, spec := range map[string]v1alpha1.OAuthApplicationSpec{
				"by name":     {Provider: preset.Name, Client: v1alpha1.ClientSpec{ID: "x", SecretRef: &v1alpha1.SecretKeyReference{Name: "x"}}},
				"written out": *preset.Spec.DeepCopy(),
			} {
				spec.Client.ID = "x"
				if spec.Client.Authentication != v1alpha1.ClientNone {
					spec.Client.SecretRef = &v1alpha1.SecretKeyReference{Name: "x"}
				}
				app := &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: preset.Name}, Spec: spec}
				if err := plane.Client().Create(t.Context(), app, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestManagersOfAnApplication has a platform's policy add a header, a parameter and an input to a team's.
func TestManagersOfAnApplication(t *testing.T) {
	t.Parallel()
	namespace := plane.Namespace(t)
	apply := func(manager, spec string) error {
		object := applicationYAML(t, namespace, "x", spec)
		return plane.Client().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(manager))
	}
	const parts = "apiHeaders: [{name: X-%[1]s, value: a}]\ntokenRequest: {parameters: [{name: p%[1]s, value: a}]}\ninputs: [{name: i%[1]s}]\n" +
		"tokenResponse: {capture: [{name: c%[1]s, path: $.a}], errorCodes: {e%[1]s: invalid_grant}}\nauthorizationParameters: {a%[1]s: x}\n"
	for _, step := range []struct{ manager, spec string }{
		{"team", issued + fmt.Sprintf(parts, "team")},
		{"platform", issued + fmt.Sprintf(parts, "platform")},
	} {
		if err := apply(step.manager, step.spec); err != nil {
			t.Fatalf("%s: %v", step.manager, err)
		}
	}
	both := get(t, namespace, "x", &v1alpha1.OAuthApplication{}).Spec
	if len(both.APIHeaders) != 2 || len(both.TokenRequest.Parameters) != 2 || len(both.Inputs) != 2 ||
		len(both.TokenResponse.Capture) != 2 || len(both.TokenResponse.ErrorCodes) != 2 || len(both.AuthorizationParameters) != 2 {
		t.Errorf("what two managers wrote is %+v", both)
	}
	if err := apply("platform", issued); err != nil {
		t.Fatal(err)
	}
	left := get(t, namespace, "x", &v1alpha1.OAuthApplication{}).Spec
	if len(left.APIHeaders) != 1 || left.APIHeaders[0].Name != "X-team" || len(left.Inputs) != 1 || len(left.TokenResponse.ErrorCodes) != 1 {
		t.Errorf("what the team wrote is now %+v", left)
	}
	if err := apply("platform", issued+"apiHeaders: [{name: X-team, value: b}]"); !apierrors.IsConflict(err) {
		t.Errorf("the team's header can be taken over: %v", err)
	}
}

// TestKindsCanBeApplied wants `kubectl apply` to manage: it keeps a copy of what it applied in an annotation.
func TestKindsCanBeApplied(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"oauthapplications", "oauthconnections"} {
		crd := get(t, "", name+"."+v1alpha1.GroupName, &apiextensionsv1.CustomResourceDefinition{})
		for _, condition := range crd.Status.Conditions {
			if condition.Type == apiextensionsv1.NonStructuralSchema {
				t.Errorf("%s: the schema is not structural: %s", name, condition.Message)
			} else if condition.Status != apiextensionsv1.ConditionTrue {
				t.Errorf("%s: %s: %s", name, condition.Type, condition.Message)
			}
		}
		content, err := os.ReadFile(filepath.Join(plane.Root, "config", "crd", "bases", v1alpha1.GroupName+"_"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		document, err := yaml.YAMLToJSON(content)
		if err != nil {
			t.Fatal(err)
		}
		if len(document) > 192<<10 {
			t.Errorf("%s has %d bytes; annotations may have 256 KiB in all", name, len(document))
		}
	}
}
