// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/increase"
	"github.com/oauth-operator/oauth-operator/test/servers/record"
)

// Names of the samples for Increase: application and connection of an environment have the same one, and so has the
// Secret with the token.
const (
	increaseSamples    = "providers/increase.yaml"
	production         = "increase"
	sandbox            = "increase-sandbox"
	increaseCodeSecret = "increase-code"

	// Who grants access here, and who has granted it to another installation of the same platform.
	bakery, florist = "group_bakery", "group_florist"
)

// side is one of Increase's two environments: the name of its samples, and the platform's own API key.
type side struct {
	*increase.Environment
	name, key string
}

func sidesOf(server *increase.Server) []side {
	return []side{
		{Environment: server.Production, name: production, key: "platform-key-of-production"},
		{Environment: server.Sandbox, name: sandbox, key: "platform-key-of-the-sandbox"},
	}
}

// increasePlay is the story of a provider whose tokens never expire, and who says in a list alone that a grant is over.
type increasePlay struct {
	*story
	server *increase.Server
	// own counts the requests that the reader would make with curl.
	own int
}

func ofIncrease(s *story) []func(context.Context) error {
	p := &increasePlay{story: s, server: s.stage.increase}
	s.out.widths["Name"], s.out.widths["Application"] = len(sandbox), len(sandbox)
	return []func(context.Context) error{
		p.apply, p.exchange, p.find, p.inSandbox, p.lookAround, p.disconnect, p.connectAgain, p.uninstall, p.count, p.measure,
	}
}

// startIncrease starts both environments, with the client of the samples.
func (s *stage) startIncrease(out *console) error {
	var err error
	if s.samples, err = readManifest(s.plane.Root, increaseSamples); err != nil {
		return err
	}
	registered, err := s.samples.increaseClient()
	if err != nil {
		return err
	}
	if s.increase, err = increase.Start(increase.Options{Registrations: []increase.Registration{registered}, Group: bakery, Strict: true}); err != nil {
		return fmt.Errorf("start the server with Increase's API: %w", err)
	}
	s.ends = append(s.ends, func() error { s.increase.Close(); return nil })
	for _, one := range sidesOf(s.increase) {
		one.RotateAPIKey(one.key)
	}
	if _, _, err := s.increase.Production.Connect(florist, registered.ClientID, increase.ReadOnly); err != nil {
		return fmt.Errorf("connect an account elsewhere: %w", err)
	}
	out.say("Increase        a server with its API at %s, and one of its sandbox at %s:", s.increase.Production.URL, s.increase.Sandbox.URL)
	out.say("                codes live for a minute, tokens until somebody disconnects; no refresh tokens, no revocation")
	return nil
}

// increaseClient is the client of the samples as Increase has it registered.
func (s samples) increaseClient() (increase.Registration, error) {
	registered := increase.DefaultRegistration()
	application, err := s.find("OAuthApplication", production)
	if err != nil {
		return registered, err
	}
	if registered.ClientID, _, err = unstructured.NestedString(application.Object, "spec", "client", "id"); err != nil {
		return registered, err
	}
	registered.RedirectURL, _, err = unstructured.NestedString(application.Object, "spec", "redirectURL")
	return registered, err
}

// pointAtIncrease sets what cannot be in a file: the addresses of servers that take free ports. A field of the user's goes
// before that of the preset.
func (s samples) pointAtIncrease(server *increase.Server) error {
	for _, one := range sidesOf(server) {
		application, err := s.find("OAuthApplication", one.name)
		if err != nil {
			return err
		}
		endpoints := map[string]any{"tokenURL": one.URL + "/oauth/tokens"}
		if one.name == production {
			endpoints["authorizationURL"] = one.AuthorizationURL()
		}
		if err := unstructured.SetNestedField(application.Object, endpoints, "spec", "endpoints"); err != nil {
			return err
		}
		if err := unstructured.SetNestedField(application.Object, one.URL, "spec", "apiBaseURL"); err != nil {
			return err
		}
	}
	return nil
}

