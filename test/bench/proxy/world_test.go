// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
)

// Names of the targets.
const (
	nameReverse = "ReverseProxy"
	nameNginx   = "nginx"
	nameAPI     = "api"
)

// patience bounds each wait.
const patience = time.Minute

const (
	namespace = "bench-proxy"
	name      = "crm"
	audience  = "oauth-operator.io"
)

var plane *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the benchmark

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if role := os.Getenv(roleVariable); role != "" {
		fmt.Fprintln(os.Stderr, play(role))
		return 1
	}
	ctrl.SetLogger(logr.Discard())
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

// world is an upstream with all that stands in front of it.
type world struct {
	targets []target
}

func newWorld(b *testing.B) *world {
	b.Helper()
	directory := b.TempDir()
	api := listenAt(b)
	serve(b, roleUpstream, map[string]string{addressVariable: api})
	awaitAnswer(b, "http://"+api+"/small")
	server, err := hostile.Start(harness.Options{Lean: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	token := install(b, server, directory, api)
	w := &world{}
	reverse := listenAt(b)
	serve(b, roleReverse, map[string]string{addressVariable: reverse, targetVariable: "http://" + api, tokenVariable: "static"})
	w.targets = append(w.targets, target{name: nameReverse, base: "http://" + reverse})
	if path, err := exec.LookPath("nginx"); err == nil {
		w.targets = append(w.targets, target{name: nameNginx, base: "http://" + startNginx(b, path, directory, api)})
	} else {
		b.Log("there is no nginx: it is left out")
	}
	own := startAPI(b, directory)
	w.targets = append(w.targets, target{
		name: nameAPI, base: "http://" + own + "/api/integrations/" + namespace + "." + name + "/request", authorization: "Bearer " + token,
	})
	for _, at := range w.targets {
		awaitAnswer(b, at.base+"/small")
	}
	return w
}

func listenAt(b *testing.B) string {
	b.Helper()
	port, err := program.FreePort()
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// serve starts this program in a role.
func serve(b *testing.B, role string, environment map[string]string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	all := append(os.Environ(), roleVariable+"="+role)
	for key, value := range environment {
		all = append(all, key+"="+value)
	}
	start(b, all, self)
}

// start runs a program until the benchmark ends.
func start(b *testing.B, environment []string, path string, arguments ...string) {
	b.Helper()
	command := exec.CommandContext(context.Background(), path, arguments...)
	command.Env, command.Stderr = environment, os.Stderr
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		_ = command.Wait() // It says how it was ended.
	})
}

func startNginx(b *testing.B, path, directory, api string) string {
	b.Helper()
	address := listenAt(b)
	config := filepath.Join(directory, "nginx.conf")
	if err := os.WriteFile(config, []byte(nginxConfig(directory, address, api, "static")), 0o600); err != nil {
		b.Fatal(err)
	}
	start(b, os.Environ(), path, "-p", directory, "-c", config, "-e", filepath.Join(directory, "error.log"))
	return address
}

// awaitAnswer waits until there is somebody.
func awaitAnswer(b *testing.B, url string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	err := testenv.Wait(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	if err != nil {
		b.Fatal(err)
	}
}

// install makes a connection that works, and a caller that may use it, and returns the caller's token.
func install(b *testing.B, server *hostile.Server, directory, api string) string {
	b.Helper()
	ctx := b.Context()
	operator, err := plane.Controller(ctx)
	if err != nil {
		b.Fatal(err)
	}
	binary, err := program.Build(ctx, plane.Root, directory)
	if err != nil {
		b.Fatal(err)
	}
	startProgram(b, binary, filepath.Join(directory, "controller.log"), operator, "controller", "--allow-private-networks=127.0.0.0/8",
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--watch-namespaces="+namespace)
	c := harness.DefaultClient()
	code, verifier, err := server.NewCode(c.ID, "", []string{"api:read"}, "")
	if err != nil {
		b.Fatal(err)
	}
	reference := &v1alpha1.SecretKeyReference{Name: name + "-code"}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{ObjectMeta: meta(name + "-client"), StringData: map[string]string{v1alpha1.DefaultClientSecretKey: c.Secret}},
		&corev1.Secret{ObjectMeta: meta(name + "-code"), StringData: map[string]string{
			v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier,
		}},
		&v1alpha1.OAuthApplication{ObjectMeta: meta(name), Spec: v1alpha1.OAuthApplicationSpec{
			IssuerURL: server.URL, RedirectURL: harness.DefaultRedirectURI, APIBaseURL: v1alpha1.EndpointURL("http://" + api),
			Client:    v1alpha1.ClientSpec{ID: c.ID, SecretRef: &v1alpha1.SecretKeyReference{Name: name + "-client"}},
			APILimits: &v1alpha1.APILimits{MaxConcurrent: 1000, Connection: &v1alpha1.ConnectionAPILimits{MaxConcurrent: 1000}},
		}},
		&v1alpha1.OAuthConnection{ObjectMeta: meta(name), Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: v1alpha1.ApplicationReference{Name: name},
			Grant: v1alpha1.GrantSpec{
				Type:              v1alpha1.GrantAuthorizationCode,
				AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{CodeSecretRef: reference, CodeVerifierSecretRef: reference},
			},
		}},
		&corev1.ServiceAccount{ObjectMeta: meta("caller")},
		&rbacv1.Role{ObjectMeta: meta("caller"), Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"oauthconnections", "oauthconnections/proxy"}, Verbs: []string{"get", "list"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta("caller"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "caller"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "caller"}},
		},
	} {
		if err := plane.Client().Create(ctx, object); err != nil {
			b.Fatal(err)
		}
	}
	awaitReady(b)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(time.Hour.Seconds())),
	}}
	account := &corev1.ServiceAccount{ObjectMeta: meta("caller")}
	if err := plane.Client().SubResource("token").Create(ctx, account, request); err != nil {
		b.Fatal(err)
	}
	return request.Status.Token
}

