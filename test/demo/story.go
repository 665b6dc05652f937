// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Names of the samples.
const (
	applicationName   = "crm"
	platformNamespace = "samples-platform"
	teamNamespace     = "samples-billing"

	codeConnection  = "crm"
	codeSecret      = "crm-code"
	tokenSecret     = "crm-token"
	batchConnection = "crm-batch"
	importing       = "crm-import" // both the connection and the Secret with the refresh token
	importedSecret  = "crm-import-token"
)

// patience is how long any one thing may take.
const patience = 30 * time.Second

// story tells what happens, one step after the other. Each step waits for what it promises, or fails.
type story struct {
	stage   *stage
	out     *console
	client  client.Client
	changes chan change
	state   *state
	reader
}

// newStory starts to watch.
func newStory(stage *stage, out *console, reader reader) (*story, error) {
	s := &story{
		stage: stage, out: out, client: stage.plane.Client(), changes: make(chan change), state: newState(), reader: reader,
	}
	for _, path := range []string{connectionsPath, applicationsPath, secretsPath, eventsPath} {
		if err := watchTable(stage.alive, stage.admin(), path, s.changes); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ofSamples is the story of config/samples.
func (s *story) ofSamples() []func(context.Context) error {
	return []func(context.Context) error{
		s.applySamples, s.exchange, s.importGrant, s.refresh, s.repair, s.suspend, s.lookAround, s.revoke, s.uninstall, s.measure,
	}
}

func (s *story) tell(ctx context.Context, parts []func(context.Context) error) error {
	s.out.say("\nLines with $ are what you would type. The demo does the same through the API server, whose tables and events these are.")
	for _, part := range parts {
		err := part(ctx)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx) // Whatever failed, failed because of it.
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// await takes changes until a condition holds.
func (s *story) await(ctx context.Context, what string, holds func() bool) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for !holds() {
		select {
		case c := <-s.changes:
			if err := s.state.take(c, s.out); err != nil {
				return err
			}
		case <-timer.C:
			return fmt.Errorf("within %s there was not: %s", patience, what)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *story) applySamples(ctx context.Context) error {
	s.out.step("Apply the samples: an application, three connections, a workload")
	inFile, err := s.stage.samples.pointAt(s.stage.provider.URL)
	if err != nil {
		return err
	}
	s.out.command("kubectl apply --server-side --kustomize " + samplesDirectory)
	if err := s.stage.samples.apply(ctx, s.client); err != nil {
		return err
	}
	for _, object := range s.stage.samples {
		s.out.say("  %s serverside-applied", label(object))
	}
	s.out.say("  (as they are but for one line: issuerURL, %s in the file, is %s here)", inFile, s.stage.provider.URL)
	s.out.command("kubectl get oauthconnections --namespace %s --watch", teamNamespace)
	err = s.await(ctx, "crm-batch with a token, crm and crm-import waiting for their Secrets", func() bool {
		return s.state.isReady(batchConnection) && s.state.happened(v1alpha1.EventAuthorized, batchConnection) &&
			s.state.happened(v1alpha1.ReasonSecretNotFound, codeConnection) && s.state.happened(v1alpha1.ReasonSecretNotFound, importing)
	})
	if err != nil {
		return err
	}
	s.out.say("\ncrm-batch needs nobody: its token is there. The two others say what they wait for.")
	return nil
}

func (s *story) exchange(ctx context.Context) error {
	s.out.step("A person has agreed in the browser: the code becomes a token")
	code, verifier, err := s.stage.provider.consent()
	if err != nil {
		return err
	}
	s.out.command("kubectl create secret generic %s --namespace %s --from-literal=code=… --from-literal=code_verifier=…", codeSecret, teamNamespace)
	started := time.Now()
	err = s.give(ctx, codeSecret, map[string]string{
		v1alpha1.DefaultCodeKey: code, v1alpha1.DefaultCodeVerifierKey: verifier,
	})
	if err != nil {
		return err
	}
	err = s.await(ctx, "a token for the code", func() bool {
		return s.state.isReady(codeConnection) && s.state.token(tokenSecret) != "" && s.state.happened(v1alpha1.EventAuthorized, codeConnection)
	})
	if err != nil {
		return err
	}
	s.out.say("\nFrom the code's Secret to the token's Secret: %d ms.", s.state.seen[tokenSecret][0].at.Sub(started).Milliseconds())
	s.showSecret(s.state.secrets[tokenSecret])
	return s.expectActive(ctx, s.state.token(tokenSecret), true)
}

func (s *story) give(ctx context.Context, name string, data map[string]string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: name}, StringData: data}
	if err := s.client.Create(ctx, secret); err != nil {
		return fmt.Errorf("create Secret %s: %w", name, err)
	}
	return nil
}

// replace changes what a Secret holds.
func (s *story) replace(ctx context.Context, name string, data map[string]string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: name}}
	patch, err := json.Marshal(map[string]any{"stringData": data})
	if err != nil {
		return fmt.Errorf("change Secret %s: %w", name, err)
	}
	if err := s.client.Patch(ctx, secret, client.RawPatch(client.Merge.Type(), patch)); err != nil {
		return fmt.Errorf("change Secret %s: %w", name, err)
	}
	return nil
}

