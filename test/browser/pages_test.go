// SPDX-License-Identifier: Apache-2.0

//go:build browser

package browser

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/gateway/headers"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// bare ends the names of pages of which nothing is known. They are made of the same parts as those with all that can be.
const bare = "-bare"

// tabs is how many pages are looked at, at a time.
const tabs = 4

// TestPages : every page that the gateway can show, under the headers that it sends, small and large, light and dark. Here are
// those that no login leads to in a test's time.
func TestPages(t *testing.T) {
	t.Parallel()
	address, names := servePages(t)
	for i := range tabs {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			tab := newTab(t)
			for at := i; at < len(names); at += tabs {
				tab.open(address + "/" + names[at])
				shown := tab.await(func(page) error { return nil })
				if shown.Heading == "" || shown.Title == "" {
					t.Errorf("page %s has heading %q and title %q", names[at], shown.Heading, shown.Title)
				}
				if strings.HasSuffix(names[at], bare) {
					tab.inLooks(phone().inDark())
				} else {
					tab.inLooks(looks()...)
				}
			}
		})
	}
}

// TestScreenshots keeps pictures of pages for the documentation.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("make screenshots takes them")
	}
	address, _ := servePages(t)
	tab := newTab(t)
	for name, file := range map[string]string{"connect": "consent", string(pages.Success): "success", string(pages.AccountMismatch): "other-account"} {
		tab.open(address + "/" + name)
		for _, l := range looks() {
			tab.show(l)
			tab.await(func(page) error { return nil })
			tab.picture(filepath.Join(*screenshots, file+"-"+l.name+".png"))
		}
	}
}

// servePages serves the pages with a content that is always the same, and returns their names.
func servePages(t *testing.T) (address string, names []string) {
	t.Helper()
	shown, err := pages.New(pages.Branding{})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	external, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	policy := headers.New(external, "")
	add := func(name string, write func(http.ResponseWriter) error) {
		names = append(names, name)
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) {
			policy.Set(w.Header())
			if err := write(w); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	mux.Handle(pages.PathAssets, shown.Assets())
	// The page that waits for an outcome stays, as it does while the gateway holds the request for that, and so does the one that
	// leaves for a provider.
	mux.HandleFunc("/oauth2/result/x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	add("connect", func(w http.ResponseWriter) error { return shown.Connect(w, consent()) })
	add("connect-again", func(w http.ResponseWriter) error {
		again := consent()
		again.Reconnect, again.Account, again.LastFailure = true, "alice@example.com", "the provider answered access_denied"
		return shown.Connect(w, again)
	})
	for _, kind := range pages.Kinds() {
		add(string(kind), func(w http.ResponseWriter) error { return shown.Notice(w, notice(kind, server.URL)) })
		add(string(kind)+bare, func(w http.ResponseWriter) error { return shown.Notice(w, pages.Notice{Kind: kind}) })
	}
	return server.URL, names
}

func consent() pages.Connect {
	return pages.Connect{
		Application: "Example CRM", Provider: "Example CRM", ProviderHost: "login.example.com",
		Connection: types.NamespacedName{Namespace: "billing", Name: "crm"}, DisplayName: "Reports for the board",
		Scopes: []string{"api:read", "offline_access"}, FormAction: "/connect/billing/crm", FormToken: "token",
	}
}

// notice is one with all that can be known. address is where the pages are served.
func notice(kind pages.Kind, address string) pages.Notice {
	n := pages.Notice{
		Kind: kind, Application: "Example CRM", Provider: "Example CRM", Account: "alice@example.com",
		Connection: types.NamespacedName{Namespace: "billing", Name: "crm"}, RetryURL: "/connect/billing/crm",
	}
	switch kind {
	case pages.Success:
		n.RetryURL = ""
	case pages.Departing:
		n.RetryURL, n.Target = "", address+"/oauth2/result/x"
	case pages.Waiting:
		n.RetryURL, n.Refresh = "", "/oauth2/result/x"
	case pages.ControllerAway:
		n.Refresh = "/oauth2/result/x"
	case pages.Denied:
		n.Detail = "the provider answered access_denied: The person has refused."
	case pages.AccountMismatch:
		n.Detail = "the provider named account bob@example.com, and the connection belongs to alice@example.com"
	default:
		n.Detail = "the provider answered server_error: something went wrong"
	}
	return n
}

// picture writes the whole page as a picture.
func (b *tab) picture(path string) {
	b.t.Helper()
	content, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if content, err = smaller(content); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// smaller writes a picture with a palette of its most frequent colours. What is lost are shades at the edges of letters.
func smaller(content []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	bounds, uses := full.Bounds(), map[color.Color]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			uses[full.At(x, y)]++
		}
	}
	const most = 64
	palette := color.Palette(slices.SortedFunc(maps.Keys(uses), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(uses[b], uses[a]), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	}))
	palette = palette[:min(len(palette), most)]
	indexed, nearest := image.NewPaletted(bounds, palette), map[color.Color]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := full.At(x, y)
			index, known := nearest[c]
			if !known {
				index = uint8(palette.Index(c)) //nolint:gosec // below most
				nearest[c] = index
			}
			indexed.Pix[indexed.PixOffset(x, y)] = index
		}
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	err = encoder.Encode(&b, indexed)
	return b.Bytes(), err
}