func (p *increasePlay) apply(ctx context.Context) error {
	p.out.step("Apply the samples: Increase and its sandbox, and a connection at each")
	namespaces, err := readManifest(p.stage.plane.Root, "namespaces.yaml")
	if err != nil {
		return err
	}
	if err := namespaces.apply(ctx, p.client); err != nil {
		return err
	}
	if err := p.stage.samples.pointAtIncrease(p.server); err != nil {
		return err
	}
	if err := p.giveCredentials(ctx); err != nil {
		return err
	}
	p.out.command("kubectl apply --server-side --filename %s/%s", samplesDirectory, increaseSamples)
	if err := p.stage.samples.apply(ctx, p.client); err != nil {
		return err
	}
	for _, object := range p.stage.samples {
		p.out.say("  %s serverside-applied", label(object))
	}
	p.out.say("  (as they are, and with the addresses of these servers in endpoints and apiBaseURL: the presets' are Increase's own)")
	p.out.command("kubectl get oauthconnections --namespace %s --watch", teamNamespace)
	return p.await(ctx, "two connections that say what they wait for", func() bool {
		return p.state.happened(v1alpha1.ReasonSecretNotFound, production) && p.state.happened(v1alpha1.ReasonSourceNotReady, sandbox)
	})
}

// giveCredentials creates what the samples leave to the reader: in each environment the client secret and the platform's
// own API key, both of which Increase wants for a token.
func (p *increasePlay) giveCredentials(ctx context.Context) error {
	for _, one := range sidesOf(p.server) {
		p.out.command("kubectl create secret generic %s-client --namespace %s --from-literal=client_secret=… --from-literal=api_key=…", one.name, teamNamespace)
		err := p.give(ctx, one.name+"-client", map[string]string{
			v1alpha1.DefaultClientSecretKey: increase.DefaultRegistration().ClientSecret, "api_key": one.key,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// consent is a person of the bakery who agrees on Increase's page; the code would arrive at the redirect URL.
func (p *increasePlay) consent() (string, error) {
	application := p.state.applications[production]
	if application == nil {
		return "", fmt.Errorf("there is no application %s", production)
	}
	return p.server.Production.NewCode(application.Spec.Client.ID, increase.ReadOnly)
}

func (p *increasePlay) exchange(ctx context.Context) error {
	p.out.step("The bakery has agreed on Increase's page: the code, which lives for a minute, becomes a token")
	code, err := p.consent()
	if err != nil {
		return err
	}
	p.out.command("kubectl create secret generic %s --namespace %s --from-literal=code=…", increaseCodeSecret, teamNamespace)
	started := time.Now()
	if err := p.give(ctx, increaseCodeSecret, map[string]string{v1alpha1.DefaultCodeKey: code}); err != nil {
		return err
	}
	err = p.await(ctx, "a token for the code", func() bool {
		return p.state.isReady(production) && p.state.token(production) != "" && p.state.happened(v1alpha1.EventAuthorized, production)
	})
	if err != nil {
		return err
	}
	p.out.say("\nFrom the code's Secret to the token's Secret: %d ms. The token never expires, so expires_at is empty.",
		p.state.seen[production][0].at.Sub(started).Milliseconds())
	p.showSecret(p.state.secrets[production])
	return p.expectAPI(ctx, p.server.Production, p.state.token(production), http.StatusOK)
}

// expectAPI calls Increase's API with a token.
func (p *increasePlay) expectAPI(ctx context.Context, at *increase.Environment, token string, want int) error {
	p.out.command(`curl --header "Authorization: Bearer …" %s/accounts`, at.URL)
	p.own++
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.URL+"/accounts", nil)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := at.Client().Do(request)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	defer response.Body.Close()
	var answer struct {
		Data []struct{ Name string }
		Type string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	if response.StatusCode != want {
		return fmt.Errorf("the API answers %s, not %d", response.Status, want)
	}
	if want == http.StatusOK {
		p.out.say(`  HTTP %s: {"data":[{"name":%q, …}], …}`, response.Status, answer.Data[0].Name)
	} else {
		p.out.say(`  HTTP %s: {"type":%q, …}`, response.Status, answer.Type)
	}
	return nil
}

// find shows what the provider's list adds.
func (p *increasePlay) find(ctx context.Context) error {
	p.out.step("The token does not tell which connection it is: Increase's list does, one list for all connections")
	err := p.await(ctx, "status.id, and a count of what nobody manages", func() bool {
		connection, application := p.state.connections[production], p.state.applications[production]
		return connection != nil && connection.Status.ID != "" && application != nil &&
			application.Status.Connections != nil && application.Status.Connections.Unmanaged != nil && *application.Status.Connections.Unmanaged == 1
	})
	if err != nil {
		return err
	}
	grant, known := p.server.Production.GrantOf(p.state.token(production))
	if status := p.state.connections[production].Status; !known || status.ID != grant.ID || status.Subject != bakery {
		return fmt.Errorf("status says %s of %s, Increase says %s of %s", status.ID, status.Subject, grant.ID, grant.GroupID)
	}
	p.showStatus()
	counts, err := json.Marshal(p.state.applications[production].Status.Connections)
	if err != nil {
		return fmt.Errorf("print the counts: %w", err)
	}
	p.out.command("kubectl get oauthapplication %s --namespace %s --output jsonpath={.status.connections}", production, teamNamespace)
	p.out.say("  %s", counts)
	p.out.say("\nThe unmanaged one belongs to another installation of the platform: a florist has connected there.")
	return nil
}

// showStatus prints what status says about the connection at Increase.
func (p *increasePlay) showStatus() {
	connection := p.state.connections[production]
	p.out.command("kubectl get oauthconnection %s --namespace %s --output yaml   # in part", production, teamNamespace)
	p.out.say("  status:")
	p.out.say("    phase: %s", connection.Status.Phase)
	p.out.say("    id: %s", connection.Status.ID)
	p.out.say("    subject: %s", connection.Status.Subject)
	p.out.say("    createdAt: %s", connection.Status.CreatedAt.UTC().Format(time.RFC3339))
	if at := connection.Status.DeletedAt; at != nil {
		p.out.say("    deletedAt: %s", at.UTC().Format(time.RFC3339))
	}
	p.out.say("    Ready: %s", p.state.ready(production).Message)
}

func (p *increasePlay) inSandbox(ctx context.Context) error {
	p.out.step("The sandbox made itself a token of the production token")
	err := p.await(ctx, "a token of the sandbox", func() bool { return p.state.isReady(sandbox) && p.state.token(sandbox) != "" })
	if err != nil {
		return err
	}
	p.showSecret(p.state.secrets[sandbox])
	return p.expectAPI(ctx, p.server.Sandbox, p.state.token(sandbox), http.StatusOK)
}

func (p *increasePlay) lookAround(ctx context.Context) error {
	return p.pause(ctx, func() {
		p.out.say("For a code, which lives for a minute; the server consents at once:")
		p.out.say("\n  curl -s -o /dev/null -w '%%{redirect_url}\\n' \"%s?client_id=%s&scope=%s&state=$(openssl rand -hex 8)\"",
			p.server.Production.AuthorizationURL(), p.state.applications[production].Spec.Client.ID, increase.ReadOnly)
	})
}

// disconnect lets the bakery end the grant.
func (p *increasePlay) disconnect(ctx context.Context) error {
	p.out.step("The bakery disconnects in Increase's dashboard: phase Deleted, and the Secret goes")
	if p.changedMeanwhile(p.state.isReady) {
		return nil
	}
	token := p.state.token(production)
	grant, _ := p.server.Production.GrantOf(token)
	if err := p.server.Production.Deauthorize(grant.ID); err != nil {
		return fmt.Errorf("disconnect: %w", err)
	}
	if err := p.expectAPI(ctx, p.server.Production, token, http.StatusUnauthorized); err != nil {
		return err
	}
	p.out.say("\nThe operator reads the list once in statusCheck.interval, an hour by default. This makes it look now:")
	p.out.command(`kubectl annotate oauthconnection %s --namespace %s %s="$(date -Is)" --overwrite`, production, teamNamespace, v1alpha1.AnnotationRefreshRequestedAt)
	connection := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: production}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRefreshRequestedAt, time.Now().Format(time.RFC3339))
	if err := p.client.Patch(ctx, connection, client.RawPatch(client.Merge.Type(), []byte(patch))); err != nil {
		return fmt.Errorf("annotate connection %s: %w", production, err)
	}
	err := p.await(ctx, "phase Deleted, and no Secret", func() bool {
		now := p.state.connections[production]
		return now != nil && now.Status.Phase == v1alpha1.ConnectionDeleted && p.state.secrets[production] == nil &&
			p.state.happened(v1alpha1.ReasonDeauthorized, production)
	})
	if err != nil {
		return err
	}
	p.showStatus()
	p.out.command("kubectl get secret %s --namespace %s", production, teamNamespace)
	p.out.say("  Error from server (NotFound): secrets %q not found", production)
	p.out.say("\nA token that the API refuses makes a connection Inactive. Deleted is what the list says: gone for good.")
	p.out.say("The sandbox's own token goes on working:")
	return p.expectAPI(ctx, p.server.Sandbox, p.state.token(sandbox), http.StatusOK)
}

// changedMeanwhile tells whether a reader who was let look around has changed what the next step is about.
func (p *increasePlay) changedMeanwhile(as func(connection string) bool) bool {
	if !p.hold || (as(production) && as(sandbox)) {
		return false
	}
	p.out.say("  The connections were deleted or changed while you looked around; there is nothing to show.")
	return true
}

func (p *increasePlay) connectAgain(ctx context.Context) error {
	p.out.step("The bakery connects again: the connection lives, and the sandbox follows")
	if p.changedMeanwhile(func(name string) bool { return p.state.connections[name] != nil }) {
		return nil
	}
	code, err := p.consent()
	if err != nil {
		return err
	}
	was, wasInSandbox := p.state.token(production), p.state.token(sandbox)
	p.out.command("kubectl create secret generic %s --namespace %s --from-literal=code=… --dry-run=client --output yaml | kubectl apply -f -",
		increaseCodeSecret, teamNamespace)
	if err := p.replace(ctx, increaseCodeSecret, map[string]string{v1alpha1.DefaultCodeKey: code}); err != nil {
		return err
	}
	err = p.await(ctx, "new tokens in both environments", func() bool {
		return p.state.isReady(production) && p.state.token(production) != was && p.state.happened(v1alpha1.EventRecovered, production) &&
			p.state.isReady(sandbox) && p.state.token(sandbox) != wasInSandbox
	})
	if err != nil {
		return err
	}
	if err := p.expectAPI(ctx, p.server.Production, p.state.token(production), http.StatusOK); err != nil {
		return err
	}
	return p.expectAPI(ctx, p.server.Sandbox, p.state.token(sandbox), http.StatusOK)
}

// uninstall deletes everything, and shows that what is said about the tokens is true.
func (p *increasePlay) uninstall(ctx context.Context) error {
	p.out.step("Delete all: Increase has no revocation, and the operator does not pretend")
	waiting := slices.DeleteFunc([]string{production, sandbox}, func(name string) bool { return p.state.connections[name] == nil })
	token := p.state.token(production)
	if err := p.deleteAll(ctx, teamNamespace); err != nil {
		return err
	}
	err := p.await(ctx, "the end of all connections and applications", func() bool {
		return len(p.state.connections) == 0 && len(p.state.applications) == 0 && len(p.state.secrets) == 0 &&
			!slices.ContainsFunc(waiting, func(name string) bool { return !p.state.happened(v1alpha1.EventRevocationUnsupported, name) })
	})
	if err != nil {
		return err
	}
	if err := p.expectAPI(ctx, p.server.Production, token, http.StatusOK); err != nil {
		return err
	}
	return p.nothingKept(ctx)
}

// count tells what all of this has cost Increase.
func (p *increasePlay) count(_ context.Context) error {
	p.out.step("What Increase was asked, in both environments")
	for _, kind := range []struct {
		endpoint record.Endpoint
		what     string
	}{
		{record.Token, "POST /oauth/tokens"},
		{increase.Applications, "GET  /oauth_applications"},
		{increase.Connections, "GET  /oauth_connections"},
		{increase.Accounts, "GET  /accounts, to see whether the token works"},
	} {
		asked := 0
		for _, one := range sidesOf(p.server) {
			asked += one.Count(record.Filter{Endpoint: kind.endpoint})
		}
		if kind.endpoint == increase.Accounts {
			asked -= p.own // Those were yours.
		}
		p.out.say("  %d  %s", asked, kind.what)
	}
	if uses := p.server.Production.MaxUses(); uses != 1 {
		return fmt.Errorf("a code was sent to Increase %d times", uses)
	}
	p.out.say("\nEach code was sent once.")
	return nil
}
