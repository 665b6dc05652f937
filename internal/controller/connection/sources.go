// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// origin is a place that an issued token is made from: a key of a Secret, or another connection.
type origin struct {
	secret     *v1alpha1.SecretKeyReference
	connection string
}

// isIssued tells whether tokens of a type are made from sources in the cluster.
func isIssued(grantType v1alpha1.GrantType) bool {
	switch grantType {
	case v1alpha1.GrantJWTBearer, v1alpha1.GrantTokenExchange, v1alpha1.GrantExtension:
		return true
	case v1alpha1.GrantAuthorizationCode, v1alpha1.GrantRefreshToken, v1alpha1.GrantClientCredentials, v1alpha1.GrantDeviceCode:
	}
	return false
}

// sourcesOf lists the sources of a grant by their place in it.
func sourcesOf(g *v1alpha1.GrantSpec) map[string]origin {
	all := map[string]origin{}
	secret := func(place string, reference *v1alpha1.SecretKeyReference, key string) {
		if reference != nil {
			all[place] = origin{secret: withDefault(reference, key)}
		}
	}
	token := func(place string, from *v1alpha1.TokenSource) {
		if from == nil {
			return
		}
		secret(place, from.SecretKeyRef, v1alpha1.DefaultTokenKey)
		if from.ConnectionRef != nil {
			all[place] = origin{connection: from.ConnectionRef.Name}
		}
	}
	if jwt := g.JWTBearer; jwt != nil && g.Type == v1alpha1.GrantJWTBearer {
		secret(placeAssertion, jwt.AssertionSecretRef, v1alpha1.DefaultAssertionKey)
		if jwt.Signed != nil {
			secret(placeKey, &jwt.Signed.KeySecretRef, v1alpha1.DefaultPrivateKeyKey)
		}
	}
	if exchange := g.TokenExchange; exchange != nil && g.Type == v1alpha1.GrantTokenExchange {
		token(placeSubject, &exchange.SubjectToken)
		token(placeActor, exchange.ActorToken)
	}
	if extension := g.Extension; extension != nil && g.Type == v1alpha1.GrantExtension {
		for _, parameter := range extension.Parameters {
			secret(parameter.Name, parameter.SecretKeyRef, "")
			if parameter.ConnectionRef != nil {
				all[parameter.Name] = origin{connection: parameter.ConnectionRef.Name}
			}
		}
	}
	return all
}

// Places of sources; those of an Extension are its parameters.
const (
	placeAssertion = "assertion"
	placeKey       = "key"
	placeSubject   = "subject_token"
	placeActor     = "actor_token"
)

// gatherSources finds out whether what a token is issued for has changed. Secrets are read only in a version that is not
// known to hold what was used already.
func (r *Reconciler) gatherSources(ctx context.Context, s *scope) (lifecycle.Input, error) {
	version, missing, err := r.versionOfSources(ctx, s)
	if err != nil || missing != nil {
		return missingInput(missing), err
	}
	if s.entry != nil && s.entry.Record.InputVersion == version {
		return lifecycle.Input{State: lifecycle.InputPresent, Hash: s.entry.Record.SpentInput, Version: version}, nil
	}
	_, hash, missing, err := r.readSources(ctx, s)
	if err != nil || missing != nil {
		return missingInput(missing), err
	}
	return lifecycle.Input{State: lifecycle.InputPresent, Hash: hash, Version: version}, nil
}

// absence says what a token cannot be issued without.
type absence struct{ reason, message string }

func missingInput(missing *absence) lifecycle.Input {
	if missing == nil {
		return lifecycle.Input{}
	}
	return lifecycle.Input{State: lifecycle.InputMissing, Missing: missing.message, MissingReason: missing.reason}
}

// versionOfSources identifies the versions of all sources, and the settings of the grant, by the cache alone.
func (r *Reconciler) versionOfSources(ctx context.Context, s *scope) (string, *absence, error) {
	parts, err := settingsOf(s.connection)
	if err != nil {
		return "", nil, err
	}
	for place, from := range sourcesOf(&s.connection.Spec.Grant) {
		if from.secret == nil {
			token, missing, err := r.tokenOf(ctx, s, from.connection)
			if err != nil || missing != nil {
				return "", missing, err
			}
			parts[place] = token.Hash()
			continue
		}
		meta := &metav1.PartialObjectMetadata{}
		meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		key := types.NamespacedName{Namespace: s.name.Namespace, Name: from.secret.Name}
		err := r.Metadata.Get(ctx, key, meta)
		if apierrors.IsNotFound(err) {
			return "", &absence{reason: v1alpha1.ReasonSecretNotFound, message: r.missing(ctx, key)}, nil
		}
		if err != nil {
			return "", nil, fmt.Errorf("read metadata of Secret %s: %w", from.secret.Name, err)
		}
		parts[place] = versionOf(meta)
	}
	return "sources/" + digest(parts), nil, nil
}

