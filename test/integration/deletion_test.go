// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
	"github.com/oauth-operator/oauth-operator/test/servers/hostile"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// trio is an application, its client Secret and one connection with a grant that was authorized twice and refreshed.
type trio struct {
	*subject
	application, clientSecret, connection client.Object
}

func (w *world) trio(t *testing.T, server provider, url string) *trio {
	t.Helper()
	s := w.connected(t, server, url)
	first := s.token(t)
	code, verifier := newCode(t, server)
	s.newCodeIn(t, code, verifier)
	second := s.waitOtherToken(t, first)
	s.requestRefresh(t)
	s.waitOtherToken(t, second)
	return &trio{
		subject: s, application: s.application(t), connection: s.get(t),
		clientSecret: get(t, w.namespace, s.name+"-client", &corev1.Secret{}),
	}
}

// gone waits until nothing is left: the objects, the token Secret, and what the operator kept.
func (x *trio) gone(t *testing.T) {
	t.Helper()
	waitGone(t, x.connection)
	waitGone(t, x.application)
	waitGone(t, secret(x.w.namespace, x.name, nil))
	waitGone(t, secret(x.w.operator, "grant-"+string(x.connection.GetUID()), nil))
	testenv.Eventually(t, patience, func() error {
		list := &corev1.SecretList{}
		err := plane.Client().List(patient(), list, client.InNamespace(x.w.operator),
			client.MatchingLabels{v1alpha1.LabelApplicationUID: string(x.application.GetUID())})
		if err != nil || len(list.Items) > 0 {
			return fmt.Errorf("%d Secrets of the application are kept: %w", len(list.Items), err)
		}
		return nil
	})
	dead(t, x.server)
}

// TestDeletionOrders deletes application, client Secret and connection in every order.
func TestDeletionOrders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for _, order := range []string{"ASC", "ACS", "SAC", "SCA", "CAS", "CSA", "at once"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			server := w.fosite(t, harness.Options{})
			x := w.trio(t, server, server.URL)
			objects := map[rune]client.Object{'A': x.application, 'S': x.clientSecret, 'C': x.connection}
			if order == "at once" {
				remove(t, x.connection, x.application, x.clientSecret)
			} else {
				for _, letter := range order {
					remove(t, objects[letter])
					x.noticed(t, letter)
				}
			}
			x.gone(t)
		})
	}
}

// noticed waits until the operator has seen a deletion, so that the next one finds another situation.
func (x *trio) noticed(t *testing.T, letter rune) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		switch letter {
		case 'C':
			return absent(x.connection)
		case 'S':
			a := &v1alpha1.OAuthApplication{}
			if err := plane.Client().Get(patient(), x.key(), a); err != nil || !a.DeletionTimestamp.IsZero() {
				return client.IgnoreNotFound(err)
			}
			return applicationIs(x.w.namespace, x.name, v1alpha1.ReasonSecretNotFound)
		}
		a := &v1alpha1.OAuthApplication{}
		err := plane.Client().Get(patient(), x.key(), a)
		if err == nil && a.Status.Phase != v1alpha1.ApplicationDeleted {
			return fmt.Errorf("the application is %s", a.Status.Phase)
		}
		return client.IgnoreNotFound(err)
	})
}

// TestDeletedNamespaces deletes namespaces as a whole, with everything in them.
func TestDeletedNamespaces(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		away   bool
	}{
		"the provider answers": {"every token is revoked", false},
		"the provider is away": {"nothing hangs, and the operator's namespace hears of it", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, revocationTimeout(5*time.Second))
			server := w.hostile(t, harness.Options{})
			x := w.trio(t, server, server.URL)
			tenant := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll))
			waitConnection(t, w.others[0], tenant, isReady)
			if test.away {
				server.Always(record.Filter{Endpoint: record.Revoke}, hostile.Status(503, "", nil))
			}
			for _, namespace := range []string{w.others[0], w.namespace} {
				remove(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
			}
			x.namespacesGone(t)
			if test.away {
				note := waitEvent(t, w.operator, "grant-"+string(x.connection.GetUID()), corev1.EventTypeWarning, v1alpha1.EventRevocationFailed)
				if !strings.Contains(note, w.namespace+"/"+x.name) {
					t.Errorf("%s: the event does not name the connection: %s", test.reason, note)
				}
				return
			}
			dead(t, server)
		})
	}
}

