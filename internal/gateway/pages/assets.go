// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// PathAssets begins the paths of Assets, below the base path.
const PathAssets = "/assets/"

// asset is a file that the pages link.
type asset struct {
	// name is what the file is asked for by. It changes with the content.
	name string
	// stem and extension are what stays of the name.
	stem, extension string
	content         []byte
}

func loadAsset(stem, extension string) (asset, error) {
	content, err := assetFiles.ReadFile("assets/" + stem + extension)
	if err != nil {
		return asset{}, fmt.Errorf("read an asset: %w", err)
	}
	const shown = 8
	sum := sha256.Sum256(content)
	name := stem + "-" + hex.EncodeToString(sum[:shown]) + extension
	return asset{name: name, stem: stem, extension: extension, content: content}, nil
}

// Cache-Control of an asset: by its own name it never changes.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-store"
)

// Assets serves what the pages link, at PathAssets, with or without the base path before it. Names carry a hash of the content,
// so browsers never ask twice. While replicas of two versions serve, a page of one may ask the other for its stylesheet: that
// gets the one there is, and browsers do not keep it.
func (p *Pages) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		name, found := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, p.basePath), PathAssets)
		if found {
			for _, a := range []asset{p.stylesheet, p.icon} {
				if a.serves(name) {
					a.serve(w, r, name)
					return
				}
			}
		}
		http.NotFound(w, r)
	})
}

// serves tells whether a name is the asset's, in this version or another.
func (a asset) serves(name string) bool {
	middle, ok := strings.CutPrefix(strings.TrimSuffix(name, a.extension), a.stem+"-")
	return ok && path.Ext(name) == a.extension && len(a.stem)+1+len(middle)+len(a.extension) == len(a.name) &&
		!strings.ContainsFunc(middle, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

func (a asset) serve(w http.ResponseWriter, r *http.Request, name string) {
	header := w.Header()
	header.Set("Cache-Control", cacheForever)
	if name != a.name {
		header.Set("Cache-Control", cacheNever)
	}
	header.Set("Content-Type", map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}[a.extension])
	header.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.content))
}
