// SPDX-License-Identifier: Apache-2.0

package serviceaccount_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
	"github.com/oauth-operator/oauth-operator/internal/serviceaccount"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

func TestToken(t *testing.T) {
	t.Parallel()
	a, w := willing(t), newWorld(t, installed)
	before := time.Now()
	token, expiresAt, err := w.Token(t.Context(), a.Namespace, a.Name, audience)
	if err != nil {
		t.Fatal(err)
	}
	if lifetime := expiresAt.Sub(before); lifetime < 9*time.Minute || lifetime > 11*time.Minute {
		t.Errorf("the token lives %s, want ten minutes", lifetime)
	}
	claims := claimsOf(t, token)
	if !slices.Equal(claims.Audience, []string{audience}) {
		t.Errorf("the token is for %q, want %q alone", claims.Audience, audience)
	}
	if want := "system:serviceaccount:" + a.Namespace + ":robot"; claims.Subject != want {
		t.Errorf("the token is %s's, want %s's", claims.Subject, want)
	}
	if expiry := time.Unix(claims.Expiry, 0); expiry.Before(expiresAt.Truncate(time.Second)) || expiry.After(expiresAt.Add(2*time.Second)) {
		t.Errorf("the token says that it expires at %s, and we say %s", expiry, expiresAt)
	}
	if text := fmt.Sprintf("%v %+v %#v", token, token, token); strings.Contains(text, token.Reveal()) {
		t.Error("the token can be printed")
	}
	if err := useAtAPIServer(t, token.Reveal()); !apierrors.IsUnauthorized(err) {
		t.Errorf("the API server answers %v to the token, want Unauthorized", err)
	}
	if len(w.reviews) != 2 || !slices.Equal(w.reviews[0].Audiences, []string{audience}) || w.reviews[1].Audiences != nil {
		t.Errorf("reviewed for %d audiences, want the provider's and then the API server's own", len(w.reviews))
	}
	another, _, err := w.Token(t.Context(), a.Namespace, a.Name, audience)
	if err != nil {
		t.Fatal(err)
	}
	if another.Equal(token) || len(w.reviews) != 4 {
		t.Error("the second token is not a new one that was shown to the API server as well")
	}
}

type claims struct {
	Audience []string `json:"aud"`
	Subject  string   `json:"sub"`
	Expiry   int64    `json:"exp"`
}

