// SPDX-License-Identifier: Apache-2.0

package gatewaykeys

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func name() types.NamespacedName {
	return types.NamespacedName{Namespace: "system", Name: v1alpha1.GatewayKeysSecret}
}

// kept returns the kept client of an application; without a secret it has no webhook.
func kept(namespace string, uid types.UID, secret string) *registration.Client {
	c := &registration.Client{
		Application: registration.Application{Namespace: namespace, Name: "crm", UID: uid},
		Spec:        &v1alpha1.OAuthApplicationSpec{Client: v1alpha1.ClientSpec{ID: "crm"}, Endpoints: &v1alpha1.Endpoints{}},
	}
	if secret != "" {
		c.Spec.Webhook = &v1alpha1.WebhookSpec{}
		c.Webhook = &registration.Webhook{From: "crm/webhook_secret", Secret: sensitive.New(secret)}
	}
	return c
}

func clientsOf(all ...*registration.Client) map[types.UID]*registration.Client {
	clients := map[types.UID]*registration.Client{}
	for _, c := range all {
		clients[c.Application.UID] = c
	}
	return clients
}

// storedAt returns the Secret as it was written at a time.
func storedAt(t *testing.T, now time.Time, clients ...*registration.Client) *corev1.Secret {
	t.Helper()
	d, err := decide(nil, clientsOf(clients...), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return d.secret(nil, name())
}

func mustDecide(t *testing.T, stored *corev1.Secret, now time.Time, clients ...*registration.Client) decision {
	t.Helper()
	d, err := decide(stored, clientsOf(clients...), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func keyIDs(t *testing.T, secret *corev1.Secret) []string {
	t.Helper()
	set, err := keyset.Parse(secret.Data[keyset.FileSealing])
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.ID)
	}
	return ids
}

func TestTheFirstSecret(t *testing.T) {
	t.Parallel()
	secret := storedAt(t, start(), kept("team", "a", "hush"), kept("team", "b", ""))
	if secret.Type != v1alpha1.SecretTypeKeys || secret.Labels[v1alpha1.LabelRecord] != v1alpha1.RecordKeys ||
		secret.Name != v1alpha1.GatewayKeysSecret || secret.Namespace != "system" {
		t.Errorf("it is %s/%s of type %s with labels %v", secret.Namespace, secret.Name, secret.Type, secret.Labels)
	}
	if files := slices.Sorted(maps.Keys(secret.Data)); !slices.Equal(files, []string{"sealing.json", "webhook-a"}) {
		t.Errorf("its files are %v", files)
	}
	if string(secret.Data["webhook-a"]) != "hush" || len(keyIDs(t, secret)) != 1 {
		t.Error("it does not hold the webhook secret and one key")
	}
}

func TestWhatIsWritten(t *testing.T) {
	t.Parallel()
	a, b := kept("team", "a", "secret a"), kept("team", "b", "secret b")
	tests := map[string]struct {
		reason string
		// change the stored Secret, which holds the secret of a.
		change  func(*corev1.Secret)
		now     time.Time
		clients []*registration.Client
		// keys are what becomes of the one key: kept, joined by another, or replaced.
		keys     string
		webhooks []string
		still    bool
	}{
		"nothing new":        {reason: "idle costs nothing", clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}, still: true},
		"one more":           {reason: "a webhook was added", clients: []*registration.Client{a, b}, keys: "kept", webhooks: []string{"webhook-a", "webhook-b"}},
		"one less":           {reason: "its application is gone", clients: nil, keys: "kept", webhooks: nil},
		"without a secret":   {reason: "its application has no webhook any more", clients: []*registration.Client{kept("team", "a", "")}, keys: "kept", webhooks: nil},
		"another secret":     {reason: "it was changed", clients: []*registration.Client{kept("team", "a", "new")}, keys: "kept", webhooks: []string{"webhook-a"}},
		"a month later":      {reason: "a successor is due", now: start().Add(keyset.Period), clients: []*registration.Client{a}, keys: "joined", webhooks: []string{"webhook-a"}},
		"shortly before":     {reason: "nothing is due", now: start().Add(keyset.Period - time.Second), clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}, still: true},
		"broken keys":        {reason: "nobody could log in", change: func(s *corev1.Secret) { s.Data["sealing.json"] = []byte("{") }, clients: []*registration.Client{a}, keys: "replaced", webhooks: []string{"webhook-a"}},
		"no keys":            {reason: "nobody could log in", change: func(s *corev1.Secret) { delete(s.Data, "sealing.json") }, clients: []*registration.Client{a}, keys: "replaced", webhooks: []string{"webhook-a"}},
		"emptied":            {reason: "nobody could log in", change: func(s *corev1.Secret) { s.Data = nil }, clients: []*registration.Client{a}, keys: "replaced", webhooks: []string{"webhook-a"}},
		"label lost":         {reason: "it would be taken for a foreign Secret", change: func(s *corev1.Secret) { s.Labels = nil }, clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}},
		"forged webhook":     {reason: "the kept client is right", change: func(s *corev1.Secret) { s.Data["webhook-a"] = []byte("forged") }, clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}},
		"invented webhook":   {reason: "it is nobody's", change: func(s *corev1.Secret) { s.Data["webhook-z"] = []byte("forged") }, clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}},
		"written otherwise":  {reason: "another version may have put more into it", change: func(s *corev1.Secret) { s.Data["sealing.json"] = append([]byte(" "), s.Data["sealing.json"]...) }, clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}, still: true},
		"others' labels":     {reason: "they are not ours", change: func(s *corev1.Secret) { s.Labels["team"] = "x" }, clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"webhook-a"}, still: true},
		"a file of its own":  {reason: "another version may know it", change: func(s *corev1.Secret) { s.Data["later.json"] = []byte("{}") }, clients: []*registration.Client{a}, keys: "kept", webhooks: []string{"later.json", "webhook-a"}, still: true},
		"two webhooks moved": {reason: "one goes and one comes", clients: []*registration.Client{b}, keys: "kept", webhooks: []string{"webhook-b"}},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			stored := storedAt(t, start(), a)
			before := keyIDs(t, stored)[0]
			stored.ResourceVersion = "7"
			if test.change != nil {
				test.change(stored)
			}
			if test.now.IsZero() {
				test.now = start()
			}
			snapshot := stored.DeepCopy()
			d := mustDecide(t, stored, test.now, test.clients...)
			if (d.broken != nil) != (test.keys == "replaced") || len(d.problems) > 0 {
				t.Errorf("%s: broken: %v, problems: %v", test.reason, d.broken, d.problems)
			}
			next := d.secret(stored, name())
			if (next == nil) != test.still {
				t.Fatalf("%s: it is written: %t", test.reason, next != nil)
			}
			if fmt.Sprint(stored) != fmt.Sprint(snapshot) {
				t.Errorf("%s: what the cache holds was changed", test.reason)
			}
			if next == nil {
				next = stored
			}
			if next.ResourceVersion != "7" || next.Labels[v1alpha1.LabelRecord] != v1alpha1.RecordKeys || next.Labels["team"] != stored.Labels["team"] {
				t.Errorf("%s: its version is %q and its labels are %v", test.reason, next.ResourceVersion, next.Labels)
			}
			files := slices.DeleteFunc(slices.Sorted(maps.Keys(next.Data)), func(file string) bool { return file == keyset.FileSealing })
			if !slices.Equal(files, test.webhooks) {
				t.Errorf("%s: its webhooks are %v, want %v", test.reason, files, test.webhooks)
			}
			for _, c := range test.clients {
				if secret, ok := c.WebhookSecret(); ok && string(next.Data[keyset.WebhookFile(c.Application.UID)]) != secret.Reveal() {
					t.Errorf("%s: the secret of %s is not the client's", test.reason, c.Application.UID)
				}
			}
			ids := keyIDs(t, next)
			want := map[string]int{"kept": 1, "joined": 2, "replaced": 1}[test.keys]
			if len(ids) != want || slices.Contains(ids, before) == (test.keys == "replaced") {
				t.Errorf("%s: the key %s became %v, want it %s", test.reason, before, ids, test.keys)
			}
			again := mustDecide(t, next, test.now, test.clients...)
			if again.secret(next, name()) != nil {
				t.Errorf("%s: it is written a second time", test.reason)
			}
		})
	}
}

