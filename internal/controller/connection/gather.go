// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// gather reads what a decision needs, from the cache; only a changed input Secret is read live.
func (r *Reconciler) gather(ctx context.Context, connection *v1alpha1.OAuthConnection) (*scope, error) {
	s := &scope{
		log: logr.FromContextOrDiscard(ctx), now: r.Clock.Now(),
		name: client.ObjectKeyFromObject(connection), connection: connection,
	}
	entry, err := r.Grants.Get(ctx, string(connection.UID))
	if err != nil {
		return nil, err
	}
	s.facts = lifecycle.Facts{
		UID: string(connection.UID), Process: r.Process,
		Suspended:      connection.Spec.Suspend,
		GrantType:      lifecycle.GrantType(connection.Spec.Grant.Type),
		Inputs:         inputsOf(connection),
		RefreshRequest: connection.Annotations[v1alpha1.AnnotationRefreshRequestedAt],
	}
	s.take(entry)
	s.facts.MarkSeenAt = r.marks.firstSeen(s.facts.Record, r.Process, s.now)
	if err := r.gatherApplication(ctx, s); err != nil {
		return nil, err
	}
	s.gatherValues()
	if !connection.DeletionTimestamp.IsZero() {
		s.facts.Deletion = r.deletionOf(s)
		return s, nil
	}
	if s.facts.Margin, err = lifecycle.ParseMargin(refreshBefore(connection)); err != nil {
		s.facts.Blocked = &lifecycle.Verdict{Reason: v1alpha1.ReasonInvalidConfiguration, Message: err.Error(), Stalled: true}
	}
	s.facts.Person = r.personOf(s)
	s.facts.Input, err = r.gatherInput(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := r.gatherMessages(ctx, s); err != nil {
		return nil, err
	}
	r.gatherQuestions(s)
	s.facts.Pauses = s.pauses()
	return s, nil
}

// gatherValues fills the placeholders of URLs and parameters. A grant that is being ended needs none of these: each token
// is revoked with the values that it was obtained with.
func (s *scope) gatherValues() {
	if s.client == nil {
		return
	}
	s.profile = s.client.Profile()
	if s.connection == nil || !s.connection.DeletionTimestamp.IsZero() {
		return
	}
	captured := map[string]string(nil)
	if s.facts.Record != nil {
		captured = s.facts.Record.Captured
	}
	var err error
	s.values, err = s.profile.Values(inputsOf(s.connection), captured)
	if err != nil && s.facts.Blocked == nil {
		s.facts.Blocked = &lifecycle.Verdict{Reason: v1alpha1.ReasonInvalidInputs, Message: s.inSpec(err), Stalled: true}
	}
}

// inSpec says in whose spec the field of an error is: inputs are the connection's, and what is captured the application's.
func (s *scope) inSpec(err error) string {
	message := "spec." + err.Error()
	if field, ok := errors.AsType[*provider.FieldError](err); ok && !strings.HasPrefix(field.Field, "inputs.") {
		return fmt.Sprintf("application %s: %s", s.applicationName(), message)
	}
	return message
}

func inputsOf(connection *v1alpha1.OAuthConnection) map[string]string {
	if len(connection.Spec.Inputs) == 0 {
		return nil
	}
	given := make(map[string]string, len(connection.Spec.Inputs))
	for name, value := range connection.Spec.Inputs {
		given[name] = string(value)
	}
	return given
}

func refreshBefore(connection *v1alpha1.OAuthConnection) string {
	if connection.Spec.Refresh == nil {
		return ""
	}
	return connection.Spec.Refresh.Before
}

// gatherApplication finds the application and its kept client, and says why they cannot be used.
func (r *Reconciler) gatherApplication(ctx context.Context, s *scope) error {
	namespace, name := s.connection.ApplicationKey()
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if !r.Watched(namespace) {
		s.facts.Blocked = &lifecycle.Verdict{
			Reason: v1alpha1.ReasonApplicationNotFound, Stalled: true,
			Message: fmt.Sprintf("application %s is in a namespace that the operator does not watch (controller --watch-namespaces)", key),
		}
		return r.gatherKeptClient(ctx, s)
	}
	application := &v1alpha1.OAuthApplication{}
	err := r.Client.Get(ctx, key, application)
	if apierrors.IsNotFound(err) {
		s.facts.Blocked = &lifecycle.Verdict{
			Reason: v1alpha1.ReasonApplicationNotFound, Message: fmt.Sprintf("there is no OAuthApplication %s", key),
		}
		return r.gatherKeptClient(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("read application %s: %w", key, err)
	}
	s.application = application
	if err := r.gatherKeptClient(ctx, s); err != nil {
		return err
	}
	s.facts.Scopes = requestedScopes(s.connection, application, s.client)
	if s.facts.Blocked, err = r.forbidden(ctx, s); err != nil || s.facts.Blocked != nil {
		return err
	}
	s.facts.Blocked = applicationNotReady(s)
	return nil
}

// gatherKeptClient finds the client: the application's own, or the one that the grant was obtained with.
func (r *Reconciler) gatherKeptClient(ctx context.Context, s *scope) error {
	var candidates []types.UID
	if s.application != nil {
		candidates = append(candidates, s.application.UID)
	}
	if s.entry != nil {
		candidates = append(candidates, types.UID(s.entry.Record.Application.UID))
	}
	if s.connection == nil || !s.connection.DeletionTimestamp.IsZero() {
		slices.Reverse(candidates) // Tokens are revoked by the client that obtained them.
	}
	for _, uid := range candidates {
		kept, err := r.Registrations.Get(ctx, uid)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		s.client = kept
		s.facts.Basis = basis(kept.Fingerprint(), s.connection)
		return nil
	}
	return nil
}

func basis(fingerprint string, connection *v1alpha1.OAuthConnection) string {
	var generation int64
	if connection != nil {
		generation = connection.Generation
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s/%d", fingerprint, generation)))
	return hex.EncodeToString(sum[:8])
}

// requestedScopes are the connection's own, else the application's: those of the client that is in use, which may come from
// a preset.
func requestedScopes(connection *v1alpha1.OAuthConnection, application *v1alpha1.OAuthApplication, kept *registration.Client) []string {
	from := connection.Spec.Scopes
	switch {
	case len(from) > 0:
	case kept != nil:
		from = kept.Spec.Scopes
	default:
		from = application.Spec.Scopes
	}
	scopes := make([]string, 0, len(from))
	for _, scope := range from {
		scopes = append(scopes, string(scope))
	}
	slices.Sort(scopes)
	return scopes
}

// applicationNotReady says why an application cannot be used. A grant that is held goes on with the client that was
// kept last: a Secret that is missing for a while, or a mistake in a new spec, must not let grants die.
func applicationNotReady(s *scope) *lifecycle.Verdict {
	application := s.application
	var message string
	switch {
	case !application.DeletionTimestamp.IsZero():
		message = "is being deleted"
	case s.client != nil && s.facts.Record.Held():
		return nil
	case application.Status.Phase != v1alpha1.ApplicationActive || s.client == nil:
		message = "is not ready yet"
		for _, condition := range application.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == metav1.ConditionFalse {
				message = "is not ready: " + condition.Message
			}
		}
	case s.client.Generation != application.Generation:
		message = "has changed and is being read anew" // A code is not spent with what is out of date.
	default:
		return nil
	}
	return &lifecycle.Verdict{
		Reason:  v1alpha1.ReasonApplicationNotReady,
		Message: fmt.Sprintf("application %s %s", client.ObjectKeyFromObject(application), message),
	}
}

// pauses returns the application's pauses by the calls of this connection that they hold back.
func (s *scope) pauses() map[lifecycle.Action]lifecycle.Pause {
	if s.client == nil || s.values == nil || len(s.client.Pauses) == 0 {
		return nil
	}
	all := map[lifecycle.Action]lifecycle.Pause{}
	for _, action := range []lifecycle.Action{
		lifecycle.Exchange, lifecycle.Import, lifecycle.StartDevice, lifecycle.Poll, lifecycle.Issue, lifecycle.Refresh,
	} {
		lane, err := s.lane(s.grantTypeOf(action))
		if err != nil {
			continue
		}
		if pause, ok := s.client.Paused(lane); ok {
			all[action] = lifecycle.Pause{Reason: pause.Reason, Message: pause.Message, NextProbeAt: pause.NextProbeAt}
		}
	}
	return all
}

// gatherInput finds the code or refresh token. The Secret is read only in a version that is not known to hold the value
// that was used already.
func (r *Reconciler) gatherInput(ctx context.Context, s *scope) (lifecycle.Input, error) {
	if isIssued(s.connection.Spec.Grant.Type) {
		return r.gatherSources(ctx, s)
	}
	reference := inputReference(s.connection)
	if reference == nil {
		return r.noInput(s), nil
	}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	key := types.NamespacedName{Namespace: s.name.Namespace, Name: reference.Name}
	err := r.Metadata.Get(ctx, key, meta)
	if apierrors.IsNotFound(err) {
		return lifecycle.Input{State: lifecycle.InputMissing, Missing: r.missing(ctx, key)}, nil
	}
	if err != nil {
		return lifecycle.Input{}, fmt.Errorf("read metadata of Secret %s: %w", reference.Name, err)
	}
	if known := s.knownVersion(versionOf(meta), reference.Key); known != "" {
		return lifecycle.Input{State: lifecycle.InputPresent, Hash: s.entry.Record.SpentInput, Version: known}, nil
	}
	return r.readInput(ctx, s, reference)
}

// knownVersion returns the version of an input that the record says to hold what was used already; empty: it does not say
// so. Another key of the same Secret holds another value. Records of an older operator name no key.
func (s *scope) knownVersion(object, key string) string {
	if s.entry == nil {
		return ""
	}
	recorded := s.entry.Record.InputVersion
	isDefault := key == v1alpha1.DefaultCodeKey || key == v1alpha1.DefaultRefreshTokenKey
	if recorded == versionOfKey(object, key) || (recorded == object && isDefault) {
		return recorded
	}
	return ""
}

func versionOfKey(object, key string) string { return object + "#" + key }

// missing says why an input's Secret is not there. One with the operator's own labels is not taken for a user's.
func (r *Reconciler) missing(ctx context.Context, key types.NamespacedName) string {
	if err := r.Client.Get(ctx, key, &corev1.Secret{}); err == nil {
		return fmt.Sprintf("Secret %q is not read, because its label %s or %s marks it as one of the operator's own: take the label away",
			key.Name, v1alpha1.LabelConnection, v1alpha1.LabelRecord)
	}
	return fmt.Sprintf("waiting for Secret %q", key.Name)
}

// noInput describes a grant type without one, or a person who has to act.
func (r *Reconciler) noInput(s *scope) lifecycle.Input {
	if s.facts.GrantType == lifecycle.DeviceCode {
		return lifecycle.Input{State: lifecycle.InputNone, Hash: deviceInput}
	}
	return lifecycle.Input{State: lifecycle.InputNone}
}

func inputReference(connection *v1alpha1.OAuthConnection) *v1alpha1.SecretKeyReference {
	g := connection.Spec.Grant
	switch {
	case g.Type == v1alpha1.GrantAuthorizationCode && g.AuthorizationCode != nil && g.AuthorizationCode.CodeSecretRef != nil:
		return withDefault(g.AuthorizationCode.CodeSecretRef, v1alpha1.DefaultCodeKey)
	case g.Type == v1alpha1.GrantRefreshToken && g.RefreshToken != nil:
		return withDefault(&g.RefreshToken.SecretRef, v1alpha1.DefaultRefreshTokenKey)
	}
	return nil
}

func withDefault(reference *v1alpha1.SecretKeyReference, key string) *v1alpha1.SecretKeyReference {
	if reference.Key != "" {
		return reference
	}
	return &v1alpha1.SecretKeyReference{Name: reference.Name, Key: key}
}

func (r *Reconciler) readInput(ctx context.Context, s *scope, reference *v1alpha1.SecretKeyReference) (lifecycle.Input, error) {
	secret, err := r.readSecret(ctx, s.name.Namespace, reference.Name)
	if err != nil {
		return lifecycle.Input{}, err
	}
	value, missing := secret.value(reference.Key)
	if missing != "" {
		return lifecycle.Input{State: lifecycle.InputMissing, Missing: missing}, nil
	}
	s.input = input{value: value}
	if code := s.connection.Spec.Grant.AuthorizationCode; code != nil {
		if missing, err = r.readBesideCode(ctx, s, code, secret); err != nil || missing != "" {
			return lifecycle.Input{State: lifecycle.InputMissing, Missing: missing}, err
		}
	}
	if problem := s.captureCallback(secret); problem != "" && s.facts.Record.Held() {
		return lifecycle.Input{State: lifecycle.InputMissing, Missing: problem, MissingReason: v1alpha1.ReasonInvalidInputs}, nil
	} else if problem != "" && s.facts.Blocked == nil {
		s.facts.Blocked = &lifecycle.Verdict{Reason: v1alpha1.ReasonInvalidInputs, Message: problem, Stalled: true}
	}
	return lifecycle.Input{State: lifecycle.InputPresent, Hash: value.Hash(), Version: versionOfKey(secret.version, reference.Key)}, nil
}

// captureCallback reads what the callback carried beside a code, and says what is wrong with it: that code cannot be used,
// but a grant that is held goes on. A refresh token that is imported may need it too.
func (s *scope) captureCallback(secret userSecret) (problem string) {
	if s.profile == nil {
		return ""
	}
	var err error
	s.input.captured, err = s.profile.CaptureCallback(func(parameter string) string {
		value, _ := secret.value(parameter)
		return value.Reveal()
	})
	if err != nil {
		return fmt.Sprintf("Secret %q: %v", secret.name, err)
	}
	return ""
}

// readBesideCode reads what belongs to a code: its verifier and its redirect URL.
func (r *Reconciler) readBesideCode(
	ctx context.Context, s *scope, code *v1alpha1.AuthorizationCodeGrant, secret userSecret,
) (missing string, err error) {
	s.input.redirectURL = code.RedirectURL
	if code.CodeVerifierSecretRef != nil {
		reference := withDefault(code.CodeVerifierSecretRef, v1alpha1.DefaultCodeVerifierKey)
		beside := secret
		if reference.Name != secret.name {
			if beside, err = r.readSecret(ctx, s.name.Namespace, reference.Name); err != nil {
				return "", err
			}
		}
		if s.input.verifier, missing = beside.value(reference.Key); missing != "" {
			return missing, nil
		}
	}
	return "", nil
}

// userSecret is a user's Secret as it was read; without a version it does not exist.
type userSecret struct {
	name, version string
	data          map[string][]byte
}

// value returns one key; missing says in words what is not there. Codes and tokens have no white space (RFC 6749 appendix
// A); files that are made by hand often end in a line break.
func (u userSecret) value(key string) (value sensitive.String, missing string) {
	if u.version == "" {
		return value, fmt.Sprintf("waiting for Secret %q", u.name)
	}
	content := strings.TrimSpace(string(u.data[key]))
	if content == "" {
		return value, fmt.Sprintf("waiting for key %q in Secret %q", key, u.name)
	}
	return sensitive.New(content), ""
}

func (r *Reconciler) readSecret(ctx context.Context, namespace, name string) (userSecret, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return userSecret{name: name}, nil
	}
	if err != nil {
		return userSecret{}, fmt.Errorf("read Secret %s: %w", name, err)
	}
	return userSecret{name: name, version: versionOf(secret), data: secret.Data}, nil
}

// versionOf identifies one version of one object.
func versionOf(object metav1.Object) string {
	return string(object.GetUID()) + "/" + object.GetResourceVersion()
}
