// SPDX-License-Identifier: Apache-2.0

//go:build browser

package browser

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
	"github.com/oauth-operator/oauth-operator/test/servers/fositeserver"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// The accounts that people have at the provider.
const (
	alice = "alice"
	bob   = "bob"
)

// clientID and clientSecret are those of every application here.
const (
	clientID     = "crm"
	clientSecret = "crm-client-secret"
)

// world is the product as it runs behind an Ingress, but for the Ingress: a control plane, and the controller and the gateway
// as processes of their own, under the roles of the installation. All of it speaks TLS.
type world struct {
	plane *testenv.Environment
	// external is the gateway's address.
	external string
	// certificate of the gateway, and its key, are files.
	certificate, key string

	binary, directory   string
	controller, gateway *program.Process
	port, probes        int
	kubeconfigs         map[string]string
	ends                []func() error
}

// newWorld starts everything, or ends what it has started.
func newWorld(ctx context.Context) (w *world, err error) {
	w = &world{kubeconfigs: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.end())
		}
	}()
	if w.directory, err = os.MkdirTemp("", "browser-"); err != nil {
		return w, fmt.Errorf("make a directory: %w", err)
	}
	w.ends = append(w.ends, func() error { return os.RemoveAll(w.directory) })
	if w.port, err = program.FreePort(); err != nil {
		return w, err
	}
	if w.probes, err = program.FreePort(); err != nil {
		return w, err
	}
	w.external = fmt.Sprintf("https://localhost:%d", w.port)
	if err := w.writeCertificate(); err != nil {
		return w, err
	}
	plane, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		return w, err
	}
	w.plane, w.ends = plane, append(w.ends, stop)
	if w.binary, err = program.Build(ctx, plane.Root, w.directory); err != nil {
		return w, err
	}
	for name, as := range map[string]func() (*rest.Config, error){
		"controller": func() (*rest.Config, error) { return plane.Controller(ctx) },
		"gateway":    func() (*rest.Config, error) { return plane.Gateway(ctx, testenv.OperatorNamespace) },
	} {
		config, err := as()
		if err != nil {
			return w, err
		}
		w.kubeconfigs[name] = filepath.Join(w.directory, name+".kubeconfig")
		if err := testenv.WriteKubeconfig(config, w.kubeconfigs[name]); err != nil {
			return w, err
		}
	}
	w.ends = append(w.ends, w.stop)
	return w, w.start(ctx)
}