// showSecret prints what is no credential, decoded, and of the token its length.
func (s *story) showSecret(secret *corev1.Secret) {
	s.out.command("kubectl get secret %s --namespace %s --output yaml   # decoded, in part", secret.Name, teamNamespace)
	s.out.say("  type: %s", secret.Type)
	s.out.say("  data:")
	for _, key := range []string{
		v1alpha1.SecretKeyAccessToken, v1alpha1.SecretKeyExpiresAt, v1alpha1.SecretKeyScope, v1alpha1.SecretKeyTokenType,
	} {
		value := string(secret.Data[key])
		if key == v1alpha1.SecretKeyAccessToken {
			value = fmt.Sprintf("[redacted, %d bytes]", len(value))
		}
		s.out.say("    %s: %s", key, cmp.Or(value, `""`))
	}
	if len(secret.OwnerReferences) > 0 {
		s.out.say("  owner: %s %s", secret.OwnerReferences[0].Kind, secret.OwnerReferences[0].Name)
	}
}

// expectActive lets the provider itself say whether a token works.
func (s *story) expectActive(ctx context.Context, token string, want bool) error {
	s.out.command("curl --user crm:… --data token=… %s/introspect", s.stage.provider.URL)
	active, err := s.stage.provider.active(ctx, token)
	if err != nil {
		return err
	}
	s.out.say(`  {"active":%t, …}`, active)
	if active != want {
		return fmt.Errorf("the OAuth server says active: %t of this token, not %t", active, want)
	}
	return nil
}

func (s *story) importGrant(ctx context.Context) error {
	s.out.step("Another system held a grant: its refresh token is imported")
	refreshToken, err := s.stage.provider.earlierGrant(ctx)
	if err != nil {
		return err
	}
	s.out.command("kubectl create secret generic %s --namespace %s --from-literal=refresh_token=…", importing, teamNamespace)
	if err := s.give(ctx, importing, map[string]string{v1alpha1.DefaultRefreshTokenKey: refreshToken}); err != nil {
		return err
	}
	return s.await(ctx, "a token for the imported grant", func() bool {
		return s.state.isReady(importing) && s.state.token(importedSecret) != "" && s.state.happened(v1alpha1.EventAuthorized, importing)
	})
}

const refreshes = 2

func (s *story) refresh(ctx context.Context) error {
	s.out.step("Nobody does anything: tokens are refreshed before they expire")
	s.out.command("kubectl get oauthconnections --namespace %s --watch", teamNamespace)
	for range refreshes {
		before := s.state.token(tokenSecret)
		err := s.await(ctx, "a refreshed token in Secret "+tokenSecret, func() bool {
			return s.state.token(tokenSecret) != before && s.state.isReady(codeConnection) && s.state.current(codeConnection, tokenSecret)
		})
		if err != nil {
			return err
		}
		if err := s.compare(ctx, before, s.state.token(tokenSecret)); err != nil {
			return err
		}
	}
	if uses := s.stage.provider.MaxUses(); uses != 1 {
		return fmt.Errorf("a code or refresh token was sent to the OAuth server %d times", uses)
	}
	s.out.say("\nThe OAuth server has received each code and each refresh token once. It would have ended the grant at a second time.")
	return nil
}

