// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

func ask(t *testing.T, p *pages.Pages, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	p.Assets().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return recorder
}

// linked returns the paths of the assets that a page links, by relation.
func linked(t *testing.T, p *pages.Pages) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, e := range read(t, renderNotice(t, p, "", pages.Notice{Kind: pages.NotFound})).all("link") {
		found[e.attr["rel"]] = e.attr["href"]
	}
	return found
}

func TestAssetsAreServedForGood(t *testing.T) {
	for name, branding := range map[string]pages.Branding{"at the root": {}, "below a path": {BasePath: "/oauth"}} {
		t.Run(name, func(t *testing.T) {
			p := newPages(t, branding)
			links := linked(t, p)
			for relation, contentType := range map[string]string{"stylesheet": "text/css; charset=utf-8", "icon": "image/svg+xml"} {
				path := links[relation]
				if !strings.HasPrefix(path, branding.BasePath+pages.PathAssets) {
					t.Fatalf("%s is linked as %q", relation, path)
				}
				// A proxy may take the base path off.
				for _, path := range []string{path, strings.TrimPrefix(path, branding.BasePath)} {
					got := ask(t, p, http.MethodGet, path)
					if got.Code != http.StatusOK || got.Header().Get("Content-Type") != contentType || got.Body.Len() == 0 {
						t.Errorf("%s: status %d, %v", path, got.Code, got.Header())
					}
					if cache := got.Header().Get("Cache-Control"); cache != "public, max-age=31536000, immutable" {
						t.Errorf("%s: kept as %q", path, cache)
					}
					if head := ask(t, p, http.MethodHead, path); head.Code != http.StatusOK || head.Body.Len() != 0 {
						t.Errorf("HEAD %s: status %d, %d bytes", path, head.Code, head.Body.Len())
					}
				}
			}
		})
	}
}

func TestAssetOfAnotherVersionIsNotKept(t *testing.T) {
	p := newPages(t, pages.Branding{})
	own := ask(t, p, http.MethodGet, linked(t, p)["stylesheet"])
	other := ask(t, p, http.MethodGet, "/assets/site-0123456789abcdef.css")
	if other.Code != http.StatusOK || other.Body.String() != own.Body.String() {
		t.Errorf("while replicas are replaced, a page has no style: status %d", other.Code)
	}
	if cache := other.Header().Get("Cache-Control"); cache != "no-store" {
		t.Errorf("a name is kept as %q with what is not its content", cache)
	}
}

func TestNoOtherAssets(t *testing.T) {
	p := newPages(t, pages.Branding{BasePath: "/oauth"})
	for _, path := range []string{
		"/assets/", "/assets/site.css", "/assets/site-.css", "/assets/site-0123456789ABCDEF.css", "/assets/site-0123456789abcdef.svg",
		"/assets/site-0123456789abcdef0.css", "/assets/../pages.go", "/assets/site-../../../../../x.css", "/site-0123456789abcdef.css", "/",
		"/oauth/oauth/assets/site-0123456789abcdef.css",
	} {
		if got := ask(t, p, http.MethodGet, path); got.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, got.Code)
		}
	}
	got := ask(t, p, http.MethodPost, "/assets/site-0123456789abcdef.css")
	if got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") == "" {
		t.Errorf("POST: status %d", got.Code)
	}
}