func awaitReady(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	err := testenv.Wait(ctx, func() error {
		c := &v1alpha1.OAuthConnection{}
		if err := plane.Client().Get(context.WithoutCancel(ctx), client.ObjectKey{Namespace: namespace, Name: name}, c); err != nil {
			return err
		}
		if c.Status.Phase != v1alpha1.ConnectionActive || c.Status.SecretName == "" {
			return fmt.Errorf("the connection is %s: %+v", c.Status.Phase, c.Status.Conditions)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// startAPI starts the API by plain HTTP, as the others are, and returns its address.
func startAPI(b *testing.B, directory string) string {
	b.Helper()
	config, err := plane.API(b.Context(), testenv.OperatorNamespace)
	if err != nil {
		b.Fatal(err)
	}
	address, probes := listenAt(b), listenAt(b)
	startProgram(b, filepath.Join(directory, "oauth-operator"), filepath.Join(directory, "api.log"), config, "api",
		"--allow-private-networks=127.0.0.0/8", "--bind-address="+address, "--health-probe-bind-address="+probes)
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	err = testenv.Wait(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+probes+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return errors.Join(fmt.Errorf("the API is not ready: %s", response.Status), response.Body.Close())
		}
		return response.Body.Close()
	})
	if err != nil {
		b.Fatal(err)
	}
	return address
}

// startProgram starts the product under an account.
func startProgram(b *testing.B, binary, log string, config *rest.Config, arguments ...string) {
	b.Helper()
	kubeconfig := strings.TrimSuffix(log, ".log") + ".kubeconfig"
	if err := testenv.WriteKubeconfig(config, kubeconfig); err != nil {
		b.Fatal(err)
	}
	process, err := program.Start(binary, log, func(err error) { b.Error(err) },
		append(arguments, "--kubeconfig="+kubeconfig, "--namespace="+testenv.OperatorNamespace)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if b.Failed() {
			b.Log(process.LastWords())
		}
		if err := process.Stop(); err != nil {
			b.Error(err)
		}
	})
}