// end ends everything in the reverse order.
func (w *world) end() error {
	var errs []error
	for _, end := range slices.Backward(w.ends) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// writeCertificate makes the gateway a certificate that nobody vouches for; the browser is told of its key.
func (w *world) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), DNSNames: []string{"localhost"},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	w.certificate, w.key = filepath.Join(w.directory, "tls.crt"), filepath.Join(w.directory, "tls.key")
	return errors.Join(
		os.WriteFile(w.certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600),
		os.WriteFile(w.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// trusted is the hash of the gateway's key (SPKI), and of that of every provider, which is always the same.
func (w *world) trusted() ([]string, error) {
	own, err := os.ReadFile(w.certificate)
	if err != nil {
		return nil, err
	}
	provider, err := fositeserver.Start(harness.Options{TLS: true})
	if err != nil {
		return nil, err
	}
	defer provider.Close()
	var hashes []string
	for _, content := range [][]byte{own, provider.CAPEM} {
		block, _ := pem.Decode(content)
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
		hashes = append(hashes, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return hashes, nil
}

// newProvider starts a provider at which alice and bob have accounts, until the test ends.
func (w *world) newProvider(t *testing.T) *fositeserver.Server {
	t.Helper()
	server, err := fositeserver.Start(harness.Options{
		Clients: []harness.Client{{
			ID: clientID, Secret: clientSecret,
			RedirectURIs: []string{w.external + v1alpha1.PathCallback},
		}},
		Accounts: []string{alice, bob}, RequirePKCE: true, TLS: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// plainURL is the gateway's address where it speaks no TLS.
func (w *world) plainURL() string { return fmt.Sprintf("http://localhost:%d", w.port) }

// start starts controller and gateway at the present address.
func (w *world) start(ctx context.Context) error {
	if err := w.startController(); err != nil {
		return err
	}
	if err := w.mountKeys(ctx); err != nil {
		return errors.Join(err, errors.New(w.controller.LastWords()))
	}
	if err := w.startGateway(); err != nil {
		return err
	}
	if err := w.awaitGateway(ctx); err != nil {
		return errors.Join(err, errors.New(w.gateway.LastWords()))
	}
	return nil
}

// stop ends both, as far as they run.
func (w *world) stop() error {
	return errors.Join(w.stopGateway(), w.stopController())
}

func (w *world) startController() (err error) {
	w.controller, err = program.Start(w.binary, filepath.Join(w.directory, "controller.log"), nil,
		"controller", "--kubeconfig="+w.kubeconfigs["controller"], "--namespace="+testenv.OperatorNamespace, "--external-url="+w.external,
		"--allow-private-networks=127.0.0.0/8", "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0")
	return err
}

func (w *world) stopController() error {
	if w.controller == nil {
		return nil
	}
	stopping := w.controller
	w.controller = nil
	return stopping.Stop()
}

func (w *world) keys() string { return filepath.Join(w.directory, "keys") }

// mountKeys waits for the Secret with the gateway's keys, and writes it where a kubelet would.
func (w *world) mountKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	secret := &corev1.Secret{}
	err := testenv.Wait(ctx, func() error {
		if err := w.plane.Client().Get(ctx, client.ObjectKey{Namespace: testenv.OperatorNamespace, Name: v1alpha1.GatewayKeysSecret}, secret); err != nil {
			return err
		}
		if len(secret.Data[keyset.FileSealing]) == 0 {
			return errors.New("no key for sealing yet")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for the gateway's keys: %w", err)
	}
	if err := os.MkdirAll(w.keys(), 0o700); err != nil {
		return err
	}
	for name, content := range secret.Data {
		if err := os.WriteFile(filepath.Join(w.keys(), name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) startGateway() (err error) {
	arguments := []string{
		"gateway", "--kubeconfig=" + w.kubeconfigs["gateway"], "--namespace=" + testenv.OperatorNamespace, "--external-url=" + w.external,
		"--keys-dir=" + w.keys(), "--trusted-proxies=127.0.0.1",
		fmt.Sprintf("--bind-address=127.0.0.1:%d", w.port), fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", w.probes),
	}
	if strings.HasPrefix(w.external, "https:") {
		arguments = append(arguments, "--tls-cert-file="+w.certificate, "--tls-private-key-file="+w.key)
	}
	w.gateway, err = program.Start(w.binary, filepath.Join(w.directory, "gateway.log"), nil, arguments...)
	return err
}

func (w *world) stopGateway() error {
	if w.gateway == nil {
		return nil
	}
	stopping := w.gateway
	w.gateway = nil
	return stopping.Stop()
}

func (w *world) awaitGateway(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return testenv.Wait(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", w.probes), nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the gateway is not ready: %s", response.Status)
		}
		return nil
	})
}

// newBroker starts a server that sends people on to a provider at once, as those do that let somebody else sign people in. It is
// of another site than the provider, whose address is 127.0.0.1.
func (w *world) newBroker(t *testing.T, provider *fositeserver.Server) (address string) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(w.certificate, w.key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", provider.URL+"/authorize?"+r.URL.RawQuery)
		rw.WriteHeader(http.StatusFound)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// must fails the test, with what the processes have said last.
func (w *world) must(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for name, p := range map[string]*program.Process{"controller": w.controller, "gateway": w.gateway} {
		if p != nil {
			t.Logf("the end of the log of the %s:\n%s", name, p.LastWords())
		}
	}
	t.Fatal(err)
}

// subject is an application and a connection that waits for a person, in a namespace and with a provider of their own.
type subject struct {
	*world

	t         *testing.T
	namespace string
	provider  *fositeserver.Server
}

const connectionName = "crm"

func (w *world) subject(t *testing.T) *subject {
	t.Helper()
	return w.subjectAt(t, func(*fositeserver.Server) *v1alpha1.Endpoints { return nil })
}

// subjectAt is a subject whose application has endpoints of its own beside those that its provider names.
func (w *world) subjectAt(t *testing.T, endpoints func(*fositeserver.Server) *v1alpha1.Endpoints) *subject {
	t.Helper()
	s := &subject{world: w, t: t, namespace: w.plane.Namespace(t), provider: w.newProvider(t)}
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "crm"},
		Spec: v1alpha1.OAuthApplicationSpec{
			DisplayName: "Example CRM",
			IssuerURL:   s.provider.URL,
			Endpoints:   endpoints(s.provider),
			Client:      v1alpha1.ClientSpec{ID: clientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
			Scopes:      []v1alpha1.Scope{"openid", "api:read", "offline_access"},
			CABundle:    &v1alpha1.CABundle{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "provider-ca"}},
		},
	}
	connection := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: connectionName},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}, DisplayName: "Reports for the board",
			Secret: &v1alpha1.TokenSecretSpec{Name: tokenSecret},
		},
	}
	s.create(
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "crm-client"},
			StringData: map[string]string{v1alpha1.DefaultClientSecretKey: clientSecret},
		},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "provider-ca"},
			Data:       map[string]string{"ca.crt": string(s.provider.CAPEM)},
		}, app, connection)
	return s
}

