// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/publish/render"
	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// TemplateError says that the template of a Secret could not be rendered (reason TemplateInvalid), in which member and line.
// The Secret stayed as it was. It shows no value that the template was given.
type TemplateError = render.TemplateError

// ConflictError says that a Secret of the wanted name exists and is not the connection's (reason SecretConflict). It was
// not touched.
type ConflictError struct {
	// Secret is the one in the way.
	Secret types.NamespacedName
	// Owner is its controller, "Kind name"; empty when it has none.
	Owner string
	// Former is true when it is left from an earlier connection of the same name, so that Kubernetes' garbage
	// collection is about to remove it.
	Former bool
}

// Error says what is in the way and what to do about it.
func (e *ConflictError) Error() string {
	switch {
	case e.Former:
		return fmt.Sprintf("Secret %s belongs to an earlier connection of the same name; it is left alone until "+
			"garbage collection has removed it, or delete it", e.Secret)
	case e.Owner != "":
		return fmt.Sprintf("Secret %s exists and belongs to %s; it is left alone: set another spec.secret.name, or delete it",
			e.Secret, e.Owner)
	}
	return fmt.Sprintf("Secret %s exists and is not this connection's; it is left alone: set another spec.secret.name, "+
		"or delete it", e.Secret)
}

func conflict(existing, want *corev1.Secret) *ConflictError {
	err := &ConflictError{Secret: client.ObjectKeyFromObject(want)}
	if owner := metav1.GetControllerOfNoCopy(existing); owner != nil {
		err.Owner = owner.Kind + " " + owner.Name
		err.Former = isConnection(owner) && owner.Name == want.OwnerReferences[0].Name
	}
	return err
}

// RejectedError says that the API server refuses the Secret as it is (reason SecretRejected): its type wants other keys,
// a quota is used up, a policy forbids it. Trying again helps only after somebody has changed something.
type RejectedError struct {
	// Secret is the one that was refused.
	Secret types.NamespacedName
	// Message is what the API server said, without the token and of bounded length.
	Message string

	cause error
}

// Error says what was refused and why.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("Secret %s was refused: %s", e.Secret, e.Message)
}

// Unwrap returns the API server's status without the token.
func (e *RejectedError) Unwrap() error { return e.cause }

// LeftoverError says that the Secret is as desired, but one that the connection had under another name could not be
// deleted. Publish tries again.
type LeftoverError struct{ cause error }

// Error says what could not be deleted.
func (e *LeftoverError) Error() string {
	return "remove what an earlier spec.secret.name left: " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *LeftoverError) Unwrap() error { return e.cause }

// terminating returns an error while somebody's finalizers keep a deleted Secret.
func terminating(secret *corev1.Secret) error {
	if secret.DeletionTimestamp == nil {
		return nil
	}
	return waiting(secret)
}

func waiting(secret *corev1.Secret) error {
	return fmt.Errorf("wait for Secret %s: it is being deleted and has finalizers %q",
		client.ObjectKeyFromObject(secret), secret.Finalizers)
}

// writeError returns a *RejectedError where the API server refuses the wanted Secret as it is. No error shows its content or
// that of the existing one, which may be nil.
func writeError(verb string, err error, want *wanted, existing *corev1.Secret) error {
	secrets := []*corev1.Secret{want.Secret}
	if existing != nil {
		secrets = append(secrets, existing)
	}
	key := client.ObjectKeyFromObject(want.Secret)
	clean := scrubbed(err, want.token, secrets...)
	if status := (*apierrors.StatusError)(nil); errors.As(clean, &status) && rejects(status) {
		return &RejectedError{Secret: key, Message: status.ErrStatus.Message, cause: status}
	}
	return fmt.Errorf("%s Secret %s: %w", verb, key, clean)
}

func deleteError(err error, secret *corev1.Secret) error {
	return fmt.Errorf("delete Secret %s: %w", client.ObjectKeyFromObject(secret), scrubbed(err, sensitive.String{}, secret))
}

// rejects tells refusals of the object from failures that pass: conflicts, throttling, an expired credential, a missing
// or vanishing namespace.
func rejects(err *apierrors.StatusError) bool {
	switch err.ErrStatus.Code {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	return err.ErrStatus.Code >= 400 && err.ErrStatus.Code < 500
}

// scrubbed takes a token and the content of Secrets out of an error.
func scrubbed(err error, token sensitive.String, secrets ...*corev1.Secret) error {
	values := []sensitive.String{token}
	for _, secret := range secrets {
		values = append(values, confidential(secret)...)
	}
	return redact.Error(err, values...)
}

// confidential returns the values of a Secret that must not be shown, also those that others put there. A template may
// have put a token into a longer text, or under any key, so that words count that are as long as tokens are.
func confidential(secret *corev1.Secret) []sensitive.String {
	var values []sensitive.String
	for key, data := range secret.Data {
		for _, word := range bytes.FieldsFunc(data, separates) {
			if len(word) >= minToken {
				values = append(values, sensitive.New(string(word)))
			}
		}
		switch key {
		case v1alpha1.SecretKeyTokenType, v1alpha1.SecretKeyExpiresAt, v1alpha1.SecretKeyScope:
			continue // Their values are words that messages need.
		}
		values = append(values, sensitive.New(string(data)))
	}
	return values
}

// minToken is the length from which a word inside of a value may be a token.
const minToken = 16

// separates tells whether a character ends a token in the texts that templates make.
func separates(r rune) bool {
	return unicode.IsSpace(r) || strings.ContainsRune(`"'`+"`"+`,;:=@&?(){}[]<>`, r)
}
