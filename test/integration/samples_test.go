// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
)

// samplesDirectory is relative to the root of the repository.
const samplesDirectory = "config/samples"

// exampleIssuer is the issuer of the samples.
const exampleIssuer = "https://login.example.com"

// shownClients are the clients of the samples at a provider that follows the standards.
func shownClients() []harness.Client {
	clients := []harness.Client{harness.DefaultClient()}
	for _, id := range []string{"payroll", "warehouse", "ledger", "post"} {
		clients = append(clients, harness.Client{ID: id, Secret: "client-secret-of-" + id})
	}
	return append(clients,
		harness.Client{ID: "screen"}, harness.Client{ID: "public", RedirectURIs: []string{"https://crm.example.com/callback"}},
		harness.Client{ID: "Ov23liEXAMPLE", Secret: "client-secret-of-github", Scopes: []string{"repo"}},
		harness.Client{ID: "signed", AuthMethod: hostile.PrivateKeyJWT}, harness.Client{ID: "keyless", AuthMethod: hostile.PrivateKeyJWT},
	)
}

// gallery is where the samples are applied: a world with one provider, where connection crm has a token already.
type gallery struct {
	*world
	server *hostile.Server
	key    *ecdsa.PrivateKey
}

// TestSamples applies the samples of config/samples that stand alone, each as a user would but for the address of the
// provider, and waits for what they promise.
func TestSamples(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	g := &gallery{world: w, server: w.hostile(t, harness.Options{Clients: shownClients()})}
	for _, c := range shownClients() {
		if c.Secret != "" {
			w.mustNotShow(c.Secret)
		}
	}
	g.server.SetDevicePolling(time.Second, 15*time.Minute)
	var err error
	if g.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	app, clientSecret := application(w.namespace, "crm", g.server.URL)
	create(t, app, clientSecret, connection(w.namespace, "crm", "crm"), codeSecret(t, g.server, w.namespace, "crm"))
	tests := map[string]func(*testing.T, *gallery){
		"grants/device-code":                          showDeviceCode,
		"grants/jwt-bearer":                           showJWTBearer,
		"grants/token-exchange":                       showTokenExchange,
		"grants/extension":                            showExtension,
		"client-authentication/secret-post":           showSecretPost,
		"client-authentication/private-key-jwt":       showPrivateKeyJWT,
		"client-authentication/tls":                   showTLS,
		"client-authentication/service-account-token": showServiceAccountToken,
		"client-authentication/public":                showPublic,
		"providers/github":                            showGitHub,
		"providers/increase":                          showIncrease,
		"providers/custom":                            showCustom,
	}
	for name, show := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			show(t, g)
		})
	}
	for _, name := range samplesThatStandAlone(t) {
		if tests[name] == nil {
			t.Errorf("nobody applies sample %s", name)
		}
	}
}

// samplesThatStandAlone are the files of the directories beside the kustomization of config/samples, but for Secret
// templates and the installations with a gateway or an API, which have tests of their own.
func samplesThatStandAlone(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(plane.Root, samplesDirectory, "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		directory, name := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".yaml")
		if !slices.Contains([]string{"secret-templates", "gateway", "api"}, directory) {
			names = append(names, directory+"/"+name)
		}
	}
	return names
}