const tokenSecret = "crm-token"

func (s *subject) create(objects ...client.Object) {
	s.t.Helper()
	for _, object := range objects {
		if err := s.plane.Client().Create(s.t.Context(), object); err != nil {
			s.t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func (s *subject) get() (*v1alpha1.OAuthConnection, error) {
	c := &v1alpha1.OAuthConnection{}
	return c, s.plane.Client().Get(context.Background(), client.ObjectKey{Namespace: s.namespace, Name: connectionName}, c)
}

// wait waits until the connection is right.
func (s *subject) wait(right func(*v1alpha1.OAuthConnection) error) *v1alpha1.OAuthConnection {
	s.t.Helper()
	var c *v1alpha1.OAuthConnection
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.must(s.t, testenv.Wait(ctx, func() (err error) {
		if c, err = s.get(); err != nil {
			return err
		}
		if err := right(c); err != nil {
			status := c.Status
			return fmt.Errorf("%w; status is %s of %q, last authorization %+v, conditions %+v", err, status.Phase, status.Subject, status.LastAuthorization, status.Conditions)
		}
		return nil
	}))
	return c
}

// link waits for the address that a person is to open; another than those given.
func (s *subject) link(not ...string) string {
	s.t.Helper()
	return s.wait(func(c *v1alpha1.OAuthConnection) error {
		if link := c.Status.AuthorizationURL; link == "" || slices.Contains(not, link) {
			return errors.New("want a new link")
		}
		return nil
	}).Status.AuthorizationURL
}

// secret is the workload's; nil: there is none.
func (s *subject) secret() *corev1.Secret {
	s.t.Helper()
	secret := &corev1.Secret{}
	err := s.plane.Client().Get(context.Background(), client.ObjectKey{Namespace: s.namespace, Name: tokenSecret}, secret)
	if client.IgnoreNotFound(err) != nil {
		s.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return secret
}

// token is the one in the workload's Secret; empty without a Secret.
func (s *subject) token() string {
	s.t.Helper()
	if secret := s.secret(); secret != nil {
		return string(secret.Data[v1alpha1.SecretKeyAccessToken])
	}
	return ""
}

// connected wants the connection to work, with a token of an account in the Secret, and returns the token.
func (s *subject) connected(account string) string {
	s.t.Helper()
	s.wait(func(c *v1alpha1.OAuthConnection) error {
		if c.Status.Phase != v1alpha1.ConnectionActive || c.Status.Subject != account || c.Status.AuthorizationURL != "" {
			return fmt.Errorf("want an active connection of %s without a link", account)
		}
		return nil
	})
	token := s.token()
	if token == "" || !s.provider.Introspect(token) {
		s.t.Fatal("the Secret holds no token that works")
	}
	return token
}

// lastFailed wants the last login to have come to nothing for a reason.
func (s *subject) lastFailed(reason string) {
	s.t.Helper()
	s.wait(func(c *v1alpha1.OAuthConnection) error {
		if last := c.Status.LastAuthorization; last == nil || last.Outcome != v1alpha1.AuthorizationFailed || last.Reason != reason {
			return fmt.Errorf("want a login that failed with %s", reason)
		}
		return nil
	})
	s.event(reason)
}

// event waits for an event of the connection.
func (s *subject) event(reason string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.must(s.t, testenv.Wait(ctx, func() error {
		var events corev1.EventList
		if err := s.plane.Client().List(ctx, &events, client.InNamespace(s.namespace)); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, e := range events.Items {
			if seen[e.Reason] = true; e.Reason == reason && e.InvolvedObject.Name == connectionName {
				return nil
			}
		}
		return fmt.Errorf("no event %s; there are: %q", reason, slices.Sorted(maps.Keys(seen)))
	}))
}

// nothingStored wants no Secret.
func (s *subject) nothingStored() {
	s.t.Helper()
	if s.secret() != nil {
		s.t.Error("there is a Secret")
	}
}

// over ends the grant at the provider, and waits for the link with which a person can authorize again.
func (s *subject) over() (link string) {
	s.t.Helper()
	if err := s.provider.RevokeGrant(s.token()); err != nil {
		s.t.Fatal(err)
	}
	c, err := s.get()
	if err != nil {
		s.t.Fatal(err)
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRefreshRequestedAt, time.Now().Format(time.RFC3339Nano))
	if err := s.plane.Client().Patch(s.t.Context(), c, client.RawPatch(client.Merge.Type(), []byte(patch))); err != nil {
		s.t.Fatal(err)
	}
	return s.link()
}
