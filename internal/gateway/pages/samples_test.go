// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// page is a page as a browser gets it.
type page struct {
	name   string
	status int
	header http.Header
	html   string
}

func newPages(t testing.TB, branding pages.Branding) *pages.Pages {
	t.Helper()
	p, err := pages.New(branding)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t testing.TB, name string, write func(http.ResponseWriter) error) page {
	t.Helper()
	recorder := httptest.NewRecorder()
	if err := write(recorder); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return page{name, recorder.Code, recorder.Header(), recorder.Body.String()}
}

func renderConnect(t testing.TB, p *pages.Pages, name string, c pages.Connect) page {
	t.Helper()
	return render(t, name, func(w http.ResponseWriter) error { return p.Connect(w, c) })
}

func renderNotice(t testing.TB, p *pages.Pages, name string, n pages.Notice) page {
	t.Helper()
	return render(t, name, func(w http.ResponseWriter) error { return p.Notice(w, n) })
}

// The addresses that samples lead to.
const (
	sampleLogo   = "https://cdn.example.com/github.svg?v=1&size=40"
	sampleRetry  = "https://connect.example.com/connect/billing/ci-builds?ticket=1.0.t2xk9s.c2FtcGxl"
	sampleResult = "/result?login=c2FtcGxl&n=2"
	sampleTarget = "https://github.com/login/oauth/authorize?client_id=ci&scope=repo%20workflow&state=c2FtcGxl"
)

func fullConnect() pages.Connect {
	return pages.Connect{
		Application: "Builds of the billing team", Provider: "GitHub",
		Connection:  types.NamespacedName{Namespace: "billing", Name: "ci-builds"},
		DisplayName: "Berlin's builds", Owner: "alice@example.com",
		Scopes:     []string{"repo", "read:user", "workflow"},
		FormAction: "/connect/billing/ci-builds?ticket=1.0.t2xk9s.c2FtcGxl", FormToken: "sample-form-token", ProviderHost: "github.com",
	}
}

// connectSamples by the name of their golden file.
func connectSamples() map[string]pages.Connect {
	reconnect := fullConnect()
	reconnect.Reconnect, reconnect.Account, reconnect.Owner, reconnect.LogoURL = true, "583231", "", sampleLogo
	reconnect.LastFailure = "the provider refused the code: bad_verification_code: The code passed is incorrect or expired."
	unknown := fullConnect()
	unknown.Reconnect = true
	long := fullConnect()
	long.Application = "Synchronisation of the customer relationship management of all subsidiaries in Europe, the Middle East and Africa"
	long.Provider = "Rechtsanwaltskammerverwaltungsgesellschaftsdatenaustauschplattform"
	long.DisplayName = strings.Repeat("Donaudampfschifffahrtselektrizitäten", 4)
	long.Owner = "system:serviceaccount:" + strings.Repeat("a", 63) + ":" + strings.Repeat("b", 200)
	long.Connection = types.NamespacedName{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("c", 200) + ".example"}
	long.ProviderHost = strings.Repeat("login.", 20) + "example.com"
	long.Scopes = []string{"https://www.googleapis.com/auth/cloud-platform.read-only.with.a.very.long.name.that.never.seems.to.end", "openid"}
	for i := range 40 {
		long.Scopes = append(long.Scopes, "scope:"+strings.Repeat("x", i))
	}
	return map[string]pages.Connect{
		"connect":                   fullConnect(),
		"connect-reconnect":         reconnect,
		"connect-reconnect-unknown": unknown,
		"connect-bare":              {FormAction: "/connect/a/b", FormToken: "sample-form-token"},
		"connect-long":              long,
	}
}

// noticeSamples by the name of their golden file: each kind with all that can be known.
func noticeSamples() map[string]pages.Notice {
	samples := map[string]pages.Notice{}
	for _, kind := range pages.Kinds() {
		n := pages.Notice{
			Kind: kind, Application: "Builds of the billing team", Provider: "GitHub",
			Connection: types.NamespacedName{Namespace: "billing", Name: "ci-builds"},
		}
		switch kind {
		case pages.Unpublished:
			n.Account, n.Detail = "583231", `Secret "ci-builds" exists and is not this connection's; delete it, or set spec.secret.name`
		case pages.Success:
			n.Account, n.LogoURL = "583231", sampleLogo
		case pages.AccountMismatch:
			n.Account, n.RetryURL = "583231", sampleRetry
			n.Detail = "the provider named account 1024025, and the connection belongs to 583231"
		case pages.Departing:
			n.Target = sampleTarget
		case pages.Waiting:
			n.Refresh, n.RefreshAfter = sampleResult, 1500*time.Millisecond
		case pages.ControllerAway:
			n.Refresh, n.RefreshAfter = sampleResult, time.Second
		case pages.Failed, pages.NotReady:
			n.RetryURL = sampleRetry
			n.Detail = "server_error: The authorization server met an unexpected condition. See <https://example.com/status> & try later."
		case pages.Denied:
			n.RetryURL, n.Detail = sampleRetry, "access_denied: The user has denied your application access."
		case pages.Expired, pages.Replayed, pages.WrongBrowser, pages.Changed, pages.LinkExpired, pages.FormExpired:
			n.RetryURL = sampleRetry
		case pages.LinkInvalid, pages.NotFound, pages.MethodNotAllowed, pages.BadRequest, pages.TooManyRequests, pages.ServerError:
			n = pages.Notice{Kind: kind}
		default:
		}
		samples["notice-"+string(kind)] = n
	}
	return samples
}

// allPages are the samples, and each notice without anything known, in the order of their names.
func allPages(t testing.TB, p *pages.Pages) []page {
	t.Helper()
	var all []page
	for name, sample := range connectSamples() {
		all = append(all, renderConnect(t, p, name, sample))
	}
	for name, sample := range noticeSamples() {
		all = append(all, renderNotice(t, p, name, sample), renderNotice(t, p, name+"-bare", pages.Notice{Kind: sample.Kind}))
	}
	slices.SortFunc(all, func(a, b page) int { return strings.Compare(a.name, b.name) })
	return all
}
