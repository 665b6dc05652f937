// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/url"
	"strconv"
	"time"
)

// tone of a notice: its colour and its sign.
type tone string

// Tones.
const (
	good      tone = "good"
	busy      tone = "busy"
	info      tone = "info"
	attention tone = "attention"
	bad       tone = "bad"
)

// role announces a notice to those who do not see it: faults at once, the rest when there is time.
func (t tone) role() string {
	if t == bad || t == attention {
		return "alert"
	}
	return "status"
}

// frame is what every page has.
type frame struct {
	// Title of the page, and Site: whose page it is.
	Title, Site string
	// SiteLogo is a picture beside Site; Ours tells that it is the product's own sign.
	SiteLogo         string
	Stylesheet, Icon string
	// RefreshURL is where the page goes by itself after RefreshAfter seconds; empty: it stays.
	RefreshURL, RefreshAfter string
	Words                    words
	Provider                 badge
}

// badge is whom a page is about: a name, with a logo or else an initial.
type badge struct {
	Name, Logo, Initial string
	// Host that the person is sent to.
	Host string
}

// fact is a row of a list.
type fact struct {
	Label string
	Value phrase
}

// facts without values are none.
func facts(all ...fact) []fact {
	var known []fact
	for _, f := range all {
		if f.Value.String() != "" {
			known = append(known, f)
		}
	}
	return known
}

// action is a link that looks like a button; a Second one can be left alone.
type action struct {
	URL, Text string
	Second    bool
}

type connectView struct {
	frame
	Heading, Lead                    phrase
	WarningTitle, Warning            phrase
	LastFailureTitle, LastFailure    string
	SameAccountTitle, SameAccount    phrase
	Facts                            []fact
	ScopesTitle, NoScopes            phrase
	Scopes                           []string
	DurationTitle, Duration          phrase
	FormAction, FieldName, FormToken string
	Button, AfterButton, HowToRefuse phrase
}

type noticeView struct {
	frame
	Tone                  tone
	Role                  string
	Heading, What, Stored phrase
	Next                  []phrase
	Actions               []action
	Facts                 []fact
	Command, Detail       string
}

func (p *Pages) frame(title phrase, provider badge) frame {
	f := frame{
		Title: title.String(), Site: p.branding.Title, SiteLogo: p.branding.LogoURL, Words: commonWords(), Provider: provider,
		Stylesheet: p.basePath + PathAssets + p.stylesheet.name, Icon: p.basePath + PathAssets + p.icon.name,
	}
	if f.SiteLogo == "" && f.Site == defaultTitle {
		f.SiteLogo = f.Icon
	}
	return f
}

func (p *Pages) connectView(c Connect) connectView {
	text := connectWords(c.Reconnect)
	namespace, account := clean(c.Connection.Namespace, maxName), clean(c.Account, maxName)
	host, application := clean(c.ProviderHost, maxName), clean(c.Application, maxName)
	provider := firstOf(clean(c.Provider, maxName), host, application)
	v := newValues(provider, host, namespace, account)
	view := connectView{
		frame:   p.frame(v.phrase(text.Title), badge{Name: provider, Logo: logoURL(c.LogoURL), Initial: initial(provider), Host: host}),
		Heading: v.phrase(text.Title), Lead: v.phrase(text.Lead),
		WarningTitle: v.phrase(text.WarningTitle), Warning: v.phrase(text.Warning),
		LastFailureTitle: text.LastFailure, LastFailure: clean(c.LastFailure, maxDetail),
		ScopesTitle: v.phrase(text.Scopes), NoScopes: v.phrase(text.NoScopes),
		DurationTitle: v.phrase(text.Duration), Duration: v.phrase(text.DurationText),
		FormAction: c.FormAction, FieldName: FieldToken, FormToken: c.FormToken,
		Button: v.phrase(text.Button), AfterButton: v.phrase(text.AfterButton), HowToRefuse: v.phrase(text.HowToRefuse),
	}
	if c.Reconnect {
		view.SameAccountTitle, view.SameAccount = v.phrase(text.SameAccountTitle), v.phrase(text.SameAccount)
		if account != "" {
			view.SameAccount = v.phrase(text.SameAccountNamed)
		}
	}
	for _, scope := range c.Scopes {
		if shown := clean(scope, maxName); shown != "" {
			view.Scopes = append(view.Scopes, shown)
		}
	}
	view.Facts = connectFacts(view.Words, c, v.phrase(text.SharedOwner))
	return view
}

