// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// The gateway as the overlay installs it.
const (
	gatewayName      = "oauth-operator-gateway"
	gatewayHost      = "oauth.example.test"
	gatewayURL       = "https://" + gatewayHost
	gatewayPort      = 8080
	gateways         = 2
	gatewayTLSSecret = "gateway-tls"
)

// What providers and the application agree on.
const (
	webhookSecret = "secret-of-webhooks"
	endedEvent    = "grant.ended"
	// grantName is what the OAuth server's answers call a grant; it names none, so what it does say stands for it.
	grantName = "api:read offline_access"
)

// person has a browser: it keeps cookies, follows redirects, and reaches the hosts of the story wherever they are forwarded to.
type person struct {
	*http.Client
	// returned is the last address of the gateway's callback that they were sent to.
	returned string
}

// visit runs a function with a browser whose requests to the gateway go to its replicas in turn.
func (s *suite) visit(t *testing.T, pods []corev1.Pod, call func(*person)) {
	t.Helper()
	provider, end := s.forward(t, providerNamespace, providerName, providerPort)
	defer end()
	var replicas []string
	for _, pod := range pods {
		address, end := s.forward(t, pod.Namespace, pod.Name, gatewayPort)
		defer end()
		replicas = append(replicas, address...)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var turn atomic.Uint64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		switch address {
		case gatewayHost + ":443":
			address = replicas[turn.Add(1)%uint64(len(replicas))]
		case strings.TrimPrefix(providerURL, "http://"):
			address = provider[0]
		default:
			return nil, fmt.Errorf("the story leads to %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	p := &person{Client: &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.trusted, MinVersion: tls.VersionTLS12},
	}}}
	p.CheckRedirect = func(request *http.Request, _ []*http.Request) error {
		if request.URL.Path == v1alpha1.PathCallback {
			p.returned = request.URL.String()
		}
		return nil
	}
	call(p)
}

// open returns what a page says. A page that waits for something is opened again, as browsers do.
func (p *person) open(t *testing.T, page string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.see(t, request)
}

func (p *person) see(t *testing.T, request *http.Request) (status int, body string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		response, err := p.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		status, body = response.StatusCode, string(content)
		if status != http.StatusAccepted {
			return nil
		}
		if request, err = http.NewRequestWithContext(context.Background(), http.MethodGet, response.Request.URL.String(), nil); err != nil {
			t.Fatal(err)
		}
		return errors.New("the page still waits")
	})
	return status, body
}

// consentForm finds the form of the consent page: where it leads, and its one field.
var consentForm = regexp.MustCompile(`<form method="post" action="([^"]+)"[^>]*>\s*<input type="hidden" name="([^"]+)" value="([^"]+)">`)

// consent presses the button of the consent page, and agrees to all at the provider.
func (p *person) consent(t *testing.T, page, body string) (status int, result string) {
	t.Helper()
	form := consentForm.FindStringSubmatch(body)
	if form == nil {
		t.Fatalf("the page has no form:\n%s", body)
	}
	base, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	action, err := base.Parse(html.UnescapeString(form[1]))
	if err != nil {
		t.Fatal(err)
	}
	fields := url.Values{html.UnescapeString(form[2]): {html.UnescapeString(form[3])}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, action.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	return p.see(t, request)
}

// createPeoplesApplication registers the OAuth server's client for people, and its events.
func (s *suite) createPeoplesApplication(t *testing.T) {
	t.Helper()
	c := harness.DefaultClient()
	s.create(t,
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: peopleNamespace, Name: "crm-client"},
			StringData: map[string]string{v1alpha1.DefaultClientSecretKey: c.Secret, v1alpha1.DefaultWebhookSecretKey: webhookSecret},
		},
		&v1alpha1.OAuthApplication{
			ObjectMeta: metav1.ObjectMeta{Namespace: peopleNamespace, Name: crm},
			Spec: v1alpha1.OAuthApplicationSpec{
				IssuerURL:     providerURL,
				Client:        v1alpha1.ClientSpec{ID: c.ID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
				Scopes:        []v1alpha1.Scope{"api:read", "offline_access"},
				TokenResponse: &v1alpha1.TokenResponseSpec{ID: "$.scope"},
				StatusCheck:   &v1alpha1.StatusCheckSpec{Type: v1alpha1.StatusCheckIntrospection},
				Webhook: &v1alpha1.WebhookSpec{
					WebhookSignature:   v1alpha1.WebhookSignature{Scheme: v1alpha1.WebhookTimestampedHMAC},
					DeauthorizedEvents: []string{endedEvent}, ConnectionID: "$.grant",
				},
			},
		})
}

