// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/testenv"
	"github.com/oauth-operator/oauth-operator/test/e2e/report"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// Of the samples: the name of the application and of the connection that most steps are about, the workload that mounts
// its token, and the connection that needs no person.
const (
	crm      = "crm"
	workload = "report"
	batch    = "crm-batch"
)

func sampleApplication() v1alpha1.ApplicationReference {
	return v1alpha1.ApplicationReference{Namespace: platformNamespace, Name: crm}
}

// createApplication registers the OAuth server's client in a namespace.
func (s *suite) createApplication(t *testing.T, namespace string) {
	t.Helper()
	c := harness.DefaultClient()
	s.create(t,
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "crm-client"},
			StringData: map[string]string{v1alpha1.DefaultClientSecretKey: c.Secret},
		},
		&v1alpha1.OAuthApplication{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: crm},
			Spec: v1alpha1.OAuthApplicationSpec{
				IssuerURL:   providerURL,
				Client:      v1alpha1.ClientSpec{ID: c.ID, SecretRef: &v1alpha1.SecretKeyReference{Name: "crm-client"}},
				RedirectURL: harness.DefaultRedirectURI,
				Scopes:      []v1alpha1.Scope{"api:read", "offline_access"},
			},
		})
}

// connect creates a connection, hands it a code and returns its first token, which is known to work.
func (s *suite) connect(t *testing.T, namespace, name string, application v1alpha1.ApplicationReference) (token string) {
	t.Helper()
	reference := &v1alpha1.SecretKeyReference{Name: codeSecretName(name)}
	s.create(t, &v1alpha1.OAuthConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.OAuthConnectionSpec{
			ApplicationRef: application,
			Grant: v1alpha1.GrantSpec{
				Type: v1alpha1.GrantAuthorizationCode,
				AuthorizationCode: &v1alpha1.AuthorizationCodeGrant{
					CodeSecretRef: reference, CodeVerifierSecretRef: reference,
				},
			},
			Secret:  &v1alpha1.TokenSecretSpec{Name: name + "-token"},
			Refresh: &v1alpha1.RefreshSpec{Before: "75%"},
		},
	})
	return s.authorize(t, namespace, name)
}

func codeSecretName(connection string) string { return connection + "-code" }

// authorize hands a code to a connection and returns its first token, which is known to work.
func (s *suite) authorize(t *testing.T, namespace, name string) (token string) {
	t.Helper()
	code, verifier := s.newCode(t)
	start := time.Now()
	s.create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: codeSecretName(name)},
		StringData: map[string]string{v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier},
	})
	testenv.Eventually(t, patience, func() error {
		key := types.NamespacedName{Namespace: namespace, Name: name + "-token"}
		return s.client.Get(context.Background(), key, &corev1.Secret{})
	})
	t.Logf("code to token Secret: %s", time.Since(start).Round(time.Millisecond))
	s.waitConnection(t, namespace, name, ready)
	return s.tokenWorks(t, namespace, name+"-token")
}

// tokenWorks waits until the provider says that the token in a Secret is active: between a refresh at the
// provider and the Secret, the old token is dead already.
func (s *suite) tokenWorks(t *testing.T, namespace, secretName string) (token string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		secret := &corev1.Secret{}
		s.get(t, namespace, secretName, secret)
		if _, leaked := secret.Data["refresh_token"]; leaked {
			t.Fatal("the Secret has a refresh token")
		}
		if token = string(secret.Data[v1alpha1.SecretKeyAccessToken]); !s.active(t, token) {
			return errors.New("the provider says that the token is not active")
		}
		return nil
	})
	return token
}

// waitConnection waits until a connection is as a condition wants it: nil means it is.
func (s *suite) waitConnection(t *testing.T, namespace, name string, is func(*v1alpha1.OAuthConnection) error) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		c := &v1alpha1.OAuthConnection{}
		if err := s.client.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: name}, c); err != nil {
			return err
		}
		if err := is(c); err != nil {
			return fmt.Errorf("%w; status is %+v", err, c.Status)
		}
		return nil
	})
}

func ready(c *v1alpha1.OAuthConnection) error {
	if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) || c.Status.Phase != v1alpha1.ConnectionActive {
		return errors.New("want phase Active and Ready")
	}
	return nil
}

// requestRefresh asks for a refresh of the connection and returns the condition that it was answered.
func (s *suite) requestRefresh(t *testing.T) func(*v1alpha1.OAuthConnection) error {
	t.Helper()
	request := strconv.FormatInt(time.Now().UnixNano(), 10)
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: crm}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRefreshRequestedAt, request)
	if err := s.client.Patch(t.Context(), c, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
	return func(c *v1alpha1.OAuthConnection) error {
		if c.Status.ObservedRefreshRequest != request {
			return fmt.Errorf("want refresh request %s answered", request)
		}
		return ready(c)
	}
}