func TestAnUnreadableClientLosesNothing(t *testing.T) {
	t.Parallel()
	a, b := kept("team", "a", "secret a"), kept("team", "b", "secret b")
	stored := storedAt(t, start(), a)
	clients := clientsOf(b)
	clients["a"], clients["c"] = nil, nil
	d, err := decide(stored, clients, errors.New("two cannot be read"), start())
	if err != nil {
		t.Fatal(err)
	}
	next := d.secret(stored, name())
	if files := slices.Sorted(maps.Keys(next.Data)); !slices.Equal(files, []string{"sealing.json", "webhook-a", "webhook-b"}) {
		t.Errorf("the files are %v", files)
	}
	if len(d.problems) != 1 {
		t.Errorf("the problems are %v", d.problems)
	}
}

// TestFull: whoever is there first stays, whatever comes.
func TestFull(t *testing.T) {
	t.Parallel()
	const each = maxWebhookSecret - 200
	var old, all []*registration.Client
	for i := range 2 * maxWebhooks / each {
		// The newcomers' UIDs come first.
		all = append(all, kept("new", types.UID(fmt.Sprintf("a%04d", i)), strings.Repeat("x", each)))
		if i < 100 {
			old = append(old, kept("old", types.UID(fmt.Sprintf("b%04d", i)), strings.Repeat("x", each)))
		}
	}
	all = append(all, old...)
	stored := storedAt(t, start(), old...)
	d := mustDecide(t, stored, start(), all...)
	next := d.secret(stored, name())
	for _, c := range old {
		if _, ok := next.Data[keyset.WebhookFile(c.Application.UID)]; !ok {
			t.Fatalf("%s lost its place", c.Application.UID)
		}
	}
	size := 0
	for file, content := range next.Data {
		size += len(content) + len(file)
	}
	if size > corev1.MaxSecretSize || size < maxWebhooks/2 {
		t.Errorf("it has %d bytes", size)
	}
	if left := len(all) - len(d.webhooks); len(d.problems) != left || left == 0 {
		t.Errorf("%d are left out, and %d problems are told of", left, len(d.problems))
	}
	for _, problem := range d.problems {
		if !strings.Contains(problem.Error(), "application new/crm") || strings.Contains(problem.Error(), "xxxx") {
			t.Errorf("a problem is %.200q", problem)
		}
	}
	again := mustDecide(t, next, start(), all...)
	if again.secret(next, name()) != nil {
		t.Error("who is in and who is out changes from pass to pass")
	}
	huge := mustDecide(t, next, start(), kept("team", "z", strings.Repeat("x", maxWebhookSecret+1)), kept("team", "y", "hush"))
	if len(huge.webhooks) != 1 || huge.webhooks["y"] == nil || len(huge.problems) != 1 || !strings.Contains(huge.problems[0].Error(), "team/crm") {
		t.Errorf("one that is too long: %d are taken, and the problems are %v", len(huge.webhooks), huge.problems)
	}
}

func TestSecretsOfBothVersions(t *testing.T) {
	t.Parallel()
	a := storedAt(t, start(), kept("team", "a", "secret a"))
	all := secrets(nil, a, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Data: map[string][]byte{"webhook-b": []byte("secret b")}})
	set, err := keyset.Parse(a.Data[keyset.FileSealing])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"secret a", "secret b", set.Keys[0].Secret.Reveal()} {
		if !slices.ContainsFunc(all, func(s sensitive.String) bool { return s.Reveal() == want }) {
			t.Error("a secret is not among them")
		}
	}
	if bytes.Contains(fmt.Append(nil, all), []byte("secret a")) {
		t.Error("they are shown")
	}
}