// objectsIn decodes the documents of a YAML text.
func objectsIn(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// apply creates the objects of a sample in the world's namespace, with a text in place of another one, and changed.
func (g *gallery) apply(t *testing.T, name, old, replacement string, change ...func(*unstructured.Unstructured)) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(plane.Root, samplesDirectory, name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	if old != "" && !strings.Contains(text, old) {
		t.Fatalf("%s does not contain %q", name, old)
	}
	for _, object := range objectsIn(t, strings.ReplaceAll(text, old, replacement)) {
		object.SetNamespace(g.namespace)
		for _, f := range change {
			f(object)
		}
		if err := plane.Client().Create(t.Context(), object, client.FieldValidation("Strict")); err != nil {
			t.Fatal(err)
		}
	}
}

// applyHere is apply with the gallery's server in place of the samples' provider.
func (g *gallery) applyHere(t *testing.T, name string) {
	t.Helper()
	g.apply(t, name, exampleIssuer, g.server.URL)
}

func (g *gallery) give(t *testing.T, name string, data map[string]string) {
	t.Helper()
	create(t, secret(g.namespace, name, data))
}

func (g *gallery) wait(t *testing.T, name string, is ...func(*v1alpha1.OAuthConnection) error) *v1alpha1.OAuthConnection {
	t.Helper()
	return waitConnection(t, g.namespace, name, all(is...))
}

// belongs wants the token in a Secret to be an account's.
func (g *gallery) belongs(t *testing.T, secret, account string) {
	t.Helper()
	if got := g.server.AccountOf(tokenIn(t, g.namespace, secret)); got != account {
		t.Errorf("the token in Secret %s is %q's, want %q's", secret, got, account)
	}
}

// typeCode wants a person to be asked for a code, and types it.
func (g *gallery) typeCode(t *testing.T, name, account string) {
	t.Helper()
	c := g.wait(t, name, phase(v1alpha1.ConnectionAuthorizing), notReady(v1alpha1.ReasonAuthorizationRequired))
	device := c.Status.DeviceAuthorization
	if device == nil || device.VerificationURI != g.server.URL+"/device" {
		t.Fatalf("status.deviceAuthorization is %+v", device)
	}
	if err := g.server.ApproveDevice(device.UserCode, account); err != nil {
		t.Fatal(err)
	}
	g.wait(t, name, phase(v1alpha1.ConnectionActive), isReady)
}

func showDeviceCode(t *testing.T, g *gallery) {
	g.applyHere(t, "grants/device-code")
	g.typeCode(t, "screen", "alice")
	g.belongs(t, "screen-token", "alice")
}

func showJWTBearer(t *testing.T, g *gallery) {
	trusted := hostile.Key{Public: g.key.Public(), Issuer: "payroll-robot", Subject: "robot@example.com", Audience: g.server.URL, ID: "2026-01"}
	if err := g.server.TrustIssuer(trusted); err != nil {
		t.Fatal(err)
	}
	g.give(t, "payroll-client", map[string]string{v1alpha1.DefaultClientSecretKey: "client-secret-of-payroll"})
	g.give(t, "payroll-key", map[string]string{v1alpha1.DefaultPrivateKeyKey: pemOf(t, g.key)})
	g.applyHere(t, "grants/jwt-bearer")
	g.wait(t, "payroll", isReady)
	g.belongs(t, "payroll-token", "robot@example.com")
}

func showTokenExchange(t *testing.T, g *gallery) {
	g.give(t, "warehouse-client", map[string]string{v1alpha1.DefaultClientSecretKey: "client-secret-of-warehouse"})
	g.applyHere(t, "grants/token-exchange")
	g.wait(t, "warehouse", isReady)
	g.belongs(t, "warehouse-token", "user-1")
}

func showExtension(t *testing.T, g *gallery) {
	const tenantKey = "key-of-the-tenant-billing"
	g.mustNotShow(tenantKey)
	g.server.Extend("urn:example:tenant-key", func(r hostile.ExtensionRequest) hostile.Approval {
		account := r.Account(r.Form.Get("on_behalf_of"))
		if r.Form.Get("tenant") != "billing" || r.Form.Get("tenant_key") != tenantKey || account == "" {
			return hostile.Approval{Error: "invalid_grant"}
		}
		return hostile.Approval{Account: "ledger-of-" + account, Scope: r.Form.Get("scope")}
	})
	g.give(t, "ledger-client", map[string]string{v1alpha1.DefaultClientSecretKey: "client-secret-of-ledger"})
	g.give(t, "ledger-tenant", map[string]string{"key": tenantKey})
	g.applyHere(t, "grants/extension")
	g.wait(t, "ledger", isReady)
	g.belongs(t, "ledger-token", "ledger-of-user-1")
}

func showSecretPost(t *testing.T, g *gallery) {
	g.give(t, "post-client", map[string]string{v1alpha1.DefaultClientIDKey: "post", v1alpha1.DefaultClientSecretKey: "client-secret-of-post"})
	g.applyHere(t, "client-authentication/secret-post")
	g.wait(t, "post", isReady)
}

func showPrivateKeyJWT(t *testing.T, g *gallery) {
	if err := g.server.TrustKey("signed", hostile.Key{Public: g.key.Public(), ID: "2026-01", Audience: g.server.URL}); err != nil {
		t.Fatal(err)
	}
	g.give(t, "signed-key", map[string]string{v1alpha1.DefaultPrivateKeyKey: pemOf(t, g.key)})
	g.applyHere(t, "client-authentication/private-key-jwt")
	g.wait(t, "signed", isReady)
}

func showTLS(t *testing.T, g *gallery) {
	server := g.hostile(t, harness.Options{TLS: true, Clients: []harness.Client{{ID: "tls", AuthMethod: hostile.TLSClientAuth}}})
	certificate, encoded := selfSigned(t, g.key)
	if err := server.TrustCertificate("tls", certificate); err != nil {
		t.Fatal(err)
	}
	g.give(t, "tls-client", map[string]string{v1alpha1.DefaultCertificateKey: encoded, v1alpha1.DefaultPrivateKeyKey: pemOf(t, g.key)})
	g.give(t, "tls-ca", map[string]string{v1alpha1.DefaultCAKey: string(server.CAPEM)})
	g.apply(t, "client-authentication/tls", exampleIssuer, server.URL, inApplication(t, "tls", map[string]any{
		"caBundle": map[string]any{"secretRef": map[string]any{"name": "tls-ca"}},
	}))
	g.wait(t, "tls", isReady)
}

// inApplication sets fields of an application's spec.
func inApplication(t *testing.T, name string, fields map[string]any) func(*unstructured.Unstructured) {
	t.Helper()
	return func(object *unstructured.Unstructured) {
		if object.GetKind() != "OAuthApplication" || object.GetName() != name {
			return
		}
		for field, value := range fields {
			if err := unstructured.SetNestedField(object.Object, value, "spec", field); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// showServiceAccountToken gives the controller the rights of the optional component in this namespace alone, where other
// tests of this control plane do not see them.
func showServiceAccountToken(t *testing.T, g *gallery) {
	role := &rbacv1.ClusterRole{}
	content, err := os.ReadFile(filepath.Join(plane.Root, "config/components/service-account-tokens/role.yaml"))
	if err == nil {
		err = yaml.UnmarshalStrict(content, role)
	}
	if err != nil {
		t.Fatal(err)
	}
	create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "tokens"}, Rules: role.Rules},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "tokens"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tokens"},
			Subjects: []rbacv1.Subject{{
				Kind: rbacv1.ServiceAccountKind, Namespace: testenv.OperatorNamespace, Name: testenv.ControllerServiceAccount,
			}},
		})
	issuer, keys := clusterIssuer(t)
	for _, key := range keys {
		err := g.server.TrustKey("keyless", hostile.Key{
			Public: key, Issuer: issuer, Subject: "system:serviceaccount:" + g.namespace + ":keyless", Audience: g.server.URL,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	g.applyHere(t, "client-authentication/service-account-token")
	g.wait(t, "keyless", isReady)
}

// clusterIssuer is what a provider is told of the cluster: issuer and public keys, which are elliptic here.
func clusterIssuer(t *testing.T) (issuer string, keys []*ecdsa.PublicKey) {
	t.Helper()
	var metadata struct{ Issuer string }
	var set struct {
		Keys []struct{ Crv, X, Y string }
	}
	readRaw(t, "/.well-known/openid-configuration", &metadata)
	readRaw(t, "/openid/v1/jwks", &set)
	for _, key := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		y, errY := base64.RawURLEncoding.DecodeString(key.Y)
		const uncompressed = 4
		public, errKey := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{uncompressed}, x, y))
		if err := errors.Join(err, errY, errKey); err != nil {
			t.Fatalf("a key of the cluster, on curve %q: %v", key.Crv, err)
		}
		keys = append(keys, public)
	}
	return metadata.Issuer, keys
}

