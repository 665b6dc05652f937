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
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/publish/render"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const (
	// IndexByConnectionUID names the cache's index of Secrets by the label oauth-operator.io/connection-uid; the manager
	// registers it with IndexConnectionUID.
	IndexByConnectionUID = "metadata.labels[" + v1alpha1.LabelConnectionUID + "]"

	managedBy = "oauth-operator"

	// annotationTemplated names the labels and annotations that come from a template, so that they go with it: those of
	// others stay.
	annotationTemplated = v1alpha1.GroupName + "/templated"
	templatedLabel      = "labels:"
	templatedAnnotation = "annotations:"

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

	// Template renders the Secret in place of the default keys; nil: these.
	Template *v1alpha1.SecretTemplate
	// DisplayName and Owner of the connection, Application that it refers to, Subject and ID of the grant at the provider,
	// Captured and Inputs by name (defaults of the application included): for templates alone, and all may be empty.
	DisplayName, Owner string
	Application        types.NamespacedName
	Subject, ID        string
	Captured, Inputs   map[string]string
}

func (d Desired) validate() error {
	switch {
	case d.Connection.Name == "" || d.Connection.Namespace == "" || d.ConnectionUID == "" || d.Name == "":
		return fmt.Errorf("publish Secret %q of connection %s: connection, UID and name are required", d.Name, d.Connection)
	case d.AccessToken.IsEmpty():
		return fmt.Errorf("publish Secret %q of connection %s: there is no access token", d.Name, d.Connection)
	case d.Type == string(corev1.SecretTypeServiceAccountToken), d.Type == string(corev1.SecretTypeBootstrapToken):
		return d.refuseType("credentials for the cluster itself are refused")
	case strings.HasPrefix(d.Type, v1alpha1.GroupName+"/"):
		return d.refuseType("types of the operator's own Secrets are refused")
	}
	return nil
}

func (d Desired) refuseType(why string) error {
	err := errors.New(why)
	return &RejectedError{Secret: d.secret(), Message: fmt.Sprintf("type %s: %v", d.Type, err), cause: err}
}

func (d Desired) values() render.Values {
	return render.Values{
		AccessToken: d.AccessToken, TokenType: d.TokenType, ExpiresAt: d.ExpiresAt, Scopes: d.Scopes,
		Subject: d.Subject, ID: d.ID, Captured: d.Captured, Inputs: d.Inputs,
		Connection: render.Connection{
			Namespace: d.Connection.Namespace, Name: d.Connection.Name, DisplayName: d.DisplayName, Owner: d.Owner,
		},
		Application: d.Application, SecretName: d.Name,
	}
}

func (d Desired) secret() types.NamespacedName {
	return types.NamespacedName{Namespace: d.Connection.Namespace, Name: d.Name}
}

// wanted is a Secret as it should be.
type wanted struct {
	*corev1.Secret
	// owner is the connection's UID.
	owner types.UID
	// token is what the Secret may hold inside other text.
	token sensitive.String
}

// newWanted is pure: equal input gives equal Secrets. Errors are *TemplateError.
func newWanted(d Desired, renderer *render.Renderer) (*wanted, error) {
	rendered, err := renderer.Render(d.Template, d.values())
	if err != nil {
		return nil, err
	}
	expiry := render.Expiry(d.ExpiresAt)
	labels := map[string]string{
		v1alpha1.LabelConnection:    ConnectionLabel(d.Connection.Name),
		v1alpha1.LabelConnectionUID: string(d.ConnectionUID),
		render.LabelManagedBy:       managedBy,
	}
	annotations := map[string]string{v1alpha1.AnnotationExpiresAt: expiry}
	if names := templated(rendered); names != "" {
		annotations[annotationTemplated] = names
	}
	maps.Copy(labels, rendered.Labels)
	maps.Copy(annotations, rendered.Annotations)
	data := rendered.Data
	if data == nil {
		data = map[string][]byte{
			v1alpha1.SecretKeyAccessToken: []byte(d.AccessToken.Reveal()),
			v1alpha1.SecretKeyTokenType:   []byte(d.TokenType),
			v1alpha1.SecretKeyExpiresAt:   []byte(expiry),
			v1alpha1.SecretKeyScope:       []byte(strings.Join(d.Scopes, " ")),
		}
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Connection.Namespace, Name: d.Name, Labels: labels, Annotations: annotations,
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
		Data: data,
	}
	return &wanted{Secret: secret, owner: d.ConnectionUID, token: d.AccessToken}, nil
}

// templated lists the names of labels and annotations that come from a template.
func templated(rendered render.Output) string {
	var names []string
	for name := range rendered.Labels {
		names = append(names, templatedLabel+name)
	}
	for name := range rendered.Annotations {
		names = append(names, templatedAnnotation+name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// dropTemplated takes what an earlier template has left off the metadata of a Secret, and tells whether there was any.
func dropTemplated(secret, want *corev1.Secret) (changed bool) {
	before, found := secret.Annotations[annotationTemplated]
	if !found {
		return false
	}
	drop := func(from, keep map[string]string, name string) {
		_, there := from[name]
		if _, kept := keep[name]; there && !kept {
			delete(from, name)
			changed = true
		}
	}
	for entry := range strings.FieldsSeq(before) {
		if name, found := strings.CutPrefix(entry, templatedLabel); found {
			drop(secret.Labels, want.Labels, name)
		}
		if name, found := strings.CutPrefix(entry, templatedAnnotation); found {
			drop(secret.Annotations, want.Annotations, name)
		}
	}
	drop(secret.Annotations, want.Annotations, annotationTemplated)
	return changed
}

// mergeMetadata forces the wanted labels, annotations and owner and leaves those of others. It tells whether that
// changed anything.
func mergeMetadata(secret, want *corev1.Secret) bool {
	dropped := dropTemplated(secret, want)
	labels, newLabels := merged(secret.Labels, want.Labels)
	annotations, newAnnotations := merged(secret.Annotations, want.Annotations)
	secret.Labels, secret.Annotations = labels, annotations
	return mergeOwner(secret, want.OwnerReferences[0]) || dropped || newLabels || newAnnotations
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

// digest identifies what is wanted of a Secret without keeping the content.
func digest(secret *corev1.Secret) [sha256.Size]byte {
	// JSON sorts the keys and cannot fail for these types.
	text, _ := json.Marshal([]any{secret.Name, secret.Type, secret.Data, secret.Labels, secret.Annotations})
	return sha256.Sum256(text)
}
