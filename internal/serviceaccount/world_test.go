// SPDX-License-Identifier: Apache-2.0

package serviceaccount_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/serviceaccount"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

const audience = "https://login.example.com"

// plane is the control plane that the tests of this package share.
var plane *testenv.Environment //nolint:gochecknoglobals // TestMain hands it to the tests

// installed is the controller's ServiceAccount with the role of the installation and the optional component.
var installed *rest.Config //nolint:gochecknoglobals // TestMain hands it to the tests

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	environment, stop, err := testenv.StartMain(testenv.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane = environment
	code := 1
	if err := install(context.Background()); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// install applies the operator's roles and the component as a user's kustomization does, and waits for them to count.
func install(ctx context.Context) error {
	var err error
	if installed, err = plane.Controller(ctx); err != nil {
		return err
	}
	files, err := overlayFiles(overlay("config/rbac", serviceaccount.Component), "")
	if err != nil {
		return err
	}
	path, err := filepath.Rel(plane.Root, files)
	if err := errors.Join(err, plane.ApplyKustomization(ctx, path), os.RemoveAll(files)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return testenv.Wait(ctx, func() error { return may(ctx, installed, "create", "serviceaccounts/token", "default") })
}

// overlay returns a kustomization of a base and components, which are named as from the root of the module.
func overlay(base string, components ...string) string {
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- " + base + "\n"
	if len(components) > 0 {
		text += "components:\n"
	}
	for _, component := range components {
		text += "- " + component + "\n"
	}
	return text
}

// overlayFiles writes a kustomization, and a binding that it may name, into a directory of their own.
func overlayFiles(kustomization, binding string) (string, error) {
	directory, err := os.MkdirTemp("", "overlay-")
	if err != nil {
		return "", err
	}
	root, err := filepath.Rel(directory, plane.Root)
	if err != nil {
		return "", err
	}
	kustomization = strings.ReplaceAll(kustomization, "- config/", "- "+root+"/config/")
	return directory, errors.Join(
		os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(kustomization), 0o600),
		os.WriteFile(filepath.Join(directory, "token_binding.yaml"), []byte(binding), 0o600),
	)
}

var errMayNot = errors.New("not allowed")

// may asks the API server whether somebody may do something; the resource may have a subresource.
func may(ctx context.Context, config *rest.Config, verb, resource, namespace string) error {
	c, err := client.New(config, client.Options{Scheme: plane.Scheme})
	if err != nil {
		return err
	}
	resource, subresource, _ := strings.Cut(resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Resource: resource, Subresource: subresource,
		},
	}}
	if err := c.Create(ctx, review); err != nil {
		return err
	}
	if !review.Status.Allowed {
		return fmt.Errorf("%s %s/%s: %w", verb, resource, subresource, errMayNot)
	}
	return nil
}

// bare returns a ServiceAccount with the role of the installation, without the component.
func bare(t *testing.T) (*rest.Config, rbacv1.Subject) {
	t.Helper()
	config, subject := someone(t, "oauth-operator-controller")
	testenv.Eventually(t, 10*time.Second, func() error { return may(t.Context(), config, "get", "secrets", "default") })
	return config, subject
}

// someone returns a ServiceAccount with a ClusterRole, and the way to the API server that it takes.
func someone(t *testing.T, role string) (*rest.Config, rbacv1.Subject) {
	t.Helper()
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: plane.Namespace(t), Name: "someone"}
	config, err := plane.UserFor(t.Context(), subject.Namespace, subject.Name)
	if err != nil {
		t.Fatal(err)
	}
	create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	})
	return config, subject
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := plane.Client().Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// account creates a ServiceAccount; annotation nil: it says nothing about tokens.
func account(t *testing.T, annotation *string) *corev1.ServiceAccount {
	t.Helper()
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: plane.Namespace(t), Name: "robot"}}
	if annotation != nil {
		a.Annotations = map[string]string{v1alpha1.AnnotationAllowTokens: *annotation}
	}
	create(t, a)
	return a
}

func willing(t *testing.T) *corev1.ServiceAccount { return account(t, new("true")) }

