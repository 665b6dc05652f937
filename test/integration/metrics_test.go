// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
)

// fetch gets a URL and returns status and body; zero when nobody answers.
func fetch(t *testing.T, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the server makes its own certificate
		DisableKeepAlives: true,
	}
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

// TestMetrics scrapes what Prometheus would. It serves the program's own registry, so it does not run beside others.
func TestMetrics(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, 0, func(o *controller.Options, _ *rest.Config) { o.MetricsBindAddress, o.Metrics = address, nil })
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	server.Script(refreshing(), hostile.Status(503, "", nil))
	s.requestRefresh(t)
	s.wait(t, failed(v1alpha1.ReasonProviderUnavailable))
	s.requestRefresh(t)
	s.wait(t, noFailure, refreshed)

	scrape := func() string {
		status, body := fetch(t, "http://"+address+"/metrics", "")
		if status != http.StatusOK {
			t.Fatalf("status %d: %s", status, body)
		}
		return body
	}
	app := fmt.Sprintf(`application=%q,application_namespace=%q`, s.name, w.namespace)
	for _, want := range []string{
		`oauth_operator_provider_calls_total{action="Exchange",` + app + `,result="success"} 1`,
		`oauth_operator_provider_calls_total{action="Refresh",` + app + `,result="ProviderUnavailable"} 1`,
		`oauth_operator_provider_calls_total{action="Refresh",` + app + `,result="success"} 1`,
		`oauth_operator_connections{` + app + `,phase="Active"} 1`,
		`oauth_operator_provider_call_duration_seconds_count{action="Exchange"} `,
	} {
		testenv.Eventually(t, patience, func() error { return contains(scrape(), want) })
	}
	first := gauge(t, scrape(), "oauth_operator_access_token_expiry_seconds", s.name)
	testenv.Eventually(t, patience, func() error {
		if now := gauge(t, scrape(), "oauth_operator_access_token_expiry_seconds", s.name); now >= first || now < 3500 {
			return fmt.Errorf("%v seconds to expiry, after %v", now, first)
		}
		return nil
	})
	problems, err := promlint.New(strings.NewReader(scrape())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "oauth_operator") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
	w.noLeak(t, "metrics", scrape())

	s.delete(t)
	testenv.Eventually(t, patience, func() error {
		body := scrape()
		for _, gone := range []string{"oauth_operator_connections{" + app, `connection="` + s.name + `"`} {
			if strings.Contains(body, gone) {
				return errors.New("a deleted connection has left " + gone)
			}
		}
		return contains(body, `oauth_operator_provider_calls_total{action="Revoke",`+app+`,result="success"} 1`)
	})
}

func contains(text, want string) error {
	if !strings.Contains(text, want) {
		return errors.New("there is no " + want)
	}
	return nil
}

// gauge returns the value of the series of a metric that mentions a word.
func gauge(t *testing.T, body, metric, word string) float64 {
	t.Helper()
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, metric+"{") && strings.Contains(line, `"`+word+`"`) {
			var value float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " "):], &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no %s of %s", metric, word)
	return 0
}

// TestSecureMetrics lets in who may read metrics, and nobody else.
func TestSecureMetrics(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	w := newWorld(t, 0, func(o *controller.Options, _ *rest.Config) { o.MetricsBindAddress, o.MetricsSecure = address, true })
	url := "https://" + address + "/metrics"
	stranger, err := plane.UserFor(t.Context(), w.namespace, "stranger")
	if err != nil {
		t.Fatal(err)
	}
	reader, err := plane.UserFor(t.Context(), w.namespace, "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "metrics-reader-" + w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "oauth-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: "prometheus"}},
	})
	testenv.Eventually(t, patience, func() error {
		for _, test := range []struct {
			who, token string
			want       int
		}{
			{"nobody", "", http.StatusUnauthorized},
			{"a stranger", stranger.BearerToken, http.StatusForbidden},
			{"prometheus", reader.BearerToken, http.StatusOK},
		} {
			if status, body := fetch(t, url, test.token); status != test.want {
				return fmt.Errorf("%s gets %d (%.100s), want %d", test.who, status, body, test.want)
			}
		}
		return nil
	})
	if status, _ := fetch(t, url, "wrong"); status == http.StatusOK {
		t.Error("a wrong token is let in")
	}
	if status, _ := fetch(t, "http://"+address+"/metrics", reader.BearerToken); status == http.StatusOK {
		t.Error("plain HTTP is answered too")
	}
}

// TestProbes : ready means that the caches are filled; alive does not depend on the API server.
func TestProbes(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	hold := make(chan struct{})
	w := newWorld(t, 0, func(o *controller.Options, config *rest.Config) {
		o.HealthProbeBindAddress = address
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(request *http.Request) (*http.Response, error) {
				if strings.HasSuffix(request.URL.Path, "/oauthconnections") {
					select {
					case <-hold:
					case <-request.Context().Done():
						return nil, request.Context().Err()
					}
				}
				return next.RoundTrip(request)
			})
		})
	})
	url := "http://" + address
	testenv.Eventually(t, patience, func() error {
		if status, body := fetch(t, url+"/healthz", ""); status != http.StatusOK {
			return fmt.Errorf("alive: %d %s", status, body)
		}
		return nil
	})
	started := time.Now()
	if status, _ := fetch(t, url+"/readyz", ""); status == http.StatusOK {
		t.Error("ready before the caches are filled")
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("the probe took %s", took)
	}
	close(hold)
	testenv.Eventually(t, patience, func() error {
		if status, body := fetch(t, url+"/readyz", ""); status != http.StatusOK {
			return fmt.Errorf("ready: %d %s", status, body)
		}
		return nil
	})
	server := w.fosite(t, harness.Options{})
	w.connected(t, server, server.URL)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
