// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// What is watched.
const (
	connectionsPath  = "/apis/oauth-operator.io/v1alpha1/oauthconnections"
	applicationsPath = "/apis/oauth-operator.io/v1alpha1/oauthapplications"
	eventsPath       = "/apis/events.k8s.io/v1/events"
	secretsPath      = "/api/v1/namespaces/" + teamNamespace + "/secrets"
)

// state is what the watches have shown so far.
type state struct {
	connections  map[string]*v1alpha1.OAuthConnection
	applications map[string]*v1alpha1.OAuthApplication
	// secrets are the token Secrets, and seen is when each access token was first seen in one, in order.
	secrets map[string]*corev1.Secret
	seen    map[string][]sighting
	events  []happening
}

type sighting struct {
	token string
	at    time.Time
}

type happening struct {
	uid                        types.UID
	kind, reason, object, note string
}

func newState() *state {
	return &state{
		connections: map[string]*v1alpha1.OAuthConnection{}, applications: map[string]*v1alpha1.OAuthApplication{},
		secrets: map[string]*corev1.Secret{}, seen: map[string][]sighting{},
	}
}

// take notes a change and prints what people would watch: connections and events.
func (s *state) take(c change, out *console) error {
	if c.err != nil {
		return c.err
	}
	gone := c.kind == string(watch.Deleted)
	switch c.path {
	case connectionsPath:
		connection := &v1alpha1.OAuthConnection{}
		if err := c.decode(connection); err != nil {
			return err
		}
		if connection.Status.Phase != "" { // The operator has seen it.
			out.row(c.columns, c.row)
		}
		put(s.connections, connection.Name, connection, gone)
	case applicationsPath:
		application := &v1alpha1.OAuthApplication{}
		if err := c.decode(application); err != nil {
			return err
		}
		put(s.applications, application.Name, application, gone)
	case secretsPath:
		return s.takeSecret(c, gone)
	case eventsPath:
		return s.takeEvent(c, out)
	}
	return nil
}

func put[T any](all map[string]T, name string, object T, gone bool) {
	if gone {
		delete(all, name)
		return
	}
	all[name] = object
}

func (s *state) takeSecret(c change, gone bool) error {
	secret := &corev1.Secret{}
	if err := c.decode(secret); err != nil {
		return err
	}
	if _, ours := secret.Labels[v1alpha1.LabelConnection]; !ours {
		return nil
	}
	put(s.secrets, secret.Name, secret, gone)
	token := string(secret.Data[v1alpha1.SecretKeyAccessToken])
	if known := s.seen[secret.Name]; !gone && (len(known) == 0 || known[len(known)-1].token != token) {
		s.seen[secret.Name] = append(known, sighting{token: token, at: time.Now()})
	}
	return nil
}

func (s *state) takeEvent(c change, out *console) error {
	event := &eventsv1.Event{}
	if err := c.decode(event); err != nil {
		return err
	}
	known := slices.ContainsFunc(s.events, func(h happening) bool { return h.uid == event.UID })
	if known || c.kind == string(watch.Deleted) || event.Regarding.APIVersion != v1alpha1.GroupVersion().String() {
		return nil
	}
	h := happening{uid: event.UID, kind: event.Type, reason: event.Reason, object: event.Regarding.Name, note: event.Note}
	s.events = append(s.events, h)
	out.event(h.kind, h.reason, event.Regarding.Kind+" "+h.object, h.note)
	return nil
}

// happened tells whether there was an event of this reason about an object of this name.
func (s *state) happened(reason, object string) bool {
	return slices.ContainsFunc(s.events, func(h happening) bool { return h.reason == reason && h.object == object })
}

// ready returns condition Ready of a connection; an empty one when there is none.
func (s *state) ready(name string) metav1.Condition {
	connection := s.connections[name]
	if connection == nil {
		return metav1.Condition{}
	}
	if condition := meta.FindStatusCondition(connection.Status.Conditions, v1alpha1.ConditionReady); condition != nil {
		return *condition
	}
	return metav1.Condition{}
}

func (s *state) isReady(name string) bool { return s.ready(name).Status == metav1.ConditionTrue }

// current tells whether the status of a connection speaks of the token that its Secret holds.
func (s *state) current(connection, secret string) bool {
	c, held := s.connections[connection], s.secrets[secret]
	return c != nil && held != nil && c.Status.AccessTokenExpiresAt != nil &&
		c.Status.AccessTokenExpiresAt.UTC().Format(time.RFC3339) == string(held.Data[v1alpha1.SecretKeyExpiresAt])
}

// token returns the access token that a Secret holds now.
func (s *state) token(secret string) string {
	if known := s.seen[secret]; len(known) > 0 {
		return known[len(known)-1].token
	}
	return ""
}