// connectFacts lists what is to be connected. The provider's host is among them although it stands on top: it is what a person
// compares with the address that the browser shows next.
func connectFacts(w words, c Connect, shared phrase) []fact {
	connection := code(clean(c.Connection.Name, maxName), "")
	if display := clean(c.DisplayName, maxName); display != "" {
		connection = append(append(name(display, ""), run{Text: " "}), connection...)
	}
	owner := name(clean(c.Owner, maxName), "")
	if c.Owner == "" && c.Connection.Namespace != "" {
		owner = shared
	}
	return facts(
		fact{w.Application, name(clean(c.Application, maxName), "")},
		fact{w.Connection, connection},
		fact{w.Namespace, code(clean(c.Connection.Namespace, maxName), "")},
		fact{w.Owner, owner},
		fact{w.SignInAt, code(clean(c.ProviderHost, maxName), "")},
	)
}

func (p *Pages) noticeView(n Notice) noticeView {
	text := p.texts[n.Kind]
	namespace, account, application := clean(n.Connection.Namespace, maxName), clean(n.Account, maxName), clean(n.Application, maxName)
	provider := firstOf(clean(n.Provider, maxName), application)
	v := newValues(provider, host(n), namespace, account)
	view := noticeView{
		frame: p.frame(v.phrase(text.Title), badge{Name: provider, Logo: logoURL(n.LogoURL), Initial: initial(provider)}),
		Tone:  text.Tone, Role: text.Tone.role(),
		Heading: v.phrase(text.Title), What: v.phrase(text.What), Stored: v.phrase(text.Stored),
		Detail: clean(n.Detail, maxDetail),
	}
	for _, next := range text.Next {
		view.Next = append(view.Next, v.phrase(next))
	}
	w := view.Words
	if target := departs(n); target != "" {
		view.Actions = append(view.Actions, action{URL: target, Text: v.phrase(departure).String()})
		view.RefreshURL, view.RefreshAfter = target, wholeSeconds(0)
	}
	if refresh := link(n.Refresh); refresh != "" {
		view.Actions = append(view.Actions, action{URL: refresh, Text: w.LookAgain, Second: n.Kind == Waiting})
		if n.Kind == Waiting {
			view.RefreshURL, view.RefreshAfter = refresh, wholeSeconds(n.RefreshAfter)
		}
	}
	if retry := link(n.RetryURL); retry != "" {
		view.Actions = append(view.Actions, action{URL: retry, Text: w.TryAgain, Second: len(view.Actions) > 0})
	} else if text.Retry {
		view.Next = append(view.Next, v.phrase(w.NoLink))
	}
	if text.Help {
		view.Command = command(n.Connection)
	}
	view.Facts = facts(
		fact{w.Application, name(application, "")},
		fact{w.Connection, code(clean(n.Connection.Name, maxName), "")},
		fact{w.Namespace, code(namespace, "")},
		fact{w.Account, name(account, "")},
	)
	return view
}

// departs is where a page leaves for; empty: it does not.
func departs(n Notice) string {
	if n.Kind != Departing || !CanDepart(n.Target) {
		return ""
	}
	return n.Target
}

// host that a page leaves for; empty: it does not.
func host(n Notice) string {
	target, err := url.Parse(departs(n))
	if err != nil {
		return ""
	}
	return clean(target.Host, maxName)
}

// newValues are what placeholders of texts stand for. All were cleaned.
func newValues(provider, host, namespace, account string) values {
	in, programs := phrase{{Text: someNamespace}}, phrase{{Text: somePrograms}}
	if namespace != "" {
		in = phrase{{Text: oneNamespace}, {Text: namespace, Code: true}}
		programs = phrase{{Text: programsIn}, {Text: namespace, Code: true}}
	}
	return values{
		"provider":  name(provider, someProvider),
		"host":      code(host, someHost),
		"namespace": in,
		"programs":  programs,
		"account":   name(account, someAccount),
	}
}

// firstOf the texts that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((max(d, 0)+time.Second-1)/time.Second), 10)
}
