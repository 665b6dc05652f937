// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/program"
)

// Commands of the program.
const (
	commandController = "controller"
	commandGateway    = "gateway"
	commandAPI        = "api"
)

// replicas of the API.
const replicas = 2

// patience bounds each wait on a busy machine.
const patience = time.Minute

// issuer is what servers remember of the secrets that they gave out.
type issuer interface{ Issued() []string }

// world is the product as it is installed.
type world struct {
	// gateway is the gateway's address, apis those of the API's replicas.
	gateway string
	apis    [replicas]string
	// logs is where the processes write.
	logs string

	// client speaks HTTP/2, client1 HTTP/1.1.
	client, client1 *http.Client

	document  *document
	processes []*program.Process

	mu      sync.Mutex // guards what follows
	issuers []issuer
	// hidden are secrets that no server has issued, and what else must not be logged.
	hidden []string
}

// newWorld starts everything; it ends with the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{logs: t.TempDir()}
	t.Cleanup(func() {
		w.stop(t)
		if t.Failed() {
			kept, err := w.keepLogs()
			t.Logf("the logs of all processes are kept in %s (%v)", kept, err)
		}
	})
	public := w.ports(t)
	w.gateway = "http://" + public
	w.start(t, commandController, "controller", "--external-url="+w.gateway, "--metrics-bind-address=0", "--health-probe-bind-address=0",
		"--leader-elect=false")
	gatewayProbes := w.ports(t)
	w.start(t, commandGateway, "gateway", "--external-url="+w.gateway, "--bind-address="+public, "--health-probe-bind-address="+gatewayProbes)
	probes := []string{gatewayProbes}
	certificate, key := w.certify(t)
	for i := range replicas {
		bind, probe := w.ports(t), w.ports(t)
		w.apis[i], probes = "https://"+bind, append(probes, probe)
		w.start(t, commandAPI, fmt.Sprintf("api-%d", i), "--bind-address="+bind, "--health-probe-bind-address="+probe,
			"--tls-cert-file="+certificate, "--tls-private-key-file="+key)
	}
	for _, address := range probes {
		w.waitReady(t, address)
	}
	w.document = w.readDocument(t)
	return w
}

// ports returns an address that nobody listens at.
func (w *world) ports(t *testing.T) string {
	t.Helper()
	port, err := program.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func (w *world) start(t *testing.T, command, name string, arguments ...string) {
	t.Helper()
	arguments = append([]string{
		command, "--kubeconfig=" + shared.kubeconfigs[command], "--namespace=" + testenv.OperatorNamespace, "--log-level=debug", "--log-format=json",
		"--allow-private-networks=127.0.0.0/8",
	}, arguments...)
	if command == commandGateway { // It calls nobody.
		arguments = append(arguments[:5], arguments[6:]...)
	}
	process, err := program.Start(shared.binary, filepath.Join(w.logs, name+".log"), func(err error) { t.Errorf("%s: %v", name, err) }, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	w.processes = append(w.processes, process)
}

// stop ends all processes. It may be called again.
func (w *world) stop(t *testing.T) {
	t.Helper()
	for _, process := range w.processes {
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	}
	w.processes = nil
}

// keepLogs saves what the processes have said, for longer than the test.
func (w *world) keepLogs() (directory string, err error) {
	if directory, err = os.MkdirTemp("", "api-logs-"); err != nil {
		return "", err
	}
	return directory, os.CopyFS(directory, os.DirFS(w.logs))
}

func (w *world) waitReady(t *testing.T, probes string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+probes+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s", response.Status)
		}
		return nil
	})
}

// certify makes the API a certificate, and the clients that trust it.
func (w *world) certify(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	certificate, key = filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})
	if err := errors.Join(
		os.WriteFile(certificate, content, 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(content)
	w.client, w.client1 = newClient(t, roots, true), newClient(t, roots, false)
	return certificate, key
}

// newClient trusts the API's certificate and follows no redirect.
func newClient(t *testing.T, roots *x509.CertPool, http2 bool) *http.Client {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Protocols: protocols, DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// watch adds a server whose secrets must not be logged.
func (w *world) watch(server issuer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.issuers = append(w.issuers, server)
}

// hide adds what must not be logged either.
func (w *world) hide(secrets ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hidden = append(w.hidden, secrets...)
}