func readRaw(t *testing.T, path string, into any) {
	t.Helper()
	api, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	content, err := api.RESTClient().Get().AbsPath(path).DoRaw(t.Context())
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func showPublic(t *testing.T, g *gallery) {
	g.applyHere(t, "client-authentication/public")
	g.wait(t, "public", notReady(v1alpha1.ReasonSecretNotFound))
	code, verifier, err := g.server.NewCode("public", "https://crm.example.com/callback", []string{"api:read", "offline_access"}, "")
	if err != nil {
		t.Fatal(err)
	}
	g.give(t, "public-code", map[string]string{v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier})
	g.wait(t, "public", isReady)
}

func showGitHub(t *testing.T, g *gallery) {
	g.server.SetAccount("octocat", hostile.Account{UserInfo: map[string]any{"id": 583231}})
	g.give(t, "github-client", map[string]string{v1alpha1.DefaultClientSecretKey: "client-secret-of-github"})
	g.apply(t, "providers/github", "", "", inApplication(t, "github", map[string]any{
		"endpoints": map[string]any{
			"tokenURL": g.server.URL + "/token", "deviceAuthorizationURL": g.server.URL + "/device_authorization",
			"userInfoURL": g.server.URL + "/userinfo", "revocationURL": g.server.URL + "/revoke",
		},
		"apiBaseURL": g.server.URL,
	}))
	g.typeCode(t, "github", "octocat")
	g.wait(t, "github", func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Subject != "583231" {
			return errors.New("want the subject of the user's profile")
		}
		return nil
	})
}