// personConnects follows the link of a connection to its token. Each step is answered by another replica than the one before.
func (s *suite) personConnects(t *testing.T) {
	s.createNamespace(t, peopleNamespace)
	s.createPeoplesApplication(t)
	s.create(t, &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: peopleNamespace, Name: crm},
		Spec:       v1alpha1.OAuthConnectionSpec{ApplicationRef: v1alpha1.ApplicationReference{Name: crm}},
	})
	var link string
	s.waitConnection(t, peopleNamespace, crm, func(c *v1alpha1.OAuthConnection) error {
		if link = c.Status.AuthorizationURL; c.Status.Phase != v1alpha1.ConnectionAuthorizing || link == "" {
			return errors.New("want a link for a person")
		}
		return nil
	})
	if want := gatewayURL + v1alpha1.PathConnect + "/" + peopleNamespace + "/" + crm + "?"; !strings.HasPrefix(link, want) {
		t.Fatalf("the link leads to %s, want %s", link, want)
	}
	s.visit(t, s.podsOf(t, "gateway"), func(p *person) {
		status, body := p.open(t, link)
		if status != http.StatusOK || !strings.Contains(body, peopleNamespace) {
			t.Fatalf("the consent page is answered by %d:\n%s", status, body)
		}
		start := time.Now()
		if status, body = p.consent(t, link, body); status != http.StatusOK {
			t.Fatalf("the login ends with %d:\n%s", status, body)
		}
		t.Logf("from the button to the page that says so: %s", time.Since(start).Round(time.Millisecond))
		s.waitConnection(t, peopleNamespace, crm, ready)
		s.tokenWorks(t, peopleNamespace, crm)

		if status, _ := p.open(t, p.returned); status != http.StatusConflict {
			t.Errorf("an answer of the provider that was used is answered by %d, want %d", status, http.StatusConflict)
		}
		if status, _ := p.open(t, link); status != http.StatusNotFound {
			t.Errorf("a link that was used is answered by %d, want %d", status, http.StatusNotFound)
		}
	})
	s.messagesAreEmptied(t)
	s.nothingSpentTwice(t)
}

// serviceLeadsToGateway asks through the Service, as an Ingress does, for a link that nobody has given out.
func (s *suite) serviceLeadsToGateway(t *testing.T) {
	answer := s.fetchAs(t, "visitor", "https://"+gatewayName+"."+testenv.OperatorNamespace+".svc:80"+v1alpha1.PathConnect+"/"+teamNamespace+"/"+crm)
	if !strings.HasPrefix(answer, "404 ") || !strings.Contains(answer, "<html") {
		t.Errorf("the Service leads to somebody who says:\n%s", answer)
	}
}

// messagesAreEmptied wants nothing left in what the gateway handed over.
func (s *suite) messagesAreEmptied(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		secrets := &corev1.SecretList{}
		err := s.client.List(context.Background(), secrets, client.InNamespace(testenv.OperatorNamespace),
			client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending})
		if err != nil {
			return err
		}
		if len(secrets.Items) == 0 {
			return errors.New("there is no message: the login came to an end without one")
		}
		for _, secret := range secrets.Items {
			if len(secret.Data) != 0 {
				return fmt.Errorf("message %s is not emptied", secret.Name)
			}
		}
		return nil
	})
}

// webhookEndsConnection lets the provider say that a grant has ended, which it has.
func (s *suite) webhookEndsConnection(t *testing.T) {
	application := &v1alpha1.OAuthApplication{}
	s.get(t, peopleNamespace, crm, application)
	if want := gatewayURL + v1alpha1.PathWebhooks + "/" + peopleNamespace + "/" + crm; application.Status.WebhookURL != want {
		t.Fatalf("events go to %q, want %s", application.Status.WebhookURL, want)
	}
	pods := s.podsOf(t, "gateway")
	// The secret comes to each replica with the keys.
	for i := range pods {
		s.visit(t, pods[i:i+1], func(p *person) {
			testenv.Eventually(t, kubeletPatience, func() error {
				return p.send(application.Status.WebhookURL, event("something.else", pods[i].Name), webhookSecret, http.StatusOK)
			})
		})
	}
	s.visit(t, pods, func(p *person) {
		forged := event(endedEvent, "forged")
		if err := p.send(application.Status.WebhookURL, forged, "another-secret", http.StatusNotFound); err != nil {
			t.Error(err)
		}
		s.waitConnection(t, peopleNamespace, crm, ready)
		s.revoke(t, s.tokenWorks(t, peopleNamespace, crm))
		start := time.Now()
		if err := p.send(application.Status.WebhookURL, event(endedEvent, "real"), webhookSecret, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		s.waitConnection(t, peopleNamespace, crm, func(c *v1alpha1.OAuthConnection) error {
			if c.Status.Phase != v1alpha1.ConnectionDeleted {
				return errors.New("want the connection Deleted")
			}
			return nil
		})
		t.Logf("from the event to the phase: %s", time.Since(start).Round(time.Millisecond))
	})
	if err := s.client.Get(t.Context(), types.NamespacedName{Namespace: peopleNamespace, Name: crm}, &corev1.Secret{}); err == nil {
		t.Error("the Secret of a grant that has ended is there")
	}
}

// event is the body of one that is about the person's grant; id tells it from others.
func event(kind, id string) string {
	return fmt.Sprintf(`{"id":%q,"type":%q,"grant":%q}`, id, kind, grantName)
}

// send posts an event, signed now with a secret, and wants an answer.
func (p *person) send(target, body, secret string, want int) error {
	signedAt := time.Now().Unix()
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s", signedAt, body) // It never fails.
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Signature", fmt.Sprintf("t=%d,v1=%s", signedAt, hex.EncodeToString(mac.Sum(nil))))
	response, err := p.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != want {
		return fmt.Errorf("the event %s is answered by %d, want %d", body, response.StatusCode, want)
	}
	return nil
}
