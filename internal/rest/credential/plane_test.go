// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/grant"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/pending"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/rest/credential"
	"github.com/oauth-operator/oauth-operator/internal/rest/directory"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// creator makes Secrets with a client.
type creator struct{ client.Client }

func (c creator) Create(ctx context.Context, secret *corev1.Secret) error {
	return c.Client.Create(ctx, secret)
}

// controller is what the test plays: it writes what the controller would, with an administrator's client.
type controller struct {
	t      *testing.T
	client client.Client
	grants *grant.Store
	conn   *v1alpha1.OAuthConnection
	app    *v1alpha1.OAuthApplication
}

func (c *controller) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// create makes application and connection, as active ones.
func (c *controller) create(ns string) {
	c.t.Helper()
	ctx := c.t.Context()
	c.app = &v1alpha1.OAuthApplication{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "crm"}}
	c.app.Spec.Endpoints = &v1alpha1.Endpoints{AuthorizationURL: "https://p.example.com/authorize", TokenURL: "https://p.example.com/token"}
	c.app.Spec.Client.ID = "crm"
	c.must(c.client.Create(ctx, c.app))
	c.app.Status.Phase, c.app.Status.ObservedGeneration = v1alpha1.ApplicationActive, c.app.Generation
	c.must(c.client.Status().Update(ctx, c.app))
	c.conn = &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "crm"}}
	c.conn.Spec.ApplicationRef.Name = "crm"
	c.must(c.client.Create(ctx, c.conn))
	c.report("at first")
}

// report writes status.
func (c *controller) report(message string) {
	c.t.Helper()
	c.conn.Status.Phase, c.conn.Status.ObservedGeneration = v1alpha1.ConnectionActive, c.conn.Generation
	c.conn.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonTokenReady, Message: message, LastTransitionTime: metav1.Now(),
	}}
	c.must(c.client.Status().Update(c.t.Context(), c.conn))
}

// store writes the record with an access token.
func (c *controller) store(name string, expiry time.Time) {
	c.t.Helper()
	base, err := c.grants.Live(c.t.Context(), string(c.conn.UID))
	c.must(err)
	_, err = c.grants.Write(c.t.Context(), base, &lifecycle.Record{
		Connection:  lifecycle.Identity{Namespace: c.conn.Namespace, Name: c.conn.Name, UID: string(c.conn.UID)},
		Application: lifecycle.Identity{Namespace: c.app.Namespace, Name: c.app.Name, UID: string(c.app.UID)},
		Tokens: lifecycle.Tokens{
			AccessToken: sensitive.New(token(name)), RefreshToken: sensitive.New(canary + "-refresh"), TokenType: "Bearer",
			IssuedAt: time.Now(), Expiry: lifecycle.Expiry{Kind: lifecycle.ExpiryAt, At: expiry}, GrantType: lifecycle.AuthorizationCode,
		},
	})
	c.must(err)
}

// asked returns the messages of the operator's namespace.
func (c *controller) asked(operator string) []pending.Message {
	c.t.Helper()
	var list corev1.SecretList
	c.must(c.client.List(c.t.Context(), &list, client.InNamespace(operator), client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordPending}))
	var all []pending.Message
	for i := range list.Items {
		m, err := pending.Decode(&list.Items[i])
		c.must(err)
		all = append(all, m)
	}
	return all
}

// watched returns a directory that informers of the API server fill.
func watched(t *testing.T, informers cache.Cache) *directory.Directory {
	t.Helper()
	d := directory.New()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- informers.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	connections, err := informers.GetInformer(ctx, &v1alpha1.OAuthConnection{})
	if err != nil {
		t.Fatal(err)
	}
	applications, err := informers.GetInformer(ctx, &v1alpha1.OAuthApplication{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connections.AddEventHandler(d.ConnectionHandler()); err != nil {
		t.Fatal(err)
	}
	if _, err := applications.AddEventHandler(d.ApplicationHandler()); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOnAnAPIServer renews an expired token for many callers with the permissions that the API is installed with.
func TestOnAnAPIServer(t *testing.T) {
	const operator = "operator-of-credentials"
	const patience = 20 * time.Second
	plane := testenv.Start(t, testenv.Options{})
	config, err := plane.API(t.Context(), operator)
	if err != nil {
		t.Fatal(err)
	}
	account, err := client.New(config, client.Options{Scheme: plane.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := account.List(t.Context(), &corev1.SecretList{}, client.InNamespace(operator)); !apierrors.IsForbidden(err) {
		t.Fatalf("the account may list grant records: %v", err)
	}
	informers, err := cache.New(config, cache.Options{Scheme: plane.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	d := watched(t, informers)
	admin := plane.Client()
	c := &controller{t: t, client: admin, grants: grant.New(grant.Options{
		Cached: admin, Live: admin, Writer: admin, Namespace: operator, Process: "p", Clock: clock.RealClock{},
	})}
	c.create(plane.Namespace(t))
	source := credential.New(credential.Options{
		Directory: d, Live: account, Creator: creator{account}, Namespace: operator, Clock: clock.RealClock{}, Log: logr.Discard(),
	})
	testenv.Eventually(t, patience, func() error {
		if known := d.Connection(c.conn.UID); known == nil || known.Status.Phase != v1alpha1.ConnectionActive || d.Application(c.app.UID) == nil {
			return errors.New("the informers have not seen it yet")
		}
		return nil
	})
	if _, err := source.Get(t.Context(), d.Connection(c.conn.UID)); problem.Of(err).Code != problem.ConnectionNotReady {
		t.Errorf("without a record: %v", err)
	}
	c.store("1", time.Now().Add(-time.Minute))
	c.must(registration.New(registration.Options{Cached: admin, Writer: admin, Namespace: operator}).Save(t.Context(), &registration.Client{
		Application: registration.Application{Namespace: c.app.Namespace, Name: c.app.Name, UID: c.app.UID}, Generation: 1,
		Spec: &v1alpha1.OAuthApplicationSpec{Endpoints: &v1alpha1.Endpoints{}, APIBaseURL: "https://api.example.com/v1"},
	}))

	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			got, err := source.Get(t.Context(), d.Connection(c.conn.UID))
			if err != nil || got.Token.Reveal() != token("2") || got.Base.Host != "api.example.com" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	testenv.Eventually(t, patience, func() error {
		if asked := c.asked(operator); len(asked) != 1 || asked[0].Renewal == nil || asked[0].ConnectionUID != c.conn.UID {
			return fmt.Errorf("messages: %+v", asked)
		}
		return nil
	})
	c.store("2", time.Now().Add(time.Hour))
	c.report("renewed")
	callers.Wait()
	if asked := c.asked(operator); len(asked) != 1 {
		t.Errorf("%d messages for one expired token", len(asked))
	}
	// The provider does not like the new token either.
	current, err := source.Get(t.Context(), d.Connection(c.conn.UID))
	c.must(err)
	source.Verify(t.Context(), d.Connection(c.conn.UID), current)
	if asked := c.asked(operator); len(asked) != 2 || asked[0].Renewal.Verify == asked[1].Renewal.Verify {
		t.Errorf("messages: %+v", asked)
	}
}
