// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Options choose what runs besides etcd and kube-apiserver.
type Options struct {
	// ControllerManager runs kube-controller-manager too, with namespace deletion (it takes at least the 5 seconds of
	// upstream's grace period), garbage collection, service accounts and aggregation of ClusterRoles. It starts last
	// and is not waited for.
	ControllerManager bool
}

// Environment is a running control plane.
type Environment struct {
	// Config belongs to a member of system:masters, without client-side rate limit. It connects to the API server
	// directly, so that a test still sees the truth while APIServer is cut.
	Config *rest.Config
	// Scheme knows Kubernetes' own types, CustomResourceDefinitions and the operator's kinds.
	Scheme *runtime.Scheme
	// APIServer is the way to the API server that the configs of User and UserFor take. Cutting it is an outage for
	// them.
	APIServer *Link
	// Root is the directory of the product's module.
	Root string

	plane   *envtest.Environment
	manager *controllerManager
	client  client.Client
	// applying is held while objects of the installation are applied.
	applying sync.Mutex
	// directory holds what is written for the life of the environment.
	directory string
}

// Start runs an environment until the test has ended. It fails the test when programs are missing or do not start.
func Start(t testing.TB, options Options) *Environment {
	t.Helper()
	env, stop, err := StartMain(options)
	if err != nil {
		t.Fatalf("start the control plane: %v", err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the control plane: %v", err)
		}
	})
	return env
}

// StartMain runs an environment for TestMain and for programs that are not tests. The returned function ends every
// process of it and removes its data; it must be called once.
func StartMain(options Options) (*Environment, func() error, error) {
	env := &Environment{plane: &envtest.Environment{ErrorIfCRDPathMissing: true}}
	if err := env.start(options); err != nil {
		return nil, nil, errors.Join(err, env.stop())
	}
	return env, env.stop, nil
}

func (e *Environment) start(options Options) error {
	var err error
	if e.Root, err = moduleRoot(); err != nil {
		return err
	}
	if e.directory, err = os.MkdirTemp("", "testenv-"); err != nil {
		return fmt.Errorf("make a directory for the control plane: %w", err)
	}
	if e.Scheme, err = newScheme(); err != nil {
		return err
	}
	if err := e.startPlane(); err != nil {
		return err
	}
	address, err := url.Parse(e.Config.Host)
	if err != nil {
		return fmt.Errorf("parse the API server's address: %w", err)
	}
	if e.APIServer, err = newLink(address.Host); err != nil {
		return err
	}
	if e.client, err = client.New(e.Config, client.Options{Scheme: e.Scheme}); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if !options.ControllerManager {
		return nil
	}
	e.manager, err = e.startControllerManager()
	return err
}

// startPlane runs etcd and kube-apiserver and installs the CRDs.
func (e *Environment) startPlane() error {
	etcd, err := asset(e.Root, "etcd")
	if err != nil {
		return err
	}
	apiServer, err := asset(e.Root, "kube-apiserver")
	if err != nil {
		return err
	}
	existing := false
	e.plane.UseExistingCluster = &existing
	e.plane.Scheme = e.Scheme
	e.plane.CRDDirectoryPaths = []string{filepath.Join(e.Root, "config", "crd", "bases")}
	e.plane.ControlPlane.GetAPIServer().Path = apiServer
	e.plane.ControlPlane.Etcd = &envtest.Etcd{Path: etcd}
	config, err := e.plane.Start()
	if err != nil {
		return fmt.Errorf("start etcd and kube-apiserver: %w", err)
	}
	config.QPS = -1
	e.Config = config
	return nil
}

// stop ends everything that start had got to, in the reverse order.
func (e *Environment) stop() error {
	var errs []error
	if e.manager != nil {
		errs = append(errs, e.manager.stop())
	}
	if e.APIServer != nil {
		errs = append(errs, e.APIServer.close())
	}
	errs = append(errs, e.plane.Stop())
	if e.directory != "" {
		errs = append(errs, os.RemoveAll(e.directory))
	}
	return errors.Join(errs...)
}

// Client returns an uncached client of Config.
func (e *Environment) Client() client.Client { return e.client }

// Namespace creates a namespace with a name of its own and returns the name. The namespace stays: the control plane
// is thrown away as a whole.
func (e *Environment) Namespace(t testing.TB) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := e.client.Create(context.WithoutCancel(t.Context()), namespace); err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	return namespace.Name
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build the scheme: %w", err)
		}
	}
	return scheme, nil
}
