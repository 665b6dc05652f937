// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/lifecycle"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/registration"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// asked is a provider that agrees to everything and remembers where it was asked.
type asked struct{ where []string }

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	token, _, _ := strings.Cut(string(body), "&")
	a.where = append(a.where, r.URL.Host+" "+token)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// perTenant is the scope of a record at a provider with a host for each tenant and one for each account.
func perTenant(record *lifecycle.Record) *scope {
	kept := &registration.Client{
		Spec: &v1alpha1.OAuthApplicationSpec{
			Inputs: []v1alpha1.Input{{Name: "tenant", Restriction: v1alpha1.Restriction{Pattern: "[a-z]+"}}},
			TokenResponse: &v1alpha1.TokenResponseSpec{Capture: []v1alpha1.Capture{
				{Name: "pod", Path: "$.pod", Restriction: v1alpha1.Restriction{Pattern: "[a-z0-9]+"}},
			}},
			Endpoints: &v1alpha1.Endpoints{
				TokenURL: "https://{tenant}.example.com/token", RevocationURL: "https://{tenant}-{pod}.example.com/revoke",
			},
		},
		OAuth: oauth.Client{ID: "app", Authentication: oauth.None},
	}
	s := &scope{log: logr.Discard(), client: kept, profile: kept.Profile()}
	s.facts.Record = record
	return s
}

// TestTokensAreRevokedWhereTheyCameFrom : those of another account must not be shown to the old one's host, and what the
// application has forbidden since leads nowhere.
func TestTokensAreRevokedWhereTheyCameFrom(t *testing.T) {
	tokens := func(refresh, pod string) lifecycle.Tokens {
		return lifecycle.Tokens{RefreshToken: sensitive.New(refresh), Captured: map[string]string{"pod": pod}}
	}
	record := &lifecycle.Record{
		Tokens: tokens("old", "p1"), Inputs: map[string]string{"tenant": "acme"},
		Candidate: &lifecycle.Candidate{Tokens: tokens("new", "p2"), Inputs: map[string]string{"tenant": "initech"}},
	}
	s, provider := perTenant(record), &asked{}
	r := New(Options{Caller: oauth.NewCaller(time.Now, oauth.Options{})})
	refused, again, err := r.revokeAll(context.Background(), s, provider, tokensToRevoke(record))
	want := []string{"acme-p1.example.com token=old", "initech-p2.example.com token=new"}
	if err != nil || again != nil || len(refused) > 0 || !slices.Equal(provider.where, want) {
		t.Errorf("asked %q, want %q; %v, %v, %v", provider.where, want, refused, again, err)
	}

	record.Inputs = map[string]string{"tenant": "acme.evil.example.net/"}
	if got := revocability(s); got != lifecycle.RevocableNow {
		t.Errorf("revocability %v: the provider can revoke, and the application may be mended in time", got)
	}
	provider.where = nil
	if _, _, err := r.revokeAll(context.Background(), s, provider, tokensToRevoke(record)); err == nil || len(provider.where) > 0 {
		t.Errorf("asked %q, error %v", provider.where, err)
	}
}
