// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

const (
	// patience is how long something may take on a busy machine.
	patience = 30 * time.Second
	// calm is how long nothing may happen to count as nothing.
	calm = 1500 * time.Millisecond
)

// loopback is what the servers of tests need to be reachable.
func loopback() egress.Policy { return egress.Policy{AllowPrivate: []string{"127.0.0.0/8"}} }

// log collects what a controller logs.
type log struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *log) Sync() error { return nil }

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}

// running is a controller in this process.
type running struct {
	Log     *log
	Metrics *prometheus.Registry
	stop    context.CancelFunc
	done    chan error
}

// Stop ends it like SIGTERM does, and returns what Run returned.
func (r *running) Stop() error {
	r.stop()
	return <-r.done
}

// startController runs a controller under the role of the installation until the test ends. It looks at all namespaces,
// so no other may run meanwhile: tests that run in parallel start a world. change may alter its options and the way to
// the API server.
func startController(t *testing.T, change ...func(*controller.Options, *rest.Config)) *running {
	t.Helper()
	config := rest.CopyConfig(installed)
	r := &running{Log: &log{}, Metrics: prometheus.NewRegistry(), done: make(chan error, 1)}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	options := controller.Options{
		Namespace: testenv.OperatorNamespace, MetricsBindAddress: "0", HealthProbeBindAddress: "0", Workers: 8,
		RevocationTimeout: time.Minute, Egress: loopback(), Version: "test", Metrics: r.Metrics,
		Log: zapr.NewLogger(zap.New(zapcore.NewCore(encoder, r.Log, zapcore.DebugLevel))),
	}
	for _, f := range change {
		f(&options, config)
	}
	process, err := controller.New(config, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- process.Run(ctx); close(r.done) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("the controller ended with: %v", err)
		}
		if t.Failed() {
			t.Logf("controller log:\n%s", r.Log)
		}
	})
	return r
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := plane.Client().Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func secret(namespace, name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
}

// application returns an application of the default client at a server, and the Secret with its client secret.
func application(namespace, name, serverURL string, change ...func(*v1alpha1.OAuthApplicationSpec)) (*v1alpha1.OAuthApplication, *corev1.Secret) {
	c := harness.DefaultClient()
	app := &v1alpha1.OAuthApplication{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.OAuthApplicationSpec{
			IssuerURL:   serverURL,
			Client:      v1alpha1.ClientSpec{ID: c.ID, SecretRef: &v1alpha1.SecretKeyReference{Name: name + "-client"}},
			RedirectURL: harness.DefaultRedirectURI,
			Scopes:      []v1alpha1.Scope{"api:read", "offline_access"},
		},
	}
	for _, f := range change {
		f(&app.Spec)
	}
	return app, secret(namespace, name+"-client", map[string]string{v1alpha1.DefaultClientSecretKey: c.Secret})
}

// connection returns one that takes its code from Secret {name}-code.
func connection(namespace, name, application string, change ...func(*v1alpha1.OAuthConnectionSpec)) *v1alpha1.OAuthConnection {
	reference := &v1alpha1.SecretKeyReference{Name: name + "-code"}
	c := &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: application},
			Grant: v1alpha1.GrantSpec{
				Type: v1alpha1.GrantAuthorizationCode,
				AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{
					CodeSecretRef: reference, CodeVerifierSecretRef: reference,
				},
			},
		},
	}
	for _, f := range change {
		f(&c.Spec)
	}
	return c
}

func clientCredentials(spec *v1alpha1.OAuthConnectionSpec) {
	spec.Grant = v1alpha1.GrantSpec{Type: v1alpha1.GrantClientCredentials}
}

// coder makes codes, as a person who consents does.
type coder interface {
	NewCode(clientID, redirectURI string, scopes []string, challenge string) (code, verifier string, err error)
}

// codeSecret returns the Secret of a fresh code for a connection.
func codeSecret(t *testing.T, server coder, namespace, connection string) *corev1.Secret {
	t.Helper()
	code, verifier := newCode(t, server)
	return secret(namespace, connection+"-code", map[string]string{
		v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier,
	})
}

func newCode(t *testing.T, server coder) (code, verifier string) {
	t.Helper()
	code, verifier, err := server.NewCode(harness.DefaultClient().ID, "", []string{"api:read", "offline_access"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return code, verifier
}

func get[T client.Object](t *testing.T, namespace, name string, into T) T {
	t.Helper()
	if err := plane.Client().Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, into); err != nil {
		t.Fatalf("get %T %s/%s: %v", into, namespace, name, err)
	}
	return into
}

// waitConnection waits until a connection is as a condition wants it: nil means it is.
func waitConnection(t *testing.T, namespace, name string, is func(*v1alpha1.OAuthConnection) error) *v1alpha1.OAuthConnection {
	t.Helper()
	c := &v1alpha1.OAuthConnection{}
	testenv.Eventually(t, patience, func() error {
		c = &v1alpha1.OAuthConnection{}
		if err := plane.Client().Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: name}, c); err != nil {
			return err
		}
		if err := is(c); err != nil {
			return fmt.Errorf("%w; status is %+v", err, c.Status)
		}
		return nil
	})
	return c
}

// ready wants Ready to have a status and a reason.
func ready(status metav1.ConditionStatus, reason string) func(*v1alpha1.OAuthConnection) error {
	return func(c *v1alpha1.OAuthConnection) error {
		condition := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
		if condition == nil || condition.Status != status || condition.Reason != reason {
			return fmt.Errorf("want Ready=%s, %s", status, reason)
		}
		return nil
	}
}

func isReady(c *v1alpha1.OAuthConnection) error {
	return ready(metav1.ConditionTrue, v1alpha1.ReasonTokenReady)(c)
}

// refreshed wants at least one refresh after a time.
func refreshed(c *v1alpha1.OAuthConnection) error {
	if c.Status.LastRefreshedAt == nil {
		return fmt.Errorf("want a refresh")
	}
	return nil
}

// waitGone waits until an object does not exist.
func waitGone(t *testing.T, object client.Object) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		err := plane.Client().Get(context.Background(), client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%T %s is still there: %w", object, object.GetName(), err)
	})
}
