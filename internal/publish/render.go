// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// IndexByConnectionUID names the cache's index of Secrets by the label oauth-operator.io/connection-uid; the manager
	// registers it with IndexConnectionUID.
	IndexByConnectionUID = "metadata.labels[" + v1alpha1.LabelConnectionUID + "]"

	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "oauth-operator"

	connectionKind = "OAuthConnection"

	maxLabelValue = 63
	labelHash     = 10
)

// IndexConnectionUID returns the values of the index IndexByConnectionUID.
func IndexConnectionUID(object client.Object) []string {
	if uid := object.GetLabels()[v1alpha1.LabelConnectionUID]; uid != "" {
		return []string{uid}
	}
	return nil
}

// ConnectionLabel returns the value of label oauth-operator.io/connection for a connection's name: the name itself, or
// its beginning and a hash where it is longer than a label value may be.
func ConnectionLabel(name string) string {
	if len(name) <= maxLabelValue {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:maxLabelValue-1-labelHash] + "-" + hex.EncodeToString(sum[:])[:labelHash]
}

// Desired is the Secret that a connection should have.
type Desired struct {
	// Connection names the connection that owns the Secret; the Secret is in its namespace.
	Connection types.NamespacedName
	// ConnectionUID is the connection's UID.
	ConnectionUID types.UID
	// Name of the Secret.
	Name string
	// Type of the Secret; empty: Opaque.
	Type string
	// AccessToken must not be empty.
	AccessToken sensitive.String
	// TokenType as the provider said, mostly "Bearer".
	TokenType string
	// ExpiresAt is the access token's expiry; zero: it never expires, or nobody knows.
	ExpiresAt time.Time
	// Scopes granted; may be empty.
	Scopes []string
}

func (d Desired) validate() error {
	switch {
	case d.Connection.Name == "" || d.Connection.Namespace == "" || d.ConnectionUID == "" || d.Name == "":
		return fmt.Errorf("publish Secret %q of connection %s: connection, UID and name are required", d.Name, d.Connection)
	case d.AccessToken.IsEmpty():
		return fmt.Errorf("publish Secret %q of connection %s: there is no access token", d.Name, d.Connection)
	case d.Type == string(corev1.SecretTypeServiceAccountToken), d.Type == string(corev1.SecretTypeBootstrapToken):
		err := errors.New("credentials for the cluster itself are refused")
		return &RejectedError{Secret: d.secret(), Message: fmt.Sprintf("type %s: %v", d.Type, err), cause: err}
	}
	return nil
}

func (d Desired) secret() types.NamespacedName {
	return types.NamespacedName{Namespace: d.Connection.Namespace, Name: d.Name}
}

// render is pure: equal input gives equal Secrets.
func render(d Desired) *corev1.Secret {
	expiry := ""
	if !d.ExpiresAt.IsZero() {
		expiry = d.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Connection.Namespace,
			Name:      d.Name,
			Labels: map[string]string{
				v1alpha1.LabelConnection:    ConnectionLabel(d.Connection.Name),
				v1alpha1.LabelConnectionUID: string(d.ConnectionUID),
				labelManagedBy:              managedBy,
			},
			Annotations: map[string]string{v1alpha1.AnnotationExpiresAt: expiry},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion:         v1alpha1.GroupVersion().String(),
				Kind:               connectionKind,
				Name:               d.Connection.Name,
				UID:                d.ConnectionUID,
				Controller:         new(true),
				BlockOwnerDeletion: new(true),
			}},
		},
		Type: cmp.Or(corev1.SecretType(d.Type), corev1.SecretTypeOpaque),
		Data: map[string][]byte{
			v1alpha1.SecretKeyAccessToken: []byte(d.AccessToken.Reveal()),
			v1alpha1.SecretKeyTokenType:   []byte(d.TokenType),
			v1alpha1.SecretKeyExpiresAt:   []byte(expiry),
			v1alpha1.SecretKeyScope:       []byte(strings.Join(d.Scopes, " ")),
		},
	}
}

// mergeMetadata forces the wanted labels, annotations and owner and leaves those of others. It tells whether that
// changed anything.
func mergeMetadata(secret, want *corev1.Secret) bool {
	labels, newLabels := merged(secret.Labels, want.Labels)
	annotations, newAnnotations := merged(secret.Annotations, want.Annotations)
	secret.Labels, secret.Annotations = labels, annotations
	return mergeOwner(secret, want.OwnerReferences[0]) || newLabels || newAnnotations
}

func merged(existing, want map[string]string) (result map[string]string, changed bool) {
	result = maps.Clone(existing)
	if result == nil {
		result = map[string]string{}
	}
	maps.Copy(result, want)
	return result, !maps.Equal(existing, result)
}

// mergeOwner restores the details of the connection's owner reference, which isOwned has found, in its place: the order
// of owners means nothing.
func mergeOwner(secret *corev1.Secret, owner metav1.OwnerReference) (changed bool) {
	for i, existing := range secret.OwnerReferences {
		if existing.UID == owner.UID && !equality.Semantic.DeepEqual(existing, owner) {
			secret.OwnerReferences[i] = owner
			changed = true
		}
	}
	return changed
}

// isOwned tells whether the object belongs to the connection with that UID: labels can be copied or lost, so that only
// the controller reference counts.
func isOwned(object metav1.Object, uid types.UID) bool {
	owner := metav1.GetControllerOfNoCopy(object)
	return owner != nil && owner.UID == uid && isConnection(owner)
}

func isConnection(owner *metav1.OwnerReference) bool {
	version, err := schema.ParseGroupVersion(owner.APIVersion)
	return err == nil && version.Group == v1alpha1.GroupName && owner.Kind == connectionKind
}

func equalData(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// digest identifies name, type and content of a Secret without keeping the content.
func digest(secret *corev1.Secret) [sha256.Size]byte {
	// JSON sorts the keys and cannot fail for these types.
	text, _ := json.Marshal([]any{secret.Name, secret.Type, secret.Data})
	return sha256.Sum256(text)
}
