// SPDX-License-Identifier: Apache-2.0

package reliability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
)

// patience bounds each wait. A lease lapses in a quarter of a minute, a crash is believed in after half a minute more, and a
// person waits for two minutes.
const patience = 5 * time.Minute

// world is the product as it is deployed, with a provider and connections of its own.
type world struct {
	t         testing.TB
	dice      *dice
	namespace string
	front     *front
	provider  *provider
	keys      string

	controllers, gateways []*replica
}

// replica is one of two processes that do the same.
type replica struct {
	name, log string
	arguments []string
	process   *program.Process
	// before is how much it had logged when it was started last, in bytes.
	before int
	kills  int
	// public is where a gateway serves people, ready says whether it can; nil for controllers.
	public *url.URL
	ready  func(context.Context) error
}

// newWorld starts everything, and an application that people can authorize at.
func newWorld(t testing.TB, slowest time.Duration) *world {
	t.Helper()
	w := &world{t: t, dice: newDice(t), namespace: shared.plane.Namespace(t), keys: t.TempDir()}
	w.front = newFront(t, w.dice)
	w.provider = newProvider(t, w.dice, w.front.server.URL, slowest)
	logs := t.TempDir()
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			w.keepLogs(logs)
		}
	})
	for i := range 2 {
		r := &replica{name: fmt.Sprintf("controller-%d", i)}
		r.log = filepath.Join(logs, r.name+".log")
		r.arguments = []string{
			"controller", "--kubeconfig=" + shared.controller, "--namespace=" + testenv.OperatorNamespace, "--watch-namespaces=" + w.namespace,
			"--external-url=" + w.front.server.URL, "--allow-private-networks=127.0.0.0/8", "--leader-elect", "--log-level=debug",
			"--metrics-bind-address=0", "--health-probe-bind-address=0",
		}
		w.controllers = append(w.controllers, r)
		w.start(r)
	}
	w.mountKeys()
	for i := range 2 {
		w.gateways = append(w.gateways, w.newGateway(fmt.Sprintf("gateway-%d", i), logs))
		w.start(w.gateways[i])
	}
	w.createApplication()
	return w
}

func (w *world) newGateway(name, logs string) *replica {
	w.t.Helper()
	port, err := program.FreePort()
	probes, probesErr := program.FreePort()
	if err := errors.Join(err, probesErr); err != nil {
		w.t.Fatal(err)
	}
	r := &replica{name: name, log: filepath.Join(logs, name+".log"), public: &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}}
	r.arguments = []string{
		"gateway", "--kubeconfig=" + shared.gateway, "--namespace=" + testenv.OperatorNamespace, "--external-url=" + w.front.server.URL,
		"--keys-dir=" + w.keys, "--trusted-proxies=127.0.0.1", "--bind-address=" + r.public.Host, "--log-level=debug",
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", probes),
	}
	r.ready = func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", probes), nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s is not ready: %s", name, response.Status)
		}
		return nil
	}
	return r
}

// start starts a process; a gateway gets requests as soon as it is ready.
func (w *world) start(r *replica) {
	w.t.Helper()
	before, err := os.ReadFile(r.log)
	if err != nil && !os.IsNotExist(err) {
		w.t.Errorf("read the log of %s: %v", r.name, err)
	}
	r.before = len(before)
	r.process, err = program.Start(shared.binary, r.log, func(err error) { w.t.Errorf("%s: %v", r.name, err) }, r.arguments...)
	if err != nil {
		w.t.Errorf("start %s: %v", r.name, err) // Not the end: it may be another goroutine than the test's.
		return
	}
	if r.ready == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := testenv.Wait(ctx, func() error { return r.ready(ctx) }); err != nil {
		w.t.Errorf("%s does not become ready: %v", r.name, err)
	}
	w.front.put(r.public)
}

// crash kills a process. A gateway goes on getting requests until it is started again, as one does that no probe has missed yet.
func (w *world) crash(r *replica) {
	r.process.Kill()
	r.kills++
}