func (x *trio) namespacesGone(t *testing.T) {
	t.Helper()
	for _, name := range append(x.w.others, x.w.namespace) {
		testenv.Eventually(t, 2*patience, func() error {
			return absent(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		})
	}
	testenv.Eventually(t, patience, func() error {
		list := &corev1.SecretList{}
		if err := plane.Client().List(patient(), list, client.InNamespace(x.w.operator)); err != nil {
			return err
		}
		for _, left := range list.Items {
			if left.Name != v1alpha1.GatewayKeysSecret { // It belongs to the operator, not to a connection.
				return fmt.Errorf("Secret %s is left in the operator's namespace", left.Name)
			}
		}
		return nil
	})
}

func revocationTimeout(d time.Duration) func(*controller.Options, *rest.Config) {
	return func(o *controller.Options, _ *rest.Config) { o.RevocationTimeout = d }
}

// TestRevocation is what becomes of tokens when the provider does not simply revoke them.
func TestRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, revocationTimeout(8*time.Second))
	tests := map[string]struct {
		reason string
		fault  func(*hostile.Server)
		// event and its type; unrevoked is what the metric counts.
		event, kind string
		unrevoked   float64
		alive       bool
		// atLeast and atMost bound how long the deletion takes.
		atLeast, atMost time.Duration
	}{
		"revoked": {"both tokens die", func(*hostile.Server) {}, v1alpha1.ReasonRevoked, corev1.EventTypeNormal, 0, false, 0, 6 * time.Second},
		"away for a moment": {
			"it is tried again", func(s *hostile.Server) { s.Script(revoking(), hostile.Status(503, "", nil)) },
			v1alpha1.ReasonRevoked, corev1.EventTypeNormal, 0, false, time.Second, 6 * time.Second,
		},
		"away for good": {
			"the deadline ends it", func(s *hostile.Server) { s.Always(revoking(), hostile.Status(503, "", nil)) },
			v1alpha1.EventRevocationFailed, corev1.EventTypeWarning, 1, true, 7 * time.Second, 20 * time.Second,
		},
		"invalid_client": {
			"the client may be mended before the deadline", func(s *hostile.Server) { s.Always(revoking(), hostile.OAuthError(401, "invalid_client")) },
			v1alpha1.EventRevocationFailed, corev1.EventTypeWarning, 1, true, 7 * time.Second, 20 * time.Second,
		},
		"refused": {
			"nothing is gained by waiting", func(s *hostile.Server) { s.Always(revoking(), hostile.OAuthError(400, "unsupported_token_type")) },
			v1alpha1.EventRevocationFailed, corev1.EventTypeWarning, 1, true, 0, 6 * time.Second,
		},
		"dead already": {
			"a token that the provider does not know any more is revoked", func(s *hostile.Server) {
				s.Always(revoking(), hostile.OAuthError(400, "invalid_token"))
			},
			v1alpha1.ReasonRevoked, corev1.EventTypeNormal, 0, true, 0, 6 * time.Second,
		},
		"no endpoint": {
			"nothing can be done", func(s *hostile.Server) {
				s.Always(record.Filter{Endpoint: record.Discovery}, hostile.SetField("revocation_endpoint", hostile.Missing{}))
			},
			v1alpha1.EventRevocationUnsupported, corev1.EventTypeWarning, 1, true, 0, 6 * time.Second,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := w.hostile(t, harness.Options{})
			test.fault(server)
			s := w.connected(t, server, server.URL)
			token := s.token(t)
			started := time.Now()
			s.delete(t)
			if took := time.Since(started); took < test.atLeast || took > test.atMost {
				t.Errorf("%s: the deletion took %s", test.reason, took)
			}
			waitEvent(t, w.namespace, s.name, test.kind, test.event)
			if server.Introspect(token) != test.alive {
				t.Errorf("%s: the token is alive: %t", test.reason, !test.alive)
			}
			labels := map[string]string{"application_namespace": w.namespace, "application": s.name}
			if n := metricOf(t, w.running, "oauth_operator_unrevoked_grants_total", labels); n != test.unrevoked {
				t.Errorf("%s: the metric counts %v unrevoked grants", test.reason, n)
			}
			waitGone(t, secret(w.namespace, s.name, nil))
		})
	}
}

// TestRevocationWhoseTurnDoesNotCome : the application's limit would let the call out long after the deadline, so it is
// made at the deadline, beside the limit.
func TestRevocationWhoseTurnDoesNotCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, revocationTimeout(4*time.Second))
	server := w.hostile(t, harness.Options{})
	s := w.connected(t, server, server.URL)
	app := s.application(t)
	before := app.DeepCopy()
	app.Spec.Limits = &v1alpha1.Limits{RequestsPerSecond: new(resource.MustParse("1m")), MaxConcurrent: 1}
	if err := plane.Client().Patch(t.Context(), app, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, func() error {
		if now := s.application(t); now.Status.ObservedGeneration != now.Generation {
			return errors.New("the limit is not observed yet")
		}
		return nil
	})
	calls := server.Count(record.Filter{Endpoint: record.Token})
	s.update(t, func(c *v1alpha1.OAuthConnection) { // The first refresh takes what the limit allows for now.
		c.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: "now"}
	})
	if err := server.WaitFor(t.Context(), calls+1, record.Filter{Endpoint: record.Token}); err != nil {
		t.Fatal(err)
	}
	token := s.token(t)
	s.delete(t)
	waitEvent(t, w.namespace, s.name, corev1.EventTypeNormal, v1alpha1.ReasonRevoked)
	if server.Introspect(token) {
		t.Error("the token outlives its connection")
	}
}

