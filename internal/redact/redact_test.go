// SPDX-License-Identifier: Apache-2.0

package redact_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const token = `to"ken<0123456789>&abcdefgh`

func TestErrorHidesEverySpelling(t *testing.T) {
	quoted, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(`"`, `\"`).Replace(token)
	texts := map[string]string{"itself": token, "JSON": string(quoted), "JSON without escapes for HTML": plain}
	for shift := range 3 {
		document := strings.Repeat("x", shift) + `{"refreshToken":"` + plain + `"}`
		texts[fmt.Sprintf("a document in Base64, shifted by %d", shift)] = base64.StdEncoding.EncodeToString([]byte(document))
		texts[fmt.Sprintf("a document in Base64 for URLs, shifted by %d", shift)] = base64.URLEncoding.EncodeToString([]byte(document))
	}
	for reason, text := range texts {
		t.Run(reason, func(t *testing.T) {
			got := redact.Error(apierrors.NewBadRequest("denied: "+text+" end"), sensitive.New(token), sensitive.String{}).Error()
			if !strings.Contains(got, sensitive.Redacted) || !strings.HasPrefix(got, "denied: ") || !strings.HasSuffix(got, " end") {
				t.Errorf("Error gives %q", got)
			}
			// The middle of the token, in whatever spelling it stood in the text.
			for _, part := range []string{"0123456789", middle(text)} {
				if strings.Contains(got, part) {
					t.Errorf("Error gives %q, which shows %q", got, part)
				}
			}
		})
	}
}

// middle is a piece of a Base64 text behind the document's first member name, or the token's own digits.
func middle(text string) string {
	if strings.Contains(text, "0123456789") {
		return "0123456789"
	}
	return text[len(text)-24 : len(text)-12]
}

func TestErrorKeepsTheKind(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	for _, test := range []struct {
		reason string
		err    error
		is     func(error) bool
	}{
		{"a conflict", apierrors.NewConflict(secrets, "x", errors.New(token)), apierrors.IsConflict},
		{"not found", apierrors.NewNotFound(secrets, token), apierrors.IsNotFound},
		{"already there", apierrors.NewAlreadyExists(secrets, token), apierrors.IsAlreadyExists},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, token, nil), apierrors.IsInvalid},
		{"too large", apierrors.NewRequestEntityTooLargeError(token), apierrors.IsRequestEntityTooLargeError},
		{"a time-out of the server", apierrors.NewServerTimeout(secrets, token, 7), apierrors.IsServerTimeout},
		{"wrapped", fmt.Errorf("%s: %w", token, apierrors.NewTimeoutError(token, 7)), apierrors.IsTimeout},
		{
			"no answer", fmt.Errorf("%s: %w", token, context.DeadlineExceeded),
			func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			got := redact.Error(test.err, sensitive.New(token))
			if !test.is(got) || strings.Contains(got.Error(), "0123456789") {
				t.Errorf("Error gives %v (%T)", got, got)
			}
		})
	}
	if redact.Error(nil) != nil {
		t.Error("no error became one")
	}
}