// world is an issuer whose calls of the API server are seen and can be disturbed.
type world struct {
	*serviceaccount.Issuer
	clock *testclock.FakePassiveClock
	// patience is how long an answer is waited for.
	patience time.Duration

	mu sync.Mutex
	// tokens that the API server has issued.
	tokens []string
	// reviews that were asked for.
	reviews []authenticationv1.TokenReviewSpec

	// beforeToken is called before a token is requested, afterToken with the answer.
	beforeToken func()
	afterToken  func(*authenticationv1.TokenRequest)
	// onReview answers in place of the API server, unless it returns false.
	onReview func(*authenticationv1.TokenReview) (bool, error)
}

func newWorld(t *testing.T, config *rest.Config) *world {
	t.Helper()
	w := &world{clock: testclock.NewFakePassiveClock(time.Now()), patience: time.Minute}
	live, err := client.NewWithWatch(config, client.Options{Scheme: plane.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	writer := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			t.Error("the writer, whose reads a manager leads through its cache, was asked for an object")
			return errors.New("no reads")
		},
		SubResourceCreate: w.requestToken,
		Create:            w.review,
	})
	w.Issuer = serviceaccount.New(serviceaccount.Options{Live: live, Writer: writer, Clock: w.clock})
	return w
}

func (w *world) requestToken(
	ctx context.Context, c client.Client, name string, object, body client.Object, options ...client.SubResourceCreateOption,
) error {
	if w.beforeToken != nil {
		w.beforeToken()
	}
	if err := c.SubResource(name).Create(ctx, object, body, options...); err != nil {
		return err
	}
	request, ok := body.(*authenticationv1.TokenRequest)
	if !ok {
		return fmt.Errorf("a %T is no request for a token", body)
	}
	w.mu.Lock()
	w.tokens = append(w.tokens, request.Status.Token)
	w.mu.Unlock()
	if w.afterToken != nil {
		w.afterToken(request)
	}
	return nil
}

func (w *world) review(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
	review, ok := object.(*authenticationv1.TokenReview)
	if !ok {
		return fmt.Errorf("a %T is no review of a token", object)
	}
	w.mu.Lock()
	w.reviews = append(w.reviews, review.Spec)
	w.mu.Unlock()
	if w.onReview != nil {
		if answered, err := w.onReview(review); answered {
			return err
		}
	}
	return c.Create(ctx, review, options...)
}

// refused wants a *NotAllowedError about the ServiceAccount that says certain words, and no token.
func (w *world) refused(t *testing.T, a *corev1.ServiceAccount, audience string, words ...string) {
	t.Helper()
	err := w.fails(t, a, audience, words...)
	notAllowed, ok := errors.AsType[*serviceaccount.NotAllowedError](err)
	if !ok {
		t.Fatalf("got %T %v, want a *NotAllowedError", err, err)
	}
	if notAllowed.Namespace != a.Namespace || notAllowed.Name != a.Name {
		t.Errorf("the error is about %s/%s, want %s/%s", notAllowed.Namespace, notAllowed.Name, a.Namespace, a.Name)
	}
}

// passes wants an error that does not call for anybody.
func (w *world) passes(t *testing.T, a *corev1.ServiceAccount, words ...string) {
	t.Helper()
	err := w.fails(t, a, audience, words...)
	if _, ok := errors.AsType[*serviceaccount.NotAllowedError](err); ok {
		t.Fatalf("got %v as a *NotAllowedError, want a transient error", err)
	}
}

func (w *world) fails(t *testing.T, a *corev1.ServiceAccount, audience string, words ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), w.patience)
	defer cancel()
	token, expiresAt, err := w.Token(ctx, a.Namespace, a.Name, audience)
	if err == nil {
		t.Fatal("a token was handed out")
	}
	if !token.IsEmpty() || !expiresAt.IsZero() {
		t.Error("something was handed out beside the error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not mention %q: %v", word, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, issued := range w.tokens {
		for part := range strings.SplitSeq(issued, ".") {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), part) {
				t.Errorf("the error shows a token: %v", err)
			}
		}
	}
	return err
}

func (w *world) issued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tokens)
}
