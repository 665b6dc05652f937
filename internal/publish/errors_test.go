// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func newUnindexed(t *testing.T, secret *corev1.Secret) client.Reader {
	t.Helper()
	return fake.NewClientBuilder().WithObjects(secret).Build()
}

// wantNoToken looks at all that logging could show of an error, down its whole chain.
func wantNoToken(t *testing.T, err error) {
	t.Helper()
	var texts []string
	for e := err; e != nil; e = errors.Unwrap(e) {
		texts = append(texts, fmt.Sprintf("%v %+v %#v", e, e, e))
		if status, ok := e.(apierrors.APIStatus); ok {
			text, jsonErr := json.Marshal(status.Status())
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			texts = append(texts, string(text))
		}
	}
	for _, text := range texts {
		if strings.Contains(text, "0123456789") || strings.Contains(text, base64.RawStdEncoding.EncodeToString([]byte(token))[:12]) {
			t.Errorf("an error shows the token: %s", text)
		}
	}
}

// TestErrorsOfTheAPIServer has every write answered by a webhook that quotes what it saw.
func TestErrorsOfTheAPIServer(t *testing.T) {
	inJSON, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	quotes := strings.Join([]string{
		token, string(inJSON), strconv.Quote(token), base64.StdEncoding.EncodeToString([]byte(token)), url.QueryEscape(token),
	}, " ")
	status := func(code int32, reason metav1.StatusReason, causes ...metav1.StatusCause) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: code, Reason: reason, Message: "denied: " + quotes,
			Details: &metav1.StatusDetails{
				Name: quotes, RetryAfterSeconds: 7,
				Causes: append(causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: "data", Message: quotes}),
			},
		}}
	}
	for _, test := range []struct {
		reason   string
		err      error
		rejected bool
		is       func(error) bool
	}{
		{reason: "validation", err: status(422, metav1.StatusReasonInvalid), rejected: true, is: apierrors.IsInvalid},
		{reason: "quota, admission, RBAC", err: status(403, metav1.StatusReasonForbidden), rejected: true, is: apierrors.IsForbidden},
		{reason: "a webhook's default", err: status(400, metav1.StatusReasonBadRequest), rejected: true, is: apierrors.IsBadRequest},
		{reason: "too large", err: status(413, metav1.StatusReasonRequestEntityTooLarge), rejected: true, is: apierrors.IsRequestEntityTooLargeError},
		{
			reason: "the namespace goes", is: apierrors.IsForbidden,
			err: status(403, metav1.StatusReasonForbidden, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause}),
		},
		{reason: "the namespace is gone", err: status(404, metav1.StatusReasonNotFound), is: apierrors.IsNotFound},
		{reason: "our credential has expired", err: status(401, metav1.StatusReasonUnauthorized), is: apierrors.IsUnauthorized},
		{reason: "a conflict", err: status(409, metav1.StatusReasonConflict), is: apierrors.IsConflict},
		{reason: "throttled", err: status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests), is: apierrors.IsTooManyRequests},
		{reason: "a broken webhook", err: status(500, metav1.StatusReasonInternalError), is: apierrors.IsInternalError},
		{
			reason: "no answer", err: &url.Error{Op: "Post", URL: "https://kubernetes", Err: context.DeadlineExceeded},
			is: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		},
	} {
		for _, existing := range [][]*corev1.Secret{nil, {published(desired(), func(s *corev1.Secret) { s.Data["scope"] = nil })}} {
			t.Run(fmt.Sprintf("%s/%d", test.reason, len(existing)), func(t *testing.T) {
				w := newWorld(t, existing...)
				w.fail = func(string) error { return test.err }
				_, err := w.publisher.Publish(t.Context(), desired())
				var rejected *RejectedError
				if errors.As(err, &rejected) != test.rejected {
					t.Fatalf("Publish = %v (%T), rejected: want %v", err, err, test.rejected)
				}
				if !test.is(err) {
					t.Errorf("the kind of error is lost: %v", err)
				}
				if test.rejected && (!strings.HasPrefix(rejected.Message, "denied: [redacted]") || rejected.Secret.String() != "billing/crm-token") {
					t.Errorf("RejectedError = %+v, want the server's message and the Secret's name", rejected)
				}
				wantNoToken(t, err)
			})
		}
	}
}

func TestErrorsShowNeitherOldNorForeignContent(t *testing.T) {
	const older, stray = "at-0123456789-older", "stray-0123456789"
	w := newWorld(t, published(desired(), func(s *corev1.Secret) {
		s.Data["access_token"], s.Data["password"] = []byte(older), []byte(stray)
	}))
	w.fail = func(string) error {
		return apierrors.NewBadRequest("old object: " + older + " " + stray + " Bearer " + strings.Repeat("x", 5000))
	}
	_, err := w.publisher.Publish(t.Context(), desired())
	wantNoToken(t, err)
	if err == nil || len(err.Error()) > 1100 || !strings.Contains(err.Error(), "old object: [redacted] [redacted] Bearer") {
		t.Errorf("Publish = %v, want the server's message, bounded and without content", err)
	}
}

func TestRetryAfterSurvives(t *testing.T) {
	w := newWorld(t)
	w.fail = func(string) error { return apierrors.NewTooManyRequests("later", 7) }
	_, err := w.publisher.Publish(t.Context(), desired())
	if seconds, ok := apierrors.SuggestsClientDelay(err); !ok || seconds != 7 {
		t.Errorf("the delay that the API server asks for is lost: %d, %v; %v", seconds, ok, err)
	}
}
