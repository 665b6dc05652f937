// SPDX-License-Identifier: Apache-2.0

package gatewaykeys

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/keyset"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Limits of the webhook secrets, in bytes.
const (
	// maxWebhookSecret bounds one. They are keys of HMACs, which are never that long.
	maxWebhookSecret = 512
	// maxWebhooks bounds all of them together with their names, which the object holds twice. A Secret may have 1 MiB of
	// data, and etcd takes 1.5 MiB of everything.
	maxWebhooks = 960 << 10
)

// decision is what the Secret should hold.
type decision struct {
	keys keyset.Set
	// sealing is the content of keyset.FileSealing.
	sealing []byte
	// broken is why the stored keys had to be given up; nil: they were not.
	broken   error
	webhooks map[types.UID][]byte
	// problems are what the operator's administrator should know.
	problems []error
}

// decide says what should become of the Secret as it is stored; nil: there is none. A kept client that is nil could not be
// read, and unreadable says why: what is stored of it stays.
func decide(stored *corev1.Secret, clients map[types.UID]*registration.Client, unreadable error, now time.Time) (decision, error) {
	var d decision
	if err := d.decideKeys(stored, now); err != nil {
		return decision{}, err
	}
	if unreadable != nil {
		d.problems = append(d.problems, unreadable)
	}
	before := storedWebhooks(stored)
	d.decideWebhooks(before, wantedWebhooks(before, clients), clients)
	return d, nil
}

// decideKeys keeps the stored bytes wherever they are as they should be.
func (d *decision) decideKeys(stored *corev1.Secret, now time.Time) error {
	present := keyset.Set{}
	if stored != nil {
		d.sealing = stored.Data[keyset.FileSealing]
		if present, d.broken = keyset.Parse(d.sealing); d.broken != nil {
			present = keyset.Set{}
		}
	}
	next, changed := keyset.Rotate(present, now)
	d.keys = next
	if !changed {
		return nil
	}
	var err error
	if d.sealing, err = next.Encode(); err != nil {
		return fmt.Errorf("the keys of the gateway: %w", err)
	}
	return nil
}

func storedWebhooks(stored *corev1.Secret) map[types.UID][]byte {
	webhooks := map[types.UID][]byte{}
	if stored == nil {
		return webhooks
	}
	for file, content := range stored.Data {
		if application, ok := keyset.WebhookApplication(file); ok {
			webhooks[application] = content
		}
	}
	return webhooks
}

func wantedWebhooks(before map[types.UID][]byte, clients map[types.UID]*registration.Client) map[types.UID][]byte {
	wanted := map[types.UID][]byte{}
	for application, kept := range clients {
		if kept == nil {
			if content, ok := before[application]; ok {
				wanted[application] = content
			}
			continue
		}
		if secret, ok := kept.WebhookSecret(); ok {
			wanted[application] = []byte(secret.Reveal())
		}
	}
	return wanted
}

// decideWebhooks takes in what there is room for: what is there already goes first, so that newcomers take nobody's place.
func (d *decision) decideWebhooks(before, wanted map[types.UID][]byte, clients map[types.UID]*registration.Client) {
	rank := func(application types.UID) int {
		if _, ok := before[application]; ok {
			return 0
		}
		return 1
	}
	order := slices.SortedFunc(maps.Keys(wanted), func(a, b types.UID) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	d.webhooks = map[types.UID][]byte{}
	size := 0
	for _, application := range order {
		content := wanted[application]
		const overhead = 16
		cost := len(content) + 2*len(keyset.WebhookFile(application)) + overhead
		switch {
		case len(content) > maxWebhookSecret:
			d.problems = append(d.problems, fmt.Errorf("the webhook secret of application %s is longer than %d bytes", nameOf(application, clients), maxWebhookSecret))
		case size+cost > maxWebhooks:
			d.problems = append(d.problems, fmt.Errorf("there is no room for the webhook secret of application %s beside %d others", nameOf(application, clients), len(d.webhooks)))
		default:
			d.webhooks[application] = content
			size += cost
		}
	}
}

func nameOf(application types.UID, clients map[types.UID]*registration.Client) string {
	if kept := clients[application]; kept != nil {
		return kept.Application.Namespace + "/" + kept.Application.Name
	}
	return "with UID " + string(application)
}

// secret returns the Secret to write; nil: the stored one is as it should be. What others have added to that stays.
func (d *decision) secret(stored *corev1.Secret, name types.NamespacedName) *corev1.Secret {
	data := map[string][]byte{}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, Type: v1alpha1.SecretTypeKeys}
	if stored != nil {
		secret = stored.DeepCopy()
		maps.Copy(data, stored.Data)
	}
	for file := range data {
		if _, ok := keyset.WebhookApplication(file); ok {
			delete(data, file)
		}
	}
	data[keyset.FileSealing] = d.sealing
	for application, content := range d.webhooks {
		data[keyset.WebhookFile(application)] = content
	}
	if stored != nil && stored.Labels[v1alpha1.LabelRecord] == v1alpha1.RecordKeys && maps.EqualFunc(stored.Data, data, bytes.Equal) {
		return nil
	}
	if secret.Labels == nil {
		secret.Labels = map[string]string{}
	}
	secret.Labels[v1alpha1.LabelRecord] = v1alpha1.RecordKeys
	secret.Data = data
	return secret
}

// secrets returns all that no error may show of versions of the Secret; nil ones have none.
func secrets(versions ...*corev1.Secret) []sensitive.String {
	var all []sensitive.String
	for _, version := range versions {
		if version == nil {
			continue
		}
		for _, content := range version.Data {
			all = append(all, sensitive.New(string(content)))
		}
		set, _ := keyset.Parse(version.Data[keyset.FileSealing]) // What cannot be read has no keys.
		for _, key := range set.Keys {
			all = append(all, key.Secret)
		}
	}
	return all
}