func (s *story) compare(ctx context.Context, before, after string) error {
	was, err := s.stage.provider.active(ctx, before)
	if err != nil {
		return err
	}
	is, err := s.stage.provider.active(ctx, after)
	if err != nil {
		return err
	}
	s.out.say("  > Secret %s holds a new token. The OAuth server says: new one active: %t, the one before active: %t", tokenSecret, is, was)
	if was || !is {
		return fmt.Errorf("the token in Secret %s is not the one that works", tokenSecret)
	}
	return nil
}

func (s *story) repair(ctx context.Context) error {
	s.out.step("Somebody deletes the token Secret: it is written again, and the provider is not asked")
	secret := s.state.secrets[tokenSecret]
	s.out.command("kubectl delete secret %s --namespace %s", tokenSecret, teamNamespace)
	if err := s.client.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: tokenSecret}}); err != nil {
		return fmt.Errorf("delete Secret %s: %w", tokenSecret, err)
	}
	err := s.await(ctx, "the Secret once more", func() bool {
		now := s.state.secrets[tokenSecret]
		return now != nil && now.UID != secret.UID && s.state.happened(v1alpha1.EventSecretRepaired, codeConnection)
	})
	if err != nil {
		return err
	}
	if s.state.token(tokenSecret) != string(secret.Data[v1alpha1.SecretKeyAccessToken]) {
		return fmt.Errorf("the repaired Secret holds another token than the deleted one")
	}
	s.out.say("  It holds the same token as before.")
	return nil
}

func (s *story) suspend(ctx context.Context) error {
	s.out.step("Suspend and resume: no refresh is planned, what exists stays")
	for _, suspend := range []bool{true, false} {
		reason := v1alpha1.ReasonTokenReady
		if suspend {
			reason = v1alpha1.ReasonSuspended
		}
		patch := fmt.Sprintf(`{"spec":{"suspend":%t}}`, suspend)
		s.out.command("kubectl patch oauthconnection %s --namespace %s --type merge --patch '%s'", codeConnection, teamNamespace, patch)
		connection := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: codeConnection}}
		if err := s.client.Patch(ctx, connection, client.RawPatch(client.Merge.Type(), []byte(patch))); err != nil {
			return fmt.Errorf("patch connection %s: %w", codeConnection, err)
		}
		err := s.await(ctx, "connection crm with reason "+reason, func() bool { return s.state.ready(codeConnection).Reason == reason })
		if err != nil {
			return err
		}
	}
	return nil
}

// lookAround stops the story until the reader has seen enough.
func (s *story) lookAround(ctx context.Context) error {
	return s.pause(ctx, func() {
		s.out.say("Issuer %s, client id %s. For a code, make $verifier and $challenge as the README says; the server consents at once:",
			s.stage.provider.URL, s.stage.provider.client.ID)
		s.out.say("\n  curl -s -o /dev/null -w '%%{redirect_url}\\n' "+
			`"%s&state=$(openssl rand -hex 8)&code_challenge=$challenge&code_challenge_method=S256"`, s.stage.provider.authorizeURL())
	})
}

// pause waits for the reader, if that was asked for; hints says what there is to try.
func (s *story) pause(ctx context.Context, hints func()) error {
	if !s.hold {
		return nil
	}
	s.out.step("Look around")
	s.out.say("In another terminal: export KUBECONFIG=%s", s.stage.kubeconfig)
	hints()
	s.out.say("\nPress Enter to go on with the deletions; Ctrl-C ends everything.")
	s.out.quiet = true
	defer func() { s.out.quiet = false }()
	entered := enter(os.Stdin)
	for {
		select {
		case c := <-s.changes:
			if err := s.state.take(c, s.out); err != nil {
				return err
			}
		case <-entered:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// enter returns a channel that is closed when a line was read. Where nobody can type, as with a closed input, it never
// is: the hold lasts until a signal then.
func enter(in io.Reader) <-chan struct{} {
	entered := make(chan struct{})
	go func() {
		if _, err := bufio.NewReader(in).ReadString('\n'); err == nil {
			close(entered)
		}
	}()
	return entered
}