func revoking() record.Filter { return record.Filter{Endpoint: record.Revoke} }

// metricOf returns the sum of the series of one metric that have all of the given labels.
func metricOf(t *testing.T, r *running, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := r.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			matching := 0
			for _, label := range metric.GetLabel() {
				if value, wanted := labels[label.GetName()]; wanted && value == label.GetValue() {
					matching++
				}
			}
			if matching == len(labels) {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// TestLostFinalizers is what becomes of grants whose connection was taken away without the operator: by hand, or by
// restoring a backup of the cluster.
func TestLostFinalizers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	server := w.hostile(t, harness.Options{})
	restored, forgotten, other := w.connected(t, server, server.URL), w.connected(t, server, server.URL), w.connected(t, server, server.URL)
	token, lost, stranger := restored.token(t), forgotten.token(t), other.token(t)
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*subject{restored, forgotten, other} {
		c := s.get(t)
		update(t, c, func(c *v1alpha1.OAuthConnection) { c.Finalizers = nil })
		remove(t, c)
		waitGone(t, c)
		waitGone(t, secret(w.namespace, s.name, nil)) // by garbage collection
	}
	asked := restored.tokenRequests()
	create(t, connection(w.namespace, restored.name, restored.name),
		connection(w.namespace, other.name, other.name, func(spec *v1alpha1.OAuthConnectionSpec) { spec.Owner = "somebody" }))
	w.restart(t)

	restored.wait(t, isReady, phase(v1alpha1.ConnectionActive))
	waitEvent(t, w.namespace, restored.name, corev1.EventTypeNormal, v1alpha1.EventAdopted)
	if restored.token(t) != token {
		t.Error("the restored connection has another token")
	}
	other.wait(t, notReady(v1alpha1.ReasonInvalidGrant)) // its code was redeemed before
	if n := restored.tokenRequests() - asked; n != 1 {
		t.Errorf("the provider was asked %d times, want once, for the connection of another owner", n)
	}

	testenv.Eventually(t, 3*patience, func() error {
		if server.Introspect(lost) || server.Introspect(stranger) {
			return fmt.Errorf("a grant without a connection is still alive")
		}
		return nil
	})
	restored.wait(t, isReady)
	restored.requestRefresh(t)
	restored.waitOtherToken(t, token)
	testenv.Eventually(t, patience, func() error {
		list := &corev1.SecretList{}
		err := plane.Client().List(patient(), list, client.InNamespace(w.operator), client.MatchingLabels{v1alpha1.LabelRecord: v1alpha1.RecordGrant})
		if err != nil || len(list.Items) != 2 {
			return fmt.Errorf("%d grant records, want those of the two connections: %w", len(list.Items), err)
		}
		return nil
	})
}

// TestNarrowedWatch : records of namespaces that are not looked at any more are left alone, without a word of error.
func TestNarrowedWatch(t *testing.T) {
	t.Parallel()
	narrowed := false
	w := newWorld(t, 1, func(o *controller.Options, _ *rest.Config) {
		if narrowed {
			o.WatchNamespaces = o.WatchNamespaces[:1]
		}
	})
	server := w.hostile(t, harness.Options{})
	near := w.connected(t, server, server.URL)
	distant, clientSecret := application(w.others[0], w.name(), server.URL)
	create(t, distant, clientSecret)
	far := w.tenant(t, server, server.URL, w.others[0], allow(v1alpha1.NamespacesFromAll))
	c := waitConnection(t, w.others[0], far, isReady)
	testenv.Eventually(t, patience, func() error { return applicationIs(w.others[0], distant.Name, v1alpha1.ReasonReady) })
	token := tokenIn(t, w.others[0], far)
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	narrowed = true
	w.restart(t)
	near.requestRefresh(t)
	near.wait(t, refreshed)
	update(t, get(t, w.operator, "grant-"+string(c.UID), &corev1.Secret{}), func(s *corev1.Secret) {
		s.Labels["touched"] = "yes"
	})
	testenv.Consistently(t, calm, func() error {
		if strings.Contains(w.Log.String(), `"level":"error"`) {
			return fmt.Errorf("the log has errors")
		}
		return nil
	})
	if !server.Introspect(token) {
		t.Error("a grant was revoked though nobody knows whether its connection is there")
	}
	get(t, w.operator, "grant-"+string(c.UID), &corev1.Secret{})
}