// readSources reads the values of all sources and the hash by which they count as the same.
func (r *Reconciler) readSources(ctx context.Context, s *scope) (values map[string]sensitive.String, hash string, missing *absence, err error) {
	values = map[string]sensitive.String{}
	parts, err := settingsOf(s.connection)
	if err != nil {
		return nil, "", nil, err
	}
	for place, from := range sourcesOf(&s.connection.Spec.Grant) {
		if from.secret != nil {
			secret, err := r.readSecret(ctx, s.name.Namespace, from.secret.Name)
			if err != nil {
				return nil, "", nil, err
			}
			value, absent := secret.value(from.secret.Key)
			if absent != "" {
				return nil, "", &absence{reason: v1alpha1.ReasonSecretNotFound, message: absent}, nil
			}
			values[place] = value
		} else if values[place], missing, err = r.tokenOf(ctx, s, from.connection); err != nil || missing != nil {
			return nil, "", missing, err
		}
		parts[place] = values[place].Hash()
	}
	return values, digest(parts), nil, nil
}

// tokenOf returns the access token of another connection of the namespace.
func (r *Reconciler) tokenOf(ctx context.Context, s *scope, name string) (sensitive.String, *absence, error) {
	none := func(format string, arguments ...any) (sensitive.String, *absence, error) {
		return sensitive.String{}, &absence{reason: v1alpha1.ReasonSourceNotReady, message: fmt.Sprintf(format, arguments...)}, nil
	}
	connection := &v1alpha1.OAuthConnection{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: s.name.Namespace, Name: name}, connection)
	if apierrors.IsNotFound(err) {
		return none("waiting for OAuthConnection %q, whose access token this one is made from", name)
	}
	if err != nil {
		return sensitive.String{}, nil, fmt.Errorf("read connection %s: %w", name, err)
	}
	circular, err := r.madeFrom(ctx, connection, s.name.Name)
	if err != nil {
		return sensitive.String{}, nil, err
	}
	if circular {
		return none("OAuthConnection %q is made from the access token of this one; name another source", name)
	}
	entry, err := r.Grants.Get(ctx, string(connection.UID))
	if err != nil {
		return sensitive.String{}, nil, err
	}
	switch {
	case entry == nil || entry.Record.AccessToken.IsEmpty():
		return none("waiting for OAuthConnection %q to get an access token", name)
	case entry.Record.Standing != nil:
		return none("OAuthConnection %q has been ended by its provider: %s", name, entry.Record.Standing.Message)
	case entry.Record.Expiry.Passed(s.now):
		return none("the access token of OAuthConnection %q has expired; waiting for a new one", name)
	}
	return entry.Record.AccessToken, nil, nil
}

// madeFrom tells whether a connection's token is made from that of a target in its namespace, perhaps by way of others:
// each new token of the one would ask for another one of the other, without end.
func (r *Reconciler) madeFrom(ctx context.Context, connection *v1alpha1.OAuthConnection, target string) (bool, error) {
	if connection.Name == target {
		return true, nil
	}
	seen, ahead := map[string]bool{connection.Name: true}, sourceConnections(connection)
	for len(ahead) > 0 {
		name := ahead[0]
		ahead = ahead[1:]
		if name == target {
			return true, nil
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		next := &v1alpha1.OAuthConnection{}
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: connection.Namespace, Name: name}, next)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("read connection %s: %w", name, err)
		}
		ahead = append(ahead, sourceConnections(next)...)
	}
	return false, nil
}

// settingsOf is what a grant says besides the values of its sources, as the first part of a digest.
func settingsOf(connection *v1alpha1.OAuthConnection) (map[string]string, error) {
	content, err := json.Marshal(connection.Spec.Grant)
	if err != nil {
		return nil, fmt.Errorf("write down spec.grant: %w", err)
	}
	return map[string]string{"": string(content)}, nil
}

// digest is a hash over named parts.
func digest(parts map[string]string) string {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		_, _ = fmt.Fprintf(hash, "%q %q\n", name, parts[name]) // Writing to a hash cannot fail.
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// indexByConnection finds the connections whose tokens are made from another one's.
const indexByConnection = "connection.source"

func sourceConnections(connection *v1alpha1.OAuthConnection) []string {
	var names []string
	for _, from := range sourcesOf(&connection.Spec.Grant) {
		if from.connection != "" {
			names = append(names, from.connection)
		}
	}
	return names
}

func sourceSecrets(connection *v1alpha1.OAuthConnection) []string {
	var names []string
	for _, from := range sourcesOf(&connection.Spec.Grant) {
		if from.secret != nil {
			names = append(names, from.secret.Name)
		}
	}
	return names
}

// scopeClaim replaces the placeholder of claims.
func scopeClaim(text, scopes string) string { return strings.ReplaceAll(text, "{scope}", scopes) }
