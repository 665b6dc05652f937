// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/internal/controller"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// TestStandby : a Deployment of two is available, and can be rolled, only when the one without the lease is ready too.
func TestStandby(t *testing.T) {
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.OperatorNamespace, Name: "oauth-operator-controller"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new("another"), LeaseDurationSeconds: new(int32(3600)), RenewTime: new(metav1.NowMicro()),
		},
	}
	create(t, lease)
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(plane.Client().Delete(context.WithoutCancel(t.Context()), lease)); err != nil {
			t.Error(err)
		}
	})
	probes := freeAddress(t)
	standby := startController(t, func(o *controller.Options, _ *rest.Config) {
		o.LeaderElect, o.HealthProbeBindAddress = true, probes
	})
	testenv.Eventually(t, patience, func() error { return answersOK("http://" + probes + "/readyz") })
	if strings.Contains(standby.Log.String(), "Starting workers") {
		t.Error("it works without the lease")
	}
	t.Run("becomes leader", func(t *testing.T) {
		if err := plane.Client().Delete(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, patience, func() error {
			if !strings.Contains(standby.Log.String(), "Starting workers") {
				return errors.New("it does not work yet")
			}
			return answersOK("http://" + probes + "/readyz")
		})
	})
	t.Run("may do what that takes", func(t *testing.T) {
		testenv.Consistently(t, time.Second, func() error {
			if strings.Contains(standby.Log.String(), "forbidden") {
				return errors.New("the API server refuses something")
			}
			return nil
		})
	})
}

// freeAddress returns an address of loopback that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func answersOK(url string) error {
	client := &http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url) //nolint:noctx // the client has a time-out
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
