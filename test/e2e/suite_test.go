// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// How long things may take. A kubelet with default settings looks at mounted Secrets once a minute or so.
const (
	patience        = time.Minute
	kubeletPatience = 3 * time.Minute
	// removalPatience is longer than the operator waits for a provider that does not answer.
	removalPatience = 6 * time.Minute
)

// Namespaces beside the operator's own: those of the samples, and the suite's. None has the operator's name in its own, which is what the search
// for leftovers looks for.
const (
	platformNamespace   = "samples-platform"
	teamNamespace       = "samples-billing"
	providerNamespace   = "e2e-provider"
	leavingNamespace    = "e2e-leaving"
	monitoringNamespace = "e2e-monitoring"
	peopleNamespace     = "e2e-people"
)

func ownNamespaces() []string {
	return []string{platformNamespace, teamNamespace, providerNamespace, leavingNamespace, monitoringNamespace, peopleNamespace}
}

// suite is the cluster and what the steps know of each other.
type suite struct {
	config    *rest.Config
	client    client.WithWatch
	clientset kubernetes.Interface
	warnings  *warnings
	// image of the operator, tools of the pods beside it.
	image, tools string
	// manifest is what is installed, in the order of installation.
	manifest []*unstructured.Unstructured
	// trusted is the certificate of the gateway, apiCertificate (PEM) that of the API.
	trusted        *x509.CertPool
	apiCertificate []byte
	// lent are tokens of Kubernetes that the suite has used.
	lent []string
	// logs of pods of the operator that are gone.
	logs []string
	// metrics as they were scraped.
	metrics string
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", environment(t, "KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{
		config: config, warnings: &warnings{},
		image: environment(t, "E2E_IMAGE"), tools: environment(t, "E2E_TOOLS_IMAGE"),
	}
	config.QPS = -1
	config.WarningHandlerWithContext = s.warnings
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	if s.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	if s.clientset, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	s.refuseForeignInstallation(t)
	t.Cleanup(func() { s.cleanUp(t) })
	return s
}

func environment(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run this by make test-e2e", name)
	}
	return value
}

// refuseForeignInstallation keeps the suite, which uninstalls, away from an operator that somebody uses.
func (s *suite) refuseForeignInstallation(t *testing.T) {
	t.Helper()
	definition := &apiextensionsv1.CustomResourceDefinition{}
	err := s.client.Get(t.Context(), types.NamespacedName{Name: "oauthconnections." + v1alpha1.GroupName}, definition)
	if !apierrors.IsNotFound(err) {
		t.Fatalf("the cluster has the operator's kinds already, or does not say (%v); the suite would remove them", err)
	}
}

// cleanUp removes what a failed run has left, unless E2E_KEEP asks to keep it.
func (s *suite) cleanUp(t *testing.T) {
	t.Helper()
	if t.Failed() && os.Getenv("E2E_KEEP") != "" {
		t.Log("everything stays as it is (E2E_KEEP)")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), removalPatience)
	defer cancel()
	if err := s.uninstall(ctx); err != nil {
		t.Errorf("clean up: %v", err)
	}
	if err := s.removeOwn(ctx); err != nil {
		t.Errorf("clean up: %v", err)
	}
}

// warnings collects what the API server warns of: deprecated fields, pods that Pod Security would refuse.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code != 299 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// none fails the test for each warning that there was.
func (w *warnings) none(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.said {
		t.Errorf("the API server warns: %s", text)
	}
	w.said = nil
}

func (s *suite) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := s.client.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func (s *suite) get(t *testing.T, namespace, name string, into client.Object) {
	t.Helper()
	if err := s.client.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, into); err != nil {
		t.Fatalf("get %T %s/%s: %v", into, namespace, name, err)
	}
}

// createNamespace makes a namespace that takes restricted pods only.
func (s *suite) createNamespace(t *testing.T, name string) {
	t.Helper()
	s.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted",
	}}})
}