func showIncrease(t *testing.T, g *gallery) {
	registered := increase.DefaultRegistration()
	registered.ClientID, registered.RedirectURL = "client_id_example", "https://portal.example.com/callback"
	server, err := increase.Start(increase.Options{
		Registrations: []increase.Registration{registered}, APIKey: "key-of-production", SandboxAPIKey: "key-of-the-sandbox", Strict: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for name, key := range map[string]string{"increase-client": "key-of-production", "increase-sandbox-client": "key-of-the-sandbox"} {
		g.mustNotShow(key)
		g.give(t, name, map[string]string{v1alpha1.DefaultClientSecretKey: registered.ClientSecret, "api_key": key})
	}
	at := func(e *increase.Environment) map[string]any {
		return map[string]any{"endpoints": map[string]any{"tokenURL": e.URL + "/oauth/tokens"}, "apiBaseURL": e.URL}
	}
	g.apply(t, "providers/increase", "", "",
		inApplication(t, "increase", at(server.Production)), inApplication(t, "increase-sandbox", at(server.Sandbox)))
	g.wait(t, "increase-sandbox", notReady(v1alpha1.ReasonSourceNotReady))
	code, err := server.Production.NewCode(registered.ClientID, increase.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	g.give(t, "increase-code", map[string]string{v1alpha1.DefaultCodeKey: code})
	g.mustNotShow(code)
	for _, name := range []string{"increase", "increase-sandbox"} {
		g.wait(t, name, isReady, func(c *v1alpha1.OAuthConnection) error {
			if c.Status.ID == "" || c.Status.Subject == "" {
				return errors.New("want to be found in the provider's list")
			}
			return nil
		})
		g.mustNotShow(tokenIn(t, g.namespace, name))
	}
}

// acme is a provider with the habits that config/samples/providers/custom.yaml describes. It refuses what is not exactly so.
type acme struct {
	mu sync.Mutex
	// renewal and token are those that live; wrong is what did not please it.
	renewal, token string
	wrong          []string
	ended          bool
}

const (
	acmeSecret, acmeKey, acmeCode = "client-secret-of-acme", "platform-key-of-acme", "code-of-acme"
	acmeHost                      = "api-eu.acme.example.com"
)

// ServeHTTP has the host of a request as the first step of its path.
func (a *acme) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var body map[string]string
	raw, _ := io.ReadAll(r.Body) // A body that breaks off is not the expected one.
	_ = json.Unmarshal(raw, &body)
	switch r.Method + " " + r.URL.Path {
	case "POST /blue.acme.example.com/token":
		a.issue(w, r, body, map[string]string{
			"grant_type": "authorization_code", "code": acmeCode, "redirect_uri": "https://portal.example.com/callback",
			"app_id": "app-7", "app_secret": acmeSecret, "region": "eu", "lifetime": "7200",
		})
	case "POST /blue.acme.example.com/renew":
		a.issue(w, r, body, map[string]string{
			"grant_type": "refresh_token", "refresh_token": a.renewal, "app_id": "app-7", "app_secret": acmeSecret, "region": "eu",
		})
	case "GET /" + acmeHost + "/v2/me":
		if a.token == "" || r.Header.Get("X-Acme-Token") != a.token || r.Header.Get("Authorization") != "" {
			harness.WriteJSON(w, http.StatusForbidden, map[string]any{"fault": map[string]any{"code": "SESSION_ENDED"}})
			return
		}
		harness.WriteJSON(w, http.StatusOK, map[string]any{"account": map[string]any{"number": 4711}})
	case "DELETE /" + acmeHost + "/v2/session":
		a.ended = r.Header.Get("X-Acme-Token") == a.token && len(raw) == 0
		harness.WriteJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	default:
		a.wrong = append(a.wrong, r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	}
}

func (a *acme) issue(w http.ResponseWriter, r *http.Request, got, want map[string]string) {
	same := r.Header.Get("X-Api-Key") == acmeKey && len(got) == len(want)
	for name, value := range want {
		same = same && got[name] == value
	}
	if !same {
		a.wrong = append(a.wrong, r.URL.Path)
		harness.WriteJSON(w, http.StatusOK, map[string]any{"status": "error", "fault": map[string]any{"code": "CODE_SPENT", "text": "no"}})
		return
	}
	a.token, a.renewal = "token-of-acme-"+rand.Text(), "renewal-of-acme-"+rand.Text()
	harness.WriteJSON(w, http.StatusOK, map[string]any{"status": "ok", "data": map[string]any{
		"token": a.token, "renewal": a.renewal, "valid_until": time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339),
		"permissions": "orders.read,orders.write", "installation": "install-9", "api": acmeHost,
	}})
}

// secrets returns what must not be shown, and what was wrong.
func (a *acme) look() (token, renewal string, wrong []string, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token, a.renewal, slices.Clone(a.wrong), a.ended
}

func showCustom(t *testing.T, g *gallery) {
	provider := &acme{}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	g.mustNotShow(acmeSecret, acmeKey, acmeCode)
	g.give(t, "acme-client", map[string]string{v1alpha1.DefaultClientSecretKey: acmeSecret, "api_key": acmeKey})
	// What stands for a host becomes the first step of the path of the one host that there is.
	g.apply(t, "providers/custom", "https://{", server.URL+"/{")
	g.give(t, "acme-code", map[string]string{v1alpha1.DefaultCodeKey: acmeCode, "region": "eu"})
	g.wait(t, "acme", isReady, is(v1alpha1.ConditionScopesGranted, metav1.ConditionTrue), func(c *v1alpha1.OAuthConnection) error {
		if s := c.Status; s.ID != "install-9" || s.Subject != "4711" || s.AccessTokenExpiresAt == nil {
			return errors.New("want id, subject and expiry")
		}
		return nil
	})
	s := &subject{w: g.world, name: "acme"}
	first, renewal, _, _ := provider.look()
	g.mustNotShow(first, renewal)
	s.wait(t, observed(s.requestRefresh(t)), isReady)
	second, renewal, _, _ := provider.look()
	g.mustNotShow(second, renewal)
	if got := tokenIn(t, g.namespace, "acme-token"); got != second || second == first {
		t.Error("the Secret does not hold the renewed token")
	}
	s.delete(t)
	if _, _, wrong, ended := provider.look(); !ended || len(wrong) > 0 {
		t.Errorf("ended is %t, and these requests were not as described: %q", ended, wrong)
	}
}

func pemOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func selfSigned(t *testing.T, key *ecdsa.PrivateKey) (*x509.Certificate, string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tls"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