func claimsOf(t *testing.T, token sensitive.String) claims {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatal("the token is no JWT")
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if err := json.Unmarshal(content, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// useAtAPIServer asks the API server who the holder of the token is.
func useAtAPIServer(t *testing.T, token string) error {
	t.Helper()
	config := rest.AnonymousClientConfig(plane.Config)
	config.BearerToken = token
	c, err := client.New(config, client.Options{Scheme: plane.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c.Create(t.Context(), &authenticationv1.SelfSubjectReview{})
}

// audiencesOfAPIServer are those that the API server puts into tokens that are for nobody else.
func audiencesOfAPIServer(t *testing.T) []string {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if err := plane.Client().SubResource("token").Create(t.Context(), account(t, nil), request); err != nil {
		t.Fatal(err)
	}
	if len(request.Spec.Audiences) == 0 {
		t.Fatal("the API server has no audience")
	}
	return request.Spec.Audiences
}

// TestAudiencesOfAPIServer makes sure that a token that is good for the API server exists for the time of the check only.
func TestAudiencesOfAPIServer(t *testing.T) {
	t.Parallel()
	for _, own := range audiencesOfAPIServer(t) {
		a, w := willing(t), newWorld(t, installed)
		w.refused(t, a, own, "audience", own, "one of the API server's")
		if w.issued() != 1 {
			t.Fatalf("%d tokens were made", w.issued())
		}
		// Otherwise the test shows nothing.
		if err := useAtAPIServer(t, w.tokens[0]); err != nil {
			t.Fatalf("the token that was thrown away was no credential at all: %v", err)
		}

		w.refused(t, willing(t), own, "one of the API server's")
		w.clock.SetTime(w.clock.Now().Add(9 * time.Minute))
		w.refused(t, a, own, "one of the API server's")
		if w.issued() != 1 {
			t.Errorf("%d tokens with a known audience of the API server's were made, want none beyond the first", w.issued())
		}
		if _, _, err := w.Token(t.Context(), a.Namespace, a.Name, audience); err != nil {
			t.Errorf("another audience is refused as well: %v", err)
		}
		w.clock.SetTime(w.clock.Now().Add(2 * time.Minute))
		w.refused(t, a, own, "one of the API server's")
		if w.issued() != 3 {
			t.Error("the audience was not looked at again after ten minutes")
		}
	}
}

func TestTokensThatAreNotAllowed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		account  func(*testing.T) *corev1.ServiceAccount
		audience string
		words    []string
	}{
		"no such ServiceAccount": {
			func(t *testing.T) *corev1.ServiceAccount {
				return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: plane.Namespace(t), Name: "nobody"}}
			}, audience, []string{"nobody", "does not exist"},
		},
		"no such namespace": {
			func(*testing.T) *corev1.ServiceAccount {
				return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "nowhere", Name: "nobody"}}
			}, audience, []string{"nowhere/nobody", "does not exist"},
		},
		"no annotation":       {func(t *testing.T) *corev1.ServiceAccount { return account(t, nil) }, audience, []string{`oauth-operator.io/allow-tokens: "true"`}},
		"an empty annotation": {func(t *testing.T) *corev1.ServiceAccount { return account(t, new("")) }, audience, []string{"oauth-operator.io/allow-tokens"}},
		"it says no":          {func(t *testing.T) *corev1.ServiceAccount { return account(t, new("false")) }, audience, []string{"oauth-operator.io/allow-tokens"}},
		"it says something":   {func(t *testing.T) *corev1.ServiceAccount { return account(t, new("TRUE")) }, audience, []string{"oauth-operator.io/allow-tokens"}},
		"no audience":         {willing, "", []string{"audience of the token is empty"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, installed)
			w.refused(t, test.account(t), test.audience, test.words...)
			if w.issued() != 0 {
				t.Error("a token was made")
			}
		})
	}
}

// TestPermissionIsReadLive takes the permission back between two tokens.
func TestPermissionIsReadLive(t *testing.T) {
	t.Parallel()
	a, w := account(t, nil), newWorld(t, installed)
	w.refused(t, a, audience, "allow-tokens")
	for _, value := range []string{"true", "false"} {
		a.Annotations = map[string]string{v1alpha1.AnnotationAllowTokens: value}
		if err := plane.Client().Update(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.Token(t.Context(), a.Namespace, a.Name, audience)
		if (err == nil) != (value == "true") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestWithoutTheComponent(t *testing.T) {
	t.Parallel()
	config, _ := bare(t)
	a, w := willing(t), newWorld(t, config)
	w.refused(t, a, audience, serviceaccount.Component, "may not read it")
}

// TestWithHalfOfTheComponent has a role that somebody wrote by hand.
func TestWithHalfOfTheComponent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules []rbacv1.PolicyRule
		words []string
	}{
		"no tokens": {
			[]rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}}},
			[]string{serviceaccount.Component, "may not request a token", "serviceaccounts/token"},
		},
		"no reviews": {
			[]rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}},
				{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}},
			},
			[]string{serviceaccount.Component, "tokenreviews"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Rules: test.rules}
			create(t, role)
			config, _ := someone(t, role.Name)
			for _, rule := range test.rules {
				testenv.Eventually(t, 10*time.Second, func() error {
					return may(t.Context(), config, rule.Verbs[0], rule.Resources[0], "default")
				})
			}
			newWorld(t, config).refused(t, willing(t), audience, test.words...)
		})
	}
}

// TestServiceAccountAnew replaces the ServiceAccount by one that allows nothing after it has been read.
func TestServiceAccountAnew(t *testing.T) {
	t.Parallel()
	a, w := willing(t), newWorld(t, installed)
	w.beforeToken = func() {
		if err := plane.Client().Delete(t.Context(), a.DeepCopy()); err != nil {
			t.Error(err)
		}
		create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name}})
	}
	w.passes(t, a, "UID")
	w.beforeToken = nil
	w.refused(t, a, audience, "allow-tokens")
}

