// SPDX-License-Identifier: Apache-2.0

package ticket_test

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/ticket"
)

const external = "https://oauth.example.com"

func issued() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }

func waiting(claims ticket.Claims) (*v1alpha1.OAuthConnection, string) {
	text := ticket.New(claims)
	c := &v1alpha1.OAuthConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "crm", Generation: claims.Generation}}
	if !claims.AuthorizedAt.IsZero() {
		at := metav1.NewTime(claims.AuthorizedAt)
		c.Status.LastAuthorizedAt = &at
	}
	c.Status.AuthorizationURL = ticket.URL(external, c.Namespace, c.Name, text)
	return c, text
}

func TestClaims(t *testing.T) {
	for name, want := range map[string]ticket.Claims{
		"first":    {Generation: 1, IssuedAt: issued()},
		"again":    {Generation: 12, IssuedAt: issued(), AuthorizedAt: issued().Add(-time.Hour)},
		"captured": {Generation: 1, IssuedAt: issued(), Captured: map[string]string{"instance_url": "https://x.example.com/?a=b&c"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, text := waiting(want)
			if got := ticket.Of(c); got != text {
				t.Errorf("status holds the ticket %q, want %q", got, text)
			}
			got, err := ticket.Check(c, text, issued())
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("the ticket says %+v, %v; want %+v", got, err, want)
			}
			link, err := url.Parse(c.Status.AuthorizationURL)
			if err != nil || link.Host != "oauth.example.com" || link.Path != "/connect/billing/crm" {
				t.Errorf("the link is %s", c.Status.AuthorizationURL)
			}
		})
	}
	if first, second := ticket.New(ticket.Claims{}), ticket.New(ticket.Claims{}); first == second {
		t.Error("a ticket can be guessed")
	}
}

func TestTicketDies(t *testing.T) {
	at := metav1.NewTime(issued())
	for name, row := range map[string]struct {
		change func(*v1alpha1.OAuthConnection)
		now    time.Time
		want   error
	}{
		"alive":            {func(*v1alpha1.OAuthConnection) {}, issued().Add(ticket.Lifetime - time.Second), nil},
		"after a day":      {func(*v1alpha1.OAuthConnection) {}, issued().Add(ticket.Lifetime), ticket.ErrExpired},
		"another spec":     {func(c *v1alpha1.OAuthConnection) { c.Generation++ }, issued(), ticket.ErrUnknown},
		"authorized since": {func(c *v1alpha1.OAuthConnection) { c.Status.LastAuthorizedAt = &at }, issued(), ticket.ErrUnknown},
		"taken away":       {func(c *v1alpha1.OAuthConnection) { c.Status.AuthorizationURL = "" }, issued(), ticket.ErrUnknown},
		"replaced": {func(c *v1alpha1.OAuthConnection) {
			c.Status.AuthorizationURL = ticket.URL(external, "billing", "crm", ticket.New(ticket.Claims{Generation: 1, IssuedAt: issued()}))
		}, issued(), ticket.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			c, text := waiting(ticket.Claims{Generation: 1, IssuedAt: issued()})
			row.change(c)
			if _, err := ticket.Check(c, text, row.now); !errors.Is(err, row.want) {
				t.Errorf("Check says %v, want %v", err, row.want)
			}
		})
	}
	c, text := waiting(ticket.Claims{Generation: 1, IssuedAt: issued()})
	for _, forged := range []string{"", text + "x", text[:len(text)-1], strings.ToUpper(text), " " + text} {
		if _, err := ticket.Check(c, forged, issued()); !errors.Is(err, ticket.ErrUnknown) {
			t.Errorf("%q is accepted in place of %q: %v", forged, text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ticket.New(ticket.Claims{Generation: 1, IssuedAt: issued(), Captured: map[string]string{"a": "b"}}))
	f.Add("1.0.0.x")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := ticket.Parse(text)
		if err != nil {
			return
		}
		if claims.Generation < 0 || claims.IssuedAt.Before(time.Unix(0, 0)) {
			t.Fatalf("%+v", claims)
		}
		again, err := ticket.Parse(ticket.New(claims))
		if err != nil || !reflect.DeepEqual(again, claims) && len(claims.Captured) > 0 {
			t.Fatalf("%+v is read as %+v, %v", claims, again, err)
		}
	})
}
