// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/person"
)

// Where nobody is at the terminal, a person with plain HTTP clicks, in a new browser each time.

// connect goes the whole way, and tells each step.
func (p *browserPlay) connect(ctx context.Context, answer person.Answer) error {
	if err := p.await(ctx, "a link for a person", func() bool { return p.link() != "" }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	login, err := person.New(person.Options{Observe: func(h person.Hop) {
		p.out.say("  browser: %-4s %s://%s%s: %d", h.Method, h.URL.Scheme, h.URL.Host, short(h.URL.Path), h.Status)
	}}).Connect(ctx, p.link(), answer)
	if err != nil {
		return err
	}
	p.out.say("  The page says: %q", login.Page.Heading)
	return nil
}

// short cuts off what is sealed in a path.
func short(path string) string {
	const most = 40
	if len(path) > most {
		return path[:most] + "…"
	}
	return path
}

// outcome waits for what status says of the last login, another than before.
func (p *browserPlay) outcome(ctx context.Context, outcome v1alpha1.AuthorizationOutcome, reason string) error {
	err := p.await(ctx, fmt.Sprintf("lastAuthorization %s %s in status", outcome, reason), func() bool {
		connection := p.state.connections[codeConnection]
		if connection == nil || connection.Status.LastAuthorization == nil {
			return false
		}
		last := connection.Status.LastAuthorization
		return last.ID != p.login && last.Outcome == outcome && last.Reason == reason
	})
	p.tellNews()
	return err
}

func (p *browserPlay) decline(ctx context.Context) error {
	p.out.step("The person opens the link, and denies at the provider: status says so, nothing is stored")
	if err := p.connect(ctx, person.Answer{Deny: true}); err != nil {
		return err
	}
	if err := p.outcome(ctx, v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccessDenied); err != nil {
		return err
	}
	if p.state.secrets[tokenSecret] != nil {
		return fmt.Errorf("there is a Secret %s although the person has denied", tokenSecret)
	}
	return nil
}

func (p *browserPlay) agree(ctx context.Context) error {
	p.out.step("The person thinks better of it, and approves as " + alice + ": the Secret appears")
	if err := p.succeed(ctx); err != nil {
		return err
	}
	p.showSecret(p.state.secrets[tokenSecret])
	return p.expectActive(ctx, p.state.token(tokenSecret), true)
}

// succeed has alice approve, and waits for another token than there was.
func (p *browserPlay) succeed(ctx context.Context) error {
	before := p.state.token(tokenSecret)
	if err := p.connect(ctx, person.Answer{Account: alice}); err != nil {
		return err
	}
	if err := p.outcome(ctx, v1alpha1.AuthorizationSucceeded, ""); err != nil {
		return err
	}
	return p.await(ctx, "a new token of "+alice, func() bool {
		connection := p.state.connections[codeConnection]
		return p.state.isReady(codeConnection) && p.state.token(tokenSecret) != before && connection.Status.Subject == alice
	})
}

func (p *browserPlay) lose(ctx context.Context) error {
	p.out.step("The person ends the grant in their account at the provider: there is a new link")
	if err := p.endGrant(ctx); err != nil {
		return err
	}
	return p.await(ctx, "a connection that waits for a person again", func() bool {
		return p.state.connections[codeConnection].Status.Phase == v1alpha1.ConnectionInactive && p.link() != ""
	})
}

func (p *browserPlay) comeAsAnother(ctx context.Context) error {
	p.out.step("Somebody else opens the link, and approves as " + bob + ": refused, the connection is " + alice + "'s")
	before := p.state.token(tokenSecret)
	if err := p.connect(ctx, person.Answer{Account: bob}); err != nil {
		return err
	}
	if err := p.outcome(ctx, v1alpha1.AuthorizationFailed, v1alpha1.ReasonAccountMismatch); err != nil {
		return err
	}
	if p.state.token(tokenSecret) != before {
		return fmt.Errorf("the Secret %s has changed", tokenSecret)
	}
	return nil
}

func (p *browserPlay) comeBack(ctx context.Context) error {
	p.out.step("The person approves as " + alice + " once more: the same connection, the same Secret, a new token")
	uid := p.state.secrets[tokenSecret].UID
	if err := p.succeed(ctx); err != nil {
		return err
	}
	if p.state.secrets[tokenSecret].UID != uid {
		return fmt.Errorf("the Secret %s is another one", tokenSecret)
	}
	return p.expectActive(ctx, p.state.token(tokenSecret), true)
}