// tokenReachesPod applies the samples. Their workload waits for the token Secret, and starts by itself.
func (s *suite) tokenReachesPod(t *testing.T) {
	s.apply(t, build(t, "samples", "busybox", s.tools))
	s.warnings.none(t)
	s.waitConnection(t, teamNamespace, batch, ready)
	s.tokenWorks(t, teamNamespace, batch)
	start := time.Now()
	s.authorize(t, teamNamespace, crm)
	published := s.watchToken(t)
	s.waitDeployment(t, teamNamespace, workload, 1)
	t.Logf("workload available %s after the code was asked for", time.Since(start).Round(time.Millisecond))
	s.followFile(t, published, time.Time{})
}

// workloadPod returns the pod of the samples' workload.
func (s *suite) workloadPod(ctx context.Context) (*corev1.Pod, error) {
	pods := &corev1.PodList{}
	err := s.client.List(ctx, pods, client.InNamespace(teamNamespace), client.MatchingLabels{"app": workload})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("the workload has %d pods, want 1", len(pods.Items))
	}
	return &pods.Items[0], nil
}

// refreshedTokenReachesPod sees refreshes that the schedule makes and one that is asked for, all in one process.
func (s *suite) refreshedTokenReachesPod(t *testing.T) {
	before, err := s.workloadPod(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	published := s.watchToken(t)
	for range 2 {
		s.followFile(t, published, time.Now())
	}
	requested := time.Now()
	answered := s.requestRefresh(t)
	s.waitConnection(t, teamNamespace, crm, answered)
	t.Logf("request to answer in status: %s", time.Since(requested).Round(time.Millisecond))
	s.followFile(t, published, requested)
	s.tokenWorks(t, teamNamespace, crm+"-token")
	s.nothingSpentTwice(t)

	after, err := s.workloadPod(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if restarts := after.Status.ContainerStatuses[0].RestartCount; after.UID != before.UID || restarts != 0 {
		t.Errorf("the workload was restarted: pod %s, now %s, %d restarts", before.Name, after.Name, restarts)
	}
}

// publications are the tokens that were seen in the Secret of the connection, by hash. What was there before has no time.
type publications struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (p *publications) at(hash string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := p.seen[hash]
	return seen, ok
}

// watchToken notes, until the step ends, when each token came into the connection's Secret.
func (s *suite) watchToken(t *testing.T) *publications {
	t.Helper()
	p, done := &publications{seen: map[string]time.Time{}}, make(chan struct{})
	secret := &corev1.Secret{}
	s.get(t, teamNamespace, crm+"-token", secret)
	p.note(secret, time.Time{})
	ctx, cancel := context.WithCancel(t.Context())
	events, err := s.client.Watch(ctx, &corev1.SecretList{}, client.InNamespace(teamNamespace),
		client.MatchingFields{"metadata.name": crm + "-token"})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok && event.Type != watch.Deleted {
				p.note(secret, time.Now())
			}
		}
	}()
	t.Cleanup(func() { events.Stop(); cancel(); <-done })
	return p
}

func (p *publications) note(secret *corev1.Secret, at time.Time) {
	hash := report.Hash(secret.Data[v1alpha1.SecretKeyAccessToken])
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.seen[hash]; !known {
		p.seen[hash] = at
	}
}

// followFile waits until the workload reads a token that came into the Secret after a time, and says how long that took;
// with no time, until it reads any token of the connection.
func (s *suite) followFile(t *testing.T, published *publications, after time.Time) {
	t.Helper()
	testenv.Eventually(t, kubeletPatience, func() error {
		sightings, err := s.sightings(context.Background())
		if err != nil {
			return err
		}
		for _, sighting := range sightings {
			at, known := published.at(sighting.Hash)
			if known && after.IsZero() {
				return nil
			}
			if known && at.After(after) {
				t.Logf("the workload reads a token %s after it came into the Secret", sighting.Time.Sub(at).Round(time.Millisecond))
				return nil
			}
		}
		return fmt.Errorf("the workload has seen %d tokens, none of them after %s", len(sightings), after)
	})
}

// sightings returns what the workload has read, in order.
func (s *suite) sightings(ctx context.Context) ([]report.Sighting, error) {
	pod, err := s.workloadPod(ctx)
	if err != nil {
		return nil, err
	}
	log, err := s.podLog(ctx, teamNamespace, pod.Name, &corev1.PodLogOptions{})
	if err != nil {
		return nil, err
	}
	var sightings []report.Sighting
	decoder := json.NewDecoder(strings.NewReader(log))
	for decoder.More() {
		var sighting report.Sighting
		if err := decoder.Decode(&sighting); err != nil {
			return nil, fmt.Errorf("the workload says %q: %w", log, err)
		}
		sightings = append(sightings, sighting)
	}
	return sightings, nil
}

func (s *suite) controllerDeleted(t *testing.T) { s.replaceController(t, &client.DeleteOptions{}) }

// controllerKilled takes the pod out of the API at once; its process gets the shortest notice that kubelets give.
func (s *suite) controllerKilled(t *testing.T) {
	s.replaceController(t, &client.DeleteOptions{GracePeriodSeconds: new(int64(0))})
}

