// SPDX-License-Identifier: Apache-2.0

// Package pages shows people what they are asked for and how it went: one consent page, and notices. The pages work without
// scripts and name nothing from elsewhere but logos. What others have written, such as names, scopes and messages of providers,
// is escaped and loses what would disguise it; see clean. All texts are in texts.go.
//
// The pages set no security headers. They need style-src 'self', img-src 'self' and the logos' origins (LogoOrigin), and
// form-action of FormAction and of where that redirects to, if it is answered by a redirect and not by a Departing page.
package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

//go:embed templates
var templateFiles embed.FS

// FieldToken is the name of the form field that carries Connect.FormToken.
const FieldToken = "form_token"

// Branding is what one deployment's pages have of their own. The zero value will do.
type Branding struct {
	// Title is the name that people know this site by; it stands on top of every page and in its title. Empty: the product's.
	Title string
	// LogoURL is a picture beside the title: absolute https, or http to this machine.
	LogoURL string
	// BasePath is the path of the gateway's external URL, such as "/oauth"; empty: it is served at the root.
	BasePath string
}

// Pages renders the pages. It is safe for concurrent use.
type Pages struct {
	branding         Branding
	basePath         string
	connect, notice  *template.Template
	texts            map[Kind]noticeText
	stylesheet, icon asset
}

// Connect is what the consent page shows. Empty members vanish from it.
type Connect struct {
	// Application and Provider are display names, LogoURL is the application's or the provider's. A logo that LogoOrigin refuses
	// is not shown.
	Application, Provider, LogoURL string
	// Connection to authorize.
	Connection types.NamespacedName
	// DisplayName of the connection, and the Owner that it belongs to; without one it is the namespace's.
	DisplayName, Owner string
	// Scopes that are asked for.
	Scopes []string
	// Reconnect says that the connection had a grant; Account is what the provider calls the account of it.
	Reconnect bool
	Account   string
	// LastFailure is the message of the last login that failed.
	LastFailure string
	// FormAction is where the form is sent to by POST, with FormToken in the field FieldToken: an absolute path or an http(s) URL.
	FormAction, FormToken string
	// ProviderHost is the host that the person is sent to.
	ProviderHost string
}

// Notice is what a notice shows. Empty members vanish from it.
type Notice struct {
	// Kind of the notice. An unknown one is told as ServerError.
	Kind Kind
	// Application and Provider are display names, LogoURL is the application's or the provider's. A logo that LogoOrigin refuses
	// is not shown.
	Application, Provider, LogoURL string
	// Connection that it is about; empty: nothing of it is told.
	Connection types.NamespacedName
	// Account is what the provider calls the account that the connection belongs to.
	Account string
	// Detail is what the status or the provider says.
	Detail string
	// RetryURL is the connect link: an absolute path or an http(s) URL. Others are not shown.
	RetryURL string
	// Refresh is the same kind of URL, where the outcome may be known later. A Waiting page goes there by itself RefreshAfter,
	// in whole seconds rounded up; on other pages it is a link.
	Refresh      string
	RefreshAfter time.Duration
	// Target is the provider's address that a Departing page goes to at once, by itself and by a link. It needs to be one that
	// CanDepart accepts; no other page leads there.
	Target string
}

// New makes the pages of a deployment. Errors are about the branding.
func New(branding Branding) (*Pages, error) {
	p := &Pages{branding: branding, basePath: strings.TrimSuffix(branding.BasePath, "/"), texts: map[Kind]noticeText{}}
	if branding.LogoURL != "" {
		if p.branding.LogoURL = logoURL(branding.LogoURL); p.branding.LogoURL == "" {
			return nil, fmt.Errorf("the logo %q must be an absolute https URL without user name", branding.LogoURL)
		}
	}
	if p.branding.Title = clean(branding.Title, maxTitle); p.branding.Title == "" {
		p.branding.Title = defaultTitle
	}
	segments := regexp.MustCompile(`^(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*$`)
	if !segments.MatchString(p.basePath) {
		return nil, fmt.Errorf("the base path %q must be empty or an absolute URL path", branding.BasePath)
	}
	for _, texts := range noticeTexts() {
		maps.Copy(p.texts, texts)
	}
	return p, p.load()
}

func (p *Pages) load() error {
	var err error
	if p.stylesheet, err = loadAsset("site", ".css"); err != nil {
		return err
	}
	if p.icon, err = loadAsset("icon", ".svg"); err != nil {
		return err
	}
	for page, target := range map[string]**template.Template{"connect.html": &p.connect, "notice.html": &p.notice} {
		*target, err = template.New("page").ParseFS(templateFiles, "templates/layout.html", "templates/"+page)
		if err != nil {
			return fmt.Errorf("parse a page: %w", err)
		}
	}
	return nil
}

// Connect writes the consent page. After an error nothing has been written, unless the connection broke.
func (p *Pages) Connect(w http.ResponseWriter, c Connect) error {
	if c.FormAction = link(c.FormAction); c.FormAction == "" {
		return errors.New("the consent page needs an address to send its form to")
	}
	return p.write(w, http.StatusOK, p.connect, p.connectView(c))
}

// Notice writes a notice, with the status code that fits its kind. After an error nothing has been written, unless the
// connection broke.
func (p *Pages) Notice(w http.ResponseWriter, n Notice) error {
	if _, known := p.texts[n.Kind]; !known {
		n.Kind = ServerError
	}
	return p.write(w, Status(n.Kind), p.notice, p.noticeView(n))
}

// write renders all of a page before it sends any of it.
func (p *Pages) write(w http.ResponseWriter, status int, page *template.Template, view any) error {
	var content bytes.Buffer
	if err := page.ExecuteTemplate(&content, "page", view); err != nil {
		return fmt.Errorf("render a page: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(content.Len()))
	w.WriteHeader(status)
	if _, err := w.Write(content.Bytes()); err != nil {
		return fmt.Errorf("send a page: %w", err)
	}
	return nil
}

// command is what the operator of the cluster runs to see a connection; empty: it has no name that a shell could be given.
func command(connection types.NamespacedName) string {
	if len(validation.IsDNS1123Label(connection.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(connection.Name)) > 0 {
		return ""
	}
	return "kubectl describe oauthconnection " + connection.Name + " -n " + connection.Namespace
}
