// SPDX-License-Identifier: Apache-2.0

package person

import (
	"context"
	"fmt"
	"net/url"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// Answer is what a person says on the provider's page.
type Answer struct {
	// Account to be; empty: the one that is chosen already.
	Account string
	Deny    bool
}

// Login is one way from a connect link to the provider and back.
type Login struct {
	// Connect is the page that the link opened.
	Connect *Page
	// Provider is the page that asked the person; nil: there was none, because the gateway did not lead there or the
	// provider asked nobody.
	Provider *Page
	// Callback is the address at which the person came back to the gateway. It holds what the provider said, such as a code.
	// nil: the person never came back.
	Callback *url.URL
	// Page is where the way has come to so far.
	Page *Page
}

// Connect goes the whole way: the link, the button on its page, the provider's page, and back until the gateway says how
// it went. A page on the way that leads no further is where it ended, and no error.
func (p *Person) Connect(ctx context.Context, link string, answer Answer) (*Login, error) {
	login, err := p.Begin(ctx, link)
	if err != nil {
		return login, err
	}
	return login, login.Answer(ctx, answer)
}

// Begin opens a connect link and presses the button of its page, which leads to the provider.
func (p *Person) Begin(ctx context.Context, link string) (*Login, error) {
	page, err := p.Open(ctx, link)
	if err != nil {
		return nil, fmt.Errorf("open the link: %w", err)
	}
	login := &Login{Connect: page, Page: page}
	if len(page.Buttons()) == 0 {
		return login, nil
	}
	next, err := page.Press(ctx, "")
	if err != nil {
		return login, fmt.Errorf("go to the provider: %w", err)
	}
	login.arrive(next)
	if next, err = next.depart(ctx); err != nil {
		return login, fmt.Errorf("go on to the provider: %w", err)
	}
	login.arrive(next)
	if asks(next) {
		login.Provider = next
	}
	return login, nil
}

// Answer says on the provider's page what the person wants, and waits for the result. Without such a page it only waits.
func (l *Login) Answer(ctx context.Context, answer Answer) error {
	if l.Provider != nil {
		next, err := l.say(ctx, answer)
		if err != nil {
			return fmt.Errorf("answer the provider: %w", err)
		}
		l.arrive(next)
	}
	settled, err := l.Page.Settle(ctx)
	l.Page = settled
	return err
}

func (l *Login) say(ctx context.Context, answer Answer) (*Page, error) {
	if answer.Account != "" {
		if err := l.Provider.Fill(harness.FieldAccount, answer.Account); err != nil {
			return nil, err
		}
	}
	if answer.Deny {
		return l.Provider.Press(ctx, "Deny")
	}
	return l.Provider.Press(ctx, "Approve")
}

// arrive notes where a step has led, and on which way.
func (l *Login) arrive(page *Page) {
	l.Page = page
	for _, hop := range page.Chain {
		if hop.URL.Path == v1alpha1.PathCallback {
			l.Callback = hop.URL
		}
	}
}

// asks tells whether a page is the one of harness.Question.
func asks(page *Page) bool {
	for _, b := range page.buttons() {
		if b.name == harness.FieldDecision {
			return true
		}
	}
	return false
}