// restart starts a process again that has been killed.
func (w *world) restart(r *replica) {
	w.t.Helper()
	if r.public != nil {
		w.front.take(r.public)
	}
	w.start(r)
}

func (w *world) stop() {
	for _, r := range append(w.gateways, w.controllers...) {
		if r.process == nil {
			continue
		}
		if err := r.process.Stop(); err != nil {
			w.t.Errorf("%s: %v", r.name, err)
		}
	}
}

// keepLogs saves what the processes have said.
func (w *world) keepLogs(from string) {
	directory, err := os.MkdirTemp("", "reliability-logs-")
	if err == nil {
		err = os.CopyFS(directory, os.DirFS(from))
	}
	w.t.Logf("the logs of all processes are kept in %s (%v)", directory, err)
}

// leader returns the controller that leads, and the other one; no error means that there is one.
func (w *world) leader() (leads, other *replica, err error) {
	for i, r := range w.controllers {
		said, err := os.ReadFile(r.log)
		if err != nil {
			return nil, nil, err
		}
		if bytes.Contains(said[min(r.before, len(said)):], []byte("Starting workers")) {
			return r, w.controllers[1-i], nil
		}
	}
	return nil, nil, errors.New("no controller leads")
}

// mountKeys brings the gateways' keys to where they read them, as a kubelet does: into a directory of their own, to which a
// link leads.
func (w *world) mountKeys() {
	w.t.Helper()
	secret := &corev1.Secret{}
	testenv.Eventually(w.t, patience, func() error {
		key := client.ObjectKey{Namespace: testenv.OperatorNamespace, Name: v1alpha1.GatewayKeysSecret}
		if err := shared.plane.Client().Get(context.Background(), key, secret); err != nil {
			return err
		}
		if len(secret.Data[keyset.FileSealing]) == 0 {
			return errors.New("there is no key yet")
		}
		return nil
	})
	version := "..version-1"
	err := errors.Join(os.Mkdir(filepath.Join(w.keys, version), 0o700), os.Symlink(version, filepath.Join(w.keys, "..data")))
	for name, content := range secret.Data {
		err = errors.Join(err, os.WriteFile(filepath.Join(w.keys, version, name), content, 0o600),
			os.Symlink(filepath.Join("..data", name), filepath.Join(w.keys, name)))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) createApplication() {
	w.t.Helper()
	w.create(
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "crm-client"},
			StringData: map[string]string{v1alpha1.DefaultClientSecretKey: clientSecret},
		},
		&v1alpha1.OAuthApplication{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "crm"},
			Spec: v1alpha1.OAuthApplicationSpec{
				IssuerURL: w.provider.URL,
				Client:    v1alpha1.ClientSpec{ID: clientID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
				Scopes:    []v1alpha1.Scope{"api:read", "offline_access"},
			},
		})
}

// createConnections creates connections that wait for people, and returns their names when there is a link for each.
func (w *world) createConnections(prefix string, n int) []string {
	w.t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
		w.create(&v1alpha1.OAuthConnection{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: names[i]},
			Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: "crm"}},
		})
	}
	testenv.Eventually(w.t, patience, func() error {
		for _, name := range names {
			c, err := w.get(name)
			if err != nil {
				return err
			}
			if c.Status.AuthorizationURL == "" {
				return fmt.Errorf("%s has no link yet", name)
			}
		}
		return nil
	})
	return names
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := shared.plane.Client().Create(w.t.Context(), object); err != nil {
			w.t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func (w *world) get(name string) (*v1alpha1.OAuthConnection, error) {
	c := &v1alpha1.OAuthConnection{}
	return c, shared.plane.Client().Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: name}, c)
}

// token is the access token in a workload's Secret; empty: there is none.
func (w *world) token(name string) (string, error) {
	secret := &corev1.Secret{}
	err := shared.plane.Client().Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: name}, secret)
	return string(secret.Data[v1alpha1.SecretKeyAccessToken]), client.IgnoreNotFound(err)
}

// providerName is what the gateway's pages call the provider.
func (w *world) providerName() string {
	w.t.Helper()
	address, err := url.Parse(w.provider.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	return address.Host
}
