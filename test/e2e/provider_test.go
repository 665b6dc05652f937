// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/portforward"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/e2e/report"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// The provider: an OAuth server with an API, in a pod behind a Service, at the host that the overlay lets the operator reach.
const (
	providerName   = "oauth-server"
	providerURL    = "http://" + providerName + "." + providerNamespace + ".svc:8080"
	providerPort   = 8080
	reportPort     = 8081
	apiPort        = 8082
	requestTimeout = 10 * time.Second
)

// tokenLifetime is short enough to see refreshes that were not asked for, and long enough to outlive a failover.
const tokenLifetime = time.Minute

func (s *suite) startProvider(t *testing.T) {
	s.createNamespace(t, providerNamespace)
	server := restrictedPod(providerNamespace, providerName, s.tools,
		"serve", "--issuer="+providerURL, "--access-token-lifetime="+tokenLifetime.String(),
		"--redirect-url="+gatewayURL+v1alpha1.PathCallback)
	server.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: harness.OpenIDPath, Port: intstr.FromInt32(providerPort)}},
		PeriodSeconds: 1,
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: providerNamespace, Name: providerName},
		Spec: corev1.ServiceSpec{
			Selector: server.Labels,
			Ports:    []corev1.ServicePort{{Name: "oauth", Port: providerPort}, {Name: "api", Port: apiPort}},
		},
	}
	s.create(t, server, service)
	s.waitPodReady(t, providerNamespace, providerName)
}

// callProvider runs a function with addresses of this machine that lead to the OAuth server and to its report.
func (s *suite) callProvider(t *testing.T, call func(base, reportBase string) error) {
	t.Helper()
	addresses, end := s.forward(t, providerNamespace, providerName, providerPort, reportPort)
	defer end()
	if err := call("http://"+addresses[0], "http://"+addresses[1]); err != nil {
		t.Fatal(err)
	}
}

// forward returns addresses of this machine that lead to ports of a pod, until end is called.
func (s *suite) forward(t *testing.T, namespace, pod string, ports ...int) (addresses []string, end func()) {
	t.Helper()
	target := s.clientset.CoreV1().RESTClient().Post().Namespace(namespace).
		Resource("pods").Name(pod).SubResource("portforward").URL()
	dialer, err := portforward.NewSPDYOverWebsocketDialer(target, s.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	var wanted []string
	for _, port := range ports {
		wanted = append(wanted, fmt.Sprintf("0:%d", port))
	}
	forwarder, err := portforward.NewOnAddressesWithContext(ctx, dialer, []string{"127.0.0.1"}, wanted, ready, nil, os.Stderr)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		done <- forwarder.ForwardPorts()
		close(done)
	}()
	end = func() {
		cancel()
		for range done { // Until it has ended; how no longer matters.
		}
	}
	select {
	case <-ready:
	case err := <-done:
		end()
		t.Fatalf("forward ports to pod %s/%s: %v", namespace, pod, err)
	}
	forwarded, err := forwarder.GetPorts()
	if err != nil {
		end()
		t.Fatal(err)
	}
	for i := range ports {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", forwarded[i].Local))
	}
	return addresses, end
}

// providerClient follows no redirect, as the harness wants it, and keeps no connection beyond its port.
func providerClient() *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newCode consents as a user at the authorization endpoint.
func (s *suite) newCode(t *testing.T) (code, verifier string) {
	t.Helper()
	s.callProvider(t, func(base, _ string) (err error) {
		scopes := []string{"api:read", "offline_access"}
		code, verifier, err = harness.NewCodeAt(providerClient(), base, harness.DefaultClient().ID, "", scopes, "")
		return err
	})
	return code, verifier
}

// active asks the introspection endpoint (RFC 7662) about a token.
func (s *suite) active(t *testing.T, token string) (active bool) {
	t.Helper()
	s.callProvider(t, func(base, _ string) error {
		var answer struct {
			Active *bool `json:"active"`
		}
		if err := fetchJSON(aboutToken(t, base+"/introspect", token), &answer); err != nil {
			return err
		}
		if answer.Active == nil {
			return errors.New("the introspection endpoint does not say whether the token is active")
		}
		active = *answer.Active
		return nil
	})
	return active
}

// revoke ends a grant at the provider (RFC 7009), as somebody else than the operator.
func (s *suite) revoke(t *testing.T, token string) {
	t.Helper()
	s.callProvider(t, func(base, _ string) error {
		response, err := providerClient().Do(aboutToken(t, base+"/revoke", token))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the revocation endpoint answers %s", response.Status)
		}
		return nil
	})
}

// aboutToken is the client's request about a token.
func aboutToken(t *testing.T, target, token string) *http.Request {
	t.Helper()
	form := url.Values{"token": {token}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c := harness.DefaultClient()
	request.SetBasicAuth(c.ID, c.Secret)
	return request
}

// report returns what the OAuth server has seen.
func (s *suite) report(t *testing.T) (seen report.Report) {
	t.Helper()
	s.callProvider(t, func(_, reportBase string) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, reportBase+report.Path, nil)
		if err != nil {
			return err
		}
		return fetchJSON(request, &seen)
	})
	return seen
}

func fetchJSON(request *http.Request, into any) error {
	response, err := providerClient().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", request.URL.Path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// nothingSpentTwice fails the test when a code or refresh token was redeemed a second time.
func (s *suite) nothingSpentTwice(t *testing.T) {
	t.Helper()
	if reuse := s.report(t).Reuse; reuse != 0 {
		t.Errorf("credentials were sent again %d times after they had been redeemed", reuse)
	}
}

// restrictedPod returns a pod of the tools that Pod Security's restricted profile admits.
func restrictedPod(namespace, name, image string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(1)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				RunAsUser:      new(int64(65532)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "tools", Image: image, Args: args,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					ReadOnlyRootFilesystem:   new(true),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// waitPodReady waits until a pod is ready and returns it.
func (s *suite) waitPodReady(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	testenv.Eventually(t, kubeletPatience, func() error {
		s.get(t, namespace, name, pod)
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod %s/%s is not ready; phase %s", namespace, name, pod.Status.Phase)
	})
	return pod
}

// podLog returns what a pod's only container has printed.
func (s *suite) podLog(ctx context.Context, namespace, name string, options *corev1.PodLogOptions) (string, error) {
	content, err := s.clientset.CoreV1().Pods(namespace).GetLogs(name, options).DoRaw(ctx)
	return string(content), err
}