// replaceController ends the only controller while it has a refresh to make, and wants its successor to go on.
func (s *suite) replaceController(t *testing.T, how *client.DeleteOptions) {
	t.Helper()
	pods := s.controllers(t)
	if len(pods) != 1 {
		t.Fatalf("got %d controllers, want 1", len(pods))
	}
	answered := s.requestRefresh(t)
	s.endPod(t, &pods[0], how)
	start := time.Now()
	s.waitDeployment(t, testenv.OperatorNamespace, controllerName, 1)
	t.Logf("another controller available after %s", time.Since(start).Round(time.Millisecond))
	s.waitConnection(t, teamNamespace, crm, answered)
	s.goesOn(t)
	t.Logf("it works after %s", time.Since(start).Round(time.Millisecond))
}

// endPod keeps the log of a pod of the operator and deletes it.
func (s *suite) endPod(t *testing.T, pod *corev1.Pod, how *client.DeleteOptions) {
	t.Helper()
	log, err := s.podLog(t.Context(), pod.Namespace, pod.Name, &corev1.PodLogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.logs = append(s.logs, log)
	if err := s.client.Delete(t.Context(), pod, how, client.Preconditions{UID: &pod.UID}); err != nil {
		t.Fatal(err)
	}
}

// goesOn shows that the connection is refreshed and that nothing was spent twice to get there.
func (s *suite) goesOn(t *testing.T) {
	t.Helper()
	before := s.report(t).Refreshes
	s.waitConnection(t, teamNamespace, crm, s.requestRefresh(t))
	if after := s.report(t).Refreshes; after <= before {
		t.Errorf("the provider has seen %d refreshes, %d before", after, before)
	}
	s.tokenWorks(t, teamNamespace, crm+"-token")
	s.nothingSpentTwice(t)
}

func (s *suite) leaderHandsOver(t *testing.T) {
	s.scale(t, 2)
	s.waitDeployment(t, testenv.OperatorNamespace, controllerName, 2)
	leader := s.leader(t)
	answered := s.requestRefresh(t)
	s.endPod(t, leader, &client.DeleteOptions{})
	start := time.Now()
	testenv.Eventually(t, patience, func() error {
		if s.leader(t).UID == leader.UID {
			return fmt.Errorf("%s still holds the lease", leader.Name)
		}
		return nil
	})
	t.Logf("the lease moved after %s", time.Since(start).Round(time.Millisecond))
	s.waitConnection(t, teamNamespace, crm, answered)
	s.goesOn(t)
	s.waitDeployment(t, testenv.OperatorNamespace, controllerName, 2)
}

func (s *suite) scale(t *testing.T, replicas int32) {
	t.Helper()
	scale, err := s.clientset.AppsV1().Deployments(testenv.OperatorNamespace).GetScale(t.Context(), controllerName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = replicas
	_, err = s.clientset.AppsV1().Deployments(testenv.OperatorNamespace).UpdateScale(t.Context(), controllerName, scale, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// leader returns the pod that holds the lease. A holder's identity begins with its host's name, which is its pod's.
func (s *suite) leader(t *testing.T) *corev1.Pod {
	t.Helper()
	leader := &corev1.Pod{}
	testenv.Eventually(t, patience, func() error {
		lease := &coordinationv1.Lease{}
		s.get(t, testenv.OperatorNamespace, controllerName, lease)
		if lease.Spec.HolderIdentity == nil {
			return errors.New("nobody holds the lease")
		}
		name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
		return s.client.Get(context.Background(), types.NamespacedName{Namespace: testenv.OperatorNamespace, Name: name}, leader)
	})
	return leader
}

func (s *suite) deletionRevokes(t *testing.T) {
	token := s.tokenWorks(t, teamNamespace, crm+"-token")
	secret, c := &corev1.Secret{}, &v1alpha1.OAuthConnection{}
	s.get(t, teamNamespace, crm+"-token", secret)
	s.get(t, teamNamespace, crm, c)
	start := time.Now()
	if err := s.client.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, object := range []client.Object{c, secret} {
		if err := s.waitGone(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("revoked and gone after %s", time.Since(start).Round(time.Millisecond))
	if s.active(t, token) {
		t.Error("the token works after the deletion of its connection")
	}
	if s.report(t).Revocations == 0 {
		t.Error("nothing was revoked at the provider")
	}
}

// namespaceDeletionRevokes deletes application, client secret, connection and code in no order at all.
func (s *suite) namespaceDeletionRevokes(t *testing.T) {
	s.createNamespace(t, leavingNamespace)
	s.createApplication(t, leavingNamespace)
	s.connect(t, leavingNamespace, crm, v1alpha1.ApplicationReference{Name: crm})
	token := s.tokenWorks(t, leavingNamespace, crm+"-token")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: leavingNamespace}}
	start := time.Now()
	if err := s.client.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), removalPatience)
	defer cancel()
	if err := s.waitGone(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	t.Logf("namespace gone after %s", time.Since(start).Round(time.Millisecond))
	if s.active(t, token) {
		t.Error("the token works after the deletion of its namespace")
	}
}
