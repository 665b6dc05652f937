// SPDX-License-Identifier: Apache-2.0

// Package bench measures the controller with an instant provider and an API server on the same machine. Nothing here is
// a test: figures depend on the machine and are written to docs/performance.md.
package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
)

const (
	// concurrency is that of the application and of the workers, and of the bare client's two stages.
	concurrency = 16
	// patience bounds each wait.
	patience = 5 * time.Minute
)

var plane *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the benchmarks

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard()) // Each controller is given a logger of its own.
	environment, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane = environment
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// counter sees the writes of a controller, and tells when enough connections have been refreshed down to their status.
type counter struct {
	next      http.RoundTripper
	writes    atomic.Int64
	mu        sync.Mutex
	refreshed map[string]bool // paths of status patches
	want      int
	reached   chan struct{}
}

func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	refresh := request.Method == http.MethodPatch && strings.HasSuffix(request.URL.Path, "/status") &&
		strings.Contains(bodyOf(request), `"lastRefreshedAt"`)
	response, err := c.next.RoundTrip(request)
	if request.Method != http.MethodGet {
		c.writes.Add(1)
	}
	if refresh && err == nil && response.StatusCode == http.StatusOK {
		c.count(request.URL.Path)
	}
	return response, err
}

func bodyOf(request *http.Request) string {
	body, err := request.GetBody()
	if err != nil {
		return ""
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return ""
	}
	return string(content)
}

func (c *counter) count(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refreshed[path] = true
	if c.reached != nil && len(c.refreshed) >= c.want {
		close(c.reached)
		c.reached = nil
	}
}

// after returns a channel that is closed when n connections have been refreshed.
func (c *counter) after(n int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	reached := make(chan struct{})
	c.want, c.reached = n, reached
	return reached
}

// startController runs a controller in this process, under the role of the installation, until stop is called.
func startController(b *testing.B, namespace string) (writes *counter, stop func()) {
	b.Helper()
	config, err := plane.Controller(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	writes = &counter{refreshed: map[string]bool{}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { writes.next = next; return writes })
	process, err := controller.New(config, controller.Options{
		Namespace: testenv.OperatorNamespace, WatchNamespaces: []string{namespace}, MetricsBindAddress: "0",
		HealthProbeBindAddress: "0", Workers: concurrency, RevocationTimeout: time.Minute,
		Egress: egress.Policy{AllowPrivate: []string{"127.0.0.0/8"}}, Version: "bench", Log: logr.Discard(),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- process.Run(ctx) }()
	return writes, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

func startProvider(b *testing.B) *hostile.Server {
	b.Helper()
	server, err := hostile.Start(harness.Options{Lean: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	return server
}

// inParallel runs f for 0 to n-1 with the benchmark's concurrency.
func inParallel(b *testing.B, n int, f func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func newNamespace(b *testing.B) string {
	b.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := plane.Client().Create(b.Context(), namespace); err != nil {
		b.Fatal(err)
	}
	return namespace.Name
}

func createApplication(b *testing.B, namespace, name, url string) {
	b.Helper()
	c := harness.DefaultClient()
	objects := []client.Object{
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			StringData: map[string]string{v1alpha1.DefaultClientSecretKey: c.Secret},
		},
		&v1alpha1.OAuthApplication{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: v1alpha1.OAuthApplicationSpec{
				IssuerURL: url, RedirectURL: harness.DefaultRedirectURI,
				Client: v1alpha1.ClientSpec{ID: c.ID, SecretRef: &v1alpha1.SecretKeyReference{Name: name}},
				Limits: &v1alpha1.Limits{MaxConcurrent: concurrency},
			},
		},
	}
	for _, object := range objects {
		if err := plane.Client().Create(b.Context(), object); err != nil {
			b.Fatal(err)
		}
	}
}

func newConnection(namespace, name, application string) *v1alpha1.OAuthConnection {
	reference := &v1alpha1.SecretKeyReference{Name: name + "-code"}
	return &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: application},
			Grant: v1alpha1.GrantSpec{
				Type:              v1alpha1.GrantAuthorizationCode,
				AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{CodeSecretRef: reference, CodeVerifierSecretRef: reference},
			},
		},
	}
}

func newCodeSecret(server *hostile.Server, namespace, connection string) (*corev1.Secret, error) {
	code, verifier, err := server.NewCode(harness.DefaultClient().ID, "", []string{"api:read"}, "")
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: connection + "-code"},
		StringData: map[string]string{v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier},
	}, nil
}

// connect creates n connections and waits until all are ready.
func connect(b *testing.B, server *hostile.Server, namespace, application string, n int) {
	b.Helper()
	inParallel(b, n, func(i int) error {
		name := fmt.Sprintf("c-%05d", i)
		code, err := newCodeSecret(server, namespace, name)
		if err != nil {
			return err
		}
		if err := plane.Client().Create(b.Context(), code); err != nil {
			return err
		}
		return plane.Client().Create(b.Context(), newConnection(namespace, name, application))
	})
	waitReady(b, namespace, n)
}

// waitReady waits until n connections are Active.
func waitReady(b *testing.B, namespace string, n int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	err := testenv.Wait(ctx, func() error {
		var list v1alpha1.OAuthConnectionList
		selector := client.MatchingFields{"status.phase": string(v1alpha1.ConnectionActive)}
		if err := plane.Client().List(ctx, &list, client.InNamespace(namespace), selector); err != nil {
			return err
		}
		if len(list.Items) < n {
			return fmt.Errorf("%d of %d connections are active", len(list.Items), n)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// requestRefreshes makes a refresh of each connection due.
func requestRefreshes(b *testing.B, namespace, value string, n int) {
	b.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRefreshRequestedAt, value)
	inParallel(b, n, func(i int) error {
		c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("c-%05d", i)}}
		return plane.Client().Patch(b.Context(), c, client.RawPatch("application/merge-patch+json", patch))
	})
}

func await(b *testing.B, what string, done <-chan struct{}) {
	b.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		b.Fatalf("%s: not done after %s", what, patience)
	}
}
