// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// browserPlay is the story of a connection that a person authorizes, by clicking a link.
type browserPlay struct {
	*story

	// invited is the link that the reader was last asked to open, login the last one whose outcome was told, and token the last
	// one in the Secret.
	invited, login, token string
}

func ofBrowser(s *story) []func(context.Context) error {
	p := &browserPlay{story: s}
	parts := []func(context.Context) error{p.apply}
	if p.away {
		parts = append(parts, p.decline, p.agree, p.lose, p.comeAsAnother, p.comeBack)
	} else {
		parts = append(parts, p.watch)
		// What a reader does who may click is not known before.
		p.hold = true
	}
	return append(parts, p.revoke, p.uninstall, p.measure)
}

func (p *browserPlay) apply(ctx context.Context) error {
	p.out.step("Apply an application and a connection without a grant: it says where a person is to click")
	namespaces, err := readManifest(p.stage.plane.Root, "namespaces.yaml")
	if err != nil {
		return err
	}
	if err := namespaces.apply(ctx, p.client); err != nil {
		return err
	}
	inFile, err := p.stage.samples.pointAt(p.stage.provider.URL)
	if err != nil {
		return err
	}
	p.out.command("kubectl apply --server-side --filename test/demo/browser.yaml")
	if err := p.stage.samples.apply(ctx, p.client); err != nil {
		return err
	}
	for _, object := range p.stage.samples {
		p.out.say("  %s serverside-applied", label(object))
	}
	p.out.say("  (as they are but for one line: issuerURL, %s in the file, is %s here)", inFile, p.stage.provider.URL)
	p.out.command("kubectl get oauthconnections --namespace %s --watch", teamNamespace)
	if err := p.await(ctx, "a link for a person", func() bool { return p.link() != "" }); err != nil {
		return err
	}
	p.out.command("kubectl get oauthconnection %s --namespace %s --output jsonpath={.status.authorizationURL}", codeConnection, teamNamespace)
	p.out.say("  %s", p.link())
	return nil
}

// link is where a person is to click now; empty: nowhere.
func (p *browserPlay) link() string {
	if connection := p.state.connections[codeConnection]; connection != nil {
		return connection.Status.AuthorizationURL
	}
	return ""
}

// watch shows what happens while the reader clicks, until they have seen enough.
func (p *browserPlay) watch(ctx context.Context) error {
	p.out.step("You are the person")
	p.out.say("Open the link in a browser on this machine. At the provider be %s or %s, and approve or deny.", alice, bob)
	p.out.say("Things to try: deny, and try again. Open a page that you have come back to once more. Open the link in a private")
	p.out.say("window, go to the provider, and copy the address into another browser.")
	p.out.say("\nType r and Enter to have the provider end the grant: there will be a new link, for the same account alone.")
	p.out.say("Type Enter alone to go on with the deletions. Ctrl-C ends everything. In another terminal:")
	p.out.say("  export KUBECONFIG=%s", p.stage.kubeconfig)
	lines := linesOf(ctx, os.Stdin)
	for {
		p.tellNews()
		select {
		case c := <-p.changes:
			if err := p.state.take(c, p.out); err != nil {
				return err
			}
		case line, open := <-lines:
			switch {
			case !open:
				lines = nil // Nobody can type any more; only a signal ends it.
			case strings.TrimSpace(line) == "":
				return nil
			case strings.TrimSpace(line) == "r":
				if err := p.endGrant(ctx); err != nil {
					p.out.say("  %v", err)
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// linesOf returns the lines that are typed; the channel is closed at their end.
func linesOf(ctx context.Context, in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for typed := bufio.NewScanner(in); typed.Scan(); {
			select {
			case lines <- typed.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// tellNews tells what has come of clicks: how a login went, a new token, a new link.
func (p *browserPlay) tellNews() {
	connection := p.state.connections[codeConnection]
	if connection == nil {
		return
	}
	if last := connection.Status.LastAuthorization; last != nil && last.ID != p.login {
		p.login = last.ID
		p.out.say("  > status.lastAuthorization: %s", strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", last.Outcome, last.Reason, last.Message)), " "))
	}
	if token := p.state.token(tokenSecret); token != p.token && p.state.secrets[tokenSecret] != nil {
		p.token = token
		p.out.say("  > Secret %s holds a new token of %d bytes", tokenSecret, len(token))
	}
	if link := p.link(); !p.away && link != "" && link != p.invited {
		p.invited = link
		p.out.say("\n  Open:  %s\n", link)
	}
}

// endGrant is what a person does in their account at the provider, whereupon the operator is made to look.
func (p *browserPlay) endGrant(ctx context.Context) error {
	token := p.state.token(tokenSecret)
	if token == "" {
		return errors.New("there is no grant that could end")
	}
	if err := p.stage.provider.RevokeGrant(token); err != nil {
		return errors.New("the grant has ended already")
	}
	p.out.say("\nThe provider has ended the grant. The operator would find out at the next refresh; this makes it look now:")
	p.out.command(`kubectl annotate oauthconnection %s --namespace %s %s="$(date -Is)" --overwrite`, codeConnection, teamNamespace, v1alpha1.AnnotationRefreshRequestedAt)
	connection := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: teamNamespace, Name: codeConnection}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRefreshRequestedAt, time.Now().Format(time.RFC3339Nano))
	if err := p.client.Patch(ctx, connection, client.RawPatch(client.Merge.Type(), []byte(patch))); err != nil {
		return fmt.Errorf("annotate connection %s: %w", codeConnection, err)
	}
	return nil
}