// TestReviews has the API server, or what is between, answer oddly.
func TestReviews(t *testing.T) {
	t.Parallel()
	answer := func(change func(*authenticationv1.TokenReviewStatus)) func(*authenticationv1.TokenReview) (bool, error) {
		return func(review *authenticationv1.TokenReview) (bool, error) {
			err := plane.Client().Create(context.Background(), review)
			if len(review.Spec.Audiences) > 0 {
				change(&review.Status)
			}
			return true, err
		}
	}
	quoting := func(kind func(string) error) func(*authenticationv1.TokenReview) (bool, error) {
		return func(review *authenticationv1.TokenReview) (bool, error) {
			document, err := json.Marshal(review)
			return true, errors.Join(err, kind(string(document)+base64.StdEncoding.EncodeToString(document)))
		}
	}
	for name, test := range map[string]struct {
		onReview func(*authenticationv1.TokenReview) (bool, error)
		words    []string
	}{
		"the token is not known yet": {
			answer(func(s *authenticationv1.TokenReviewStatus) { *s = authenticationv1.TokenReviewStatus{Error: "not yet"} }),
			[]string{"does not recognize"},
		},
		"the token is known but not good": {
			answer(func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false }),
			[]string{"does not recognize"},
		},
		"the token is somebody else's": {
			answer(func(s *authenticationv1.TokenReviewStatus) {
				s.User.Username = "system:serviceaccount:kube-system:admin"
			}),
			[]string{"does not recognize"},
		},
		"the token is a former ServiceAccount's": {
			answer(func(s *authenticationv1.TokenReviewStatus) { s.User.UID = "former" }),
			[]string{"does not recognize"},
		},
		"audiences are ignored": {
			answer(func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil }),
			[]string{"does not recognize"},
		},
		"an error that quotes the review": {
			quoting(func(text string) error { return errors.New(text) }),
			[]string{"reviewed", sensitive.Redacted},
		},
		"an answer that quotes the review": {
			quoting(func(text string) error { return apierrors.NewInternalError(errors.New(text)) }),
			[]string{"reviewed", sensitive.Redacted},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, w := willing(t), newWorld(t, installed)
			w.onReview = test.onReview
			w.passes(t, a, test.words...)
			if w.issued() != 1 {
				t.Errorf("%d tokens were made, want one", w.issued())
			}
		})
	}
}

// TestNegativeReviewFails lets the second review fail alone: what could not be shown is not handed out.
func TestNegativeReviewFails(t *testing.T) {
	t.Parallel()
	a, w := willing(t), newWorld(t, installed)
	w.onReview = func(review *authenticationv1.TokenReview) (bool, error) {
		return len(review.Spec.Audiences) == 0, errors.New("lost")
	}
	w.passes(t, a, "lost")
}

func TestAdmissionThatChangesTheRequest(t *testing.T) {
	t.Parallel()
	a, w := willing(t), newWorld(t, installed)
	w.afterToken = func(request *authenticationv1.TokenRequest) {
		request.Spec.Audiences = append(request.Spec.Audiences, "https://other.example.com")
	}
	w.refused(t, a, audience, "admission", "other audiences")
	w.afterToken = func(request *authenticationv1.TokenRequest) { request.Status.Token = "" }
	w.passes(t, a, "without a token")
}

// TestOutage takes the way to the API server.
func TestOutage(t *testing.T) {
	a, w := willing(t), newWorld(t, installed)
	w.patience = time.Second
	plane.APIServer.Cut()
	defer plane.APIServer.Restore()
	w.passes(t, a)
}

// TestDeletedNamespace asks while the namespace is going: there is no controller here that would end it.
func TestDeletedNamespace(t *testing.T) {
	t.Parallel()
	a, w := willing(t), newWorld(t, installed)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Namespace}}
	if err := plane.Client().Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, func() error {
		_, _, err := w.Token(t.Context(), a.Namespace, a.Name, audience)
		if err == nil {
			return errors.New("a token is handed out still")
		}
		return nil
	})
	w.refused(t, a, audience, "namespace is being deleted")
}
