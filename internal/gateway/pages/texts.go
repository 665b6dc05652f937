// SPDX-License-Identifier: Apache-2.0

package pages

// All that people read is in this file. The reader is tired, did not make the cluster, and may never have heard of it: a title
// says what happened, in plain words; then what that means, whether anything was stored, what to do now, and whom to ask.
//
// In a text, {provider}, {host}, {namespace}, {programs} and {account} stand for what the page is about, with a wording of their
// own where that is not known ({Provider} and {Programs} begin a sentence); `backquotes` make code.

// defaultTitle names the product where the deployment does not.
const defaultTitle = "oauth-operator"

// Wordings for what is not known.
const (
	someProvider  = "the provider"
	someHost      = "the provider's own site"
	someNamespace = "the connection's namespace"
	oneNamespace  = "namespace "
	somePrograms  = "programs in the cluster"
	programsIn    = "programs in namespace "
	someAccount   = "the account that was used before"
)

// words are labels and headings that more than one page has.
type words struct {
	Application, Connection, Namespace, Owner, SignInAt, Account string
	// Next is the heading of what to do.
	Next string
	// Help is the heading of what the operator of the cluster needs, HelpIntro its first sentence.
	Help, HelpIntro string
	// Detail is the heading of what the provider or the operator has reported.
	Detail string
	// TryAgain and LookAgain are links. NoLink is how to try again where a page has no link for it.
	TryAgain, LookAgain, NoLink string
}

func commonWords() words {
	return words{
		Application: "Application",
		Connection:  "Connection",
		Namespace:   "Namespace",
		Owner:       "Belongs to",
		SignInAt:    "You sign in at",
		Account:     "Account",
		Next:        "What to do now",
		Help:        "If you need help",
		HelpIntro:   "Ask the person who sent you the link, or whoever runs this cluster. They find out more with:",
		Detail:      "Reported, word for word",
		TryAgain:    "Try again",
		LookAgain:   "Look again",
		NoLink:      "To try again, open the link that you were given. If it no longer works, ask the person who sent it for a new one.",
	}
}

// departure is the link of the page that leaves for the provider.
const departure = "Continue to {host}"

// connectText is the consent page.
type connectText struct {
	Title, Lead, SharedOwner         string
	WarningTitle, Warning            string
	LastFailure                      string
	SameAccountTitle                 string
	SameAccount, SameAccountNamed    string
	Scopes, NoScopes                 string
	Duration, DurationText           string
	Button, AfterButton, HowToRefuse string
}

func connectWords(reconnect bool) connectText {
	text := connectText{
		Title:            "Connect {provider}",
		Lead:             "{Programs} ask for access to your account at {provider}.",
		SharedOwner:      "Everybody in {namespace}",
		WarningTitle:     "Go on only if you expected this link",
		Warning:          "Whoever works in {namespace} will be able to use your account, as described on this page. If you are not sure that they should, close the page and ask the person who sent you the link.",
		LastFailure:      "The last attempt did not work",
		SameAccountTitle: "Sign in with the same account as before",
		SameAccount:      "Another account is refused, and nothing changes then.",
		SameAccountNamed: "{Provider} calls it {account}. Another account is refused, and nothing changes then.",
		Scopes:           "What is asked for, in the words of {provider}",
		NoScopes:         "The request names no permissions. {Provider} decides what access covers; read its page before you agree.",
		Duration:         "For how long",
		DurationText:     "Access continues until the connection is deleted, or until you end it in your account at {provider}.",
		Button:           "Continue to {provider}",
		AfterButton:      "You sign in and agree at {host}. Before you do, nothing is connected.",
		HowToRefuse:      "To decline, close this page.",
	}
	if reconnect {
		text.Title = "Reconnect {provider}"
		text.Lead = "The access that {programs} had to an account at {provider} has ended. Sign in once more to restore it."
		text.AfterButton = "You sign in and agree at {host}. Before you do, nothing changes."
	}
	return text
}

// noticeText is a page that tells something.
type noticeText struct {
	// Tone chooses colour and sign; the words say all by themselves.
	Tone tone
	// Title, What happened, and what was Stored.
	Title, What, Stored string
	// Next is what to do, one thing each.
	Next []string
	// Retry says that trying again may help; Help shows how the operator of the cluster finds out more.
	Retry, Help bool
}

func noticeTexts() []map[Kind]noticeText {
	return []map[Kind]noticeText{outcomeTexts(), refusalTexts(), stateTexts(), requestTexts()}
}

func outcomeTexts() map[Kind]noticeText {
	return map[Kind]noticeText{
		Departing: {
			Tone:   busy,
			Title:  "Taking you to {provider}",
			What:   "You sign in and agree at {host}. Look at the address before you do.",
			Stored: "Nothing has been stored so far.",
			Next:   []string{"This page goes on by itself. If it does not, use the link."},
		},
		Success: {
			Tone:   good,
			Title:  "{Provider} is connected",
			What:   "{Programs} can now use the access that you have given.",
			Stored: "Access is renewed by itself. It ends when the connection is deleted, or when you end it in your account at {provider}.",
			Next:   []string{"You are done. Close this page."},
		},
		Unpublished: {
			Tone:   attention,
			Title:  "{Provider} is connected, but not in use yet",
			What:   "The access that you have given was obtained. {Programs} cannot use it yet, for another reason.",
			Stored: "Access is kept and renewed by itself. You do not have to sign in again.",
			Next:   []string{"Close this page, and tell the person who sent you the link what it says."},
			Help:   true,
		},
		Waiting: {
			Tone:   busy,
			Title:  "One moment, please",
			What:   "{Provider} has answered, and the connection is being completed. That mostly takes a second or two.",
			Stored: "Your answer has been received. It is not lost if you close the page.",
			Next:   []string{"Keep this page open: it goes on by itself and tells you how it went."},
		},
		ControllerAway: {
			Tone:   attention,
			Title:  "This takes longer than it should",
			What:   "Your answer from {provider} has been received, but the connection was not completed in time. Either {provider} or the program that completes connections does not respond.",
			Stored: "The answer is kept, and used as soon as they respond. After about ten minutes it is too old, and you will have to sign in again.",
			Next: []string{
				"Look again in a minute or two.",
				"If this page comes back, tell whoever runs this cluster: the connection, or the log of the oauth-operator controller, says what holds it up.",
			},
			Help: true,
		},
		Superseded: {
			Tone:   info,
			Title:  "Somebody has signed in after you",
			What:   "Another sign-in for the same connection ended after yours; perhaps it was you, in another tab. How yours ended can no longer be told.",
			Stored: "The connection keeps the access that was given last.",
			Next: []string{
				"If you have another tab with this connection, look there.",
				"Otherwise ask the person who sent you the link whether the connection works.",
			},
			Help: true,
		},
	}
}

func refusalTexts() map[Kind]noticeText {
	return map[Kind]noticeText{
		Denied: {
			Tone:   attention,
			Title:  "Access was declined",
			What:   "{Provider} says that access was declined there.",
			Stored: "Nothing was stored, and what there was before has not changed.",
			Next: []string{
				"If you meant to decline, close this page.",
				"If not, try again and agree at {provider}. Where it does not let you, its administrator may have to allow this application first.",
			},
			Retry: true,
		},
		Failed: {
			Tone:   bad,
			Title:  "Connecting did not work",
			What:   "You came back from {provider}, but no access could be obtained with its answer.",
			Stored: "Nothing was stored, and what there was before has not changed.",
			Next: []string{
				"Try again once: a fault at {provider} may have passed.",
				"If it fails again, tell the person who sent you the link what this page says.",
			},
			Retry: true, Help: true,
		},
		AccountMismatch: {
			Tone:   attention,
			Title:  "That was another account",
			What:   "This connection belongs to one account at {provider}, and you signed in with a different one.",
			Stored: "The access of the different account was not kept, and what there was before has not changed.",
			Next: []string{
				"Try again, and sign in with {account}. If {provider} does not ask which account to use, sign out there first.",
				"To use the different account for good, ask the person who sent you the link for a new connection.",
			},
			Retry: true, Help: true,
		},
		Expired: {
			Tone:   attention,
			Title:  "The sign-in took too long",
			What:   "More than ten minutes passed between leaving for {provider} and the end of the sign-in. For your safety, the answer was not used.",
			Stored: "Nothing was stored, and what there was before has not changed.",
			Next:   []string{"Try again. You can take up to ten minutes."},
			Retry:  true,
		},
		Replayed: {
			Tone:   attention,
			Title:  "This answer was used before",
			What:   "An answer from {provider} counts once, and this one came a second time. That happens when a page is reloaded or opened again from the history.",
			Stored: "Nothing was stored this time. What the first time brought has not changed.",
			Next: []string{
				"If you have seen that the connection works, close this page.",
				"If not, try again.",
				"If you have neither reloaded nor reopened a page, tell whoever runs this cluster: somebody may have copied the answer.",
			},
			Retry: true, Help: true,
		},
	}
}

func stateTexts() map[Kind]noticeText {
	return map[Kind]noticeText{
		WrongBrowser: {
			Tone:   attention,
			Title:  "The sign-in began in another browser",
			What:   "Either it began on another device, in another browser or in a private window, or this browser keeps no cookies for this site. Somebody else may have begun it, so the answer was not used.",
			Stored: "Nothing was stored, and what there was before has not changed.",
			Next: []string{
				"Try again in this browser, and stay in it until the end. Cookies have to be allowed for this site.",
				"If you did not begin a sign-in at all, close this page and tell whoever runs this cluster.",
			},
			Retry: true, Help: true,
		},
		Changed: {
			Tone:   attention,
			Title:  "The connection has been changed",
			What:   "Since you opened the link, somebody has changed the settings of this connection. What you agreed to may not be what it asks for now, so it was not used.",
			Stored: "Nothing was stored, and what there was before has not changed.",
			Next:   []string{"Try again, and look at what it asks for now."},
			Retry:  true, Help: true,
		},
		Gone: {
			Tone:   attention,
			Title:  "This connection no longer exists",
			What:   "Somebody has deleted it.",
			Stored: "Nothing was stored.",
			Next: []string{
				"If you knew that, close this page.",
				"If not, ask the person who sent you the link.",
				"If you have already agreed at {provider}, you can end the access in your account there. Nobody here uses it.",
			},
		},
		NotNeeded: {
			Tone:   info,
			Title:  "There is nothing to do",
			What:   "This connection does not wait for anybody to sign in. Perhaps somebody has done it already.",
			Stored: "Nothing was changed.",
			Next:   []string{"Close this page. If you were asked to sign in, tell the person who sent you the link."},
			Help:   true,
		},
		Suspended: {
			Tone:   info,
			Title:  "This connection is paused",
			What:   "Somebody has paused it. Until it is resumed, nobody can sign in.",
			Stored: "Nothing was stored, and what there was before has not changed.",
			Next:   []string{"Ask the person who sent you the link to resume the connection, and then open the link again."},
			Help:   true,
		},
		NotReady: {
			Tone:   attention,
			Title:  "This connection is not ready",
			What:   "Its settings are not complete, or {provider} cannot be used with them at present.",
			Stored: "Nothing was changed.",
			Next: []string{
				"Try again in a few minutes.",
				"If it stays like this, tell the person who sent you the link what this page says.",
			},
			Help: true,
		},
	}
}

func requestTexts() map[Kind]noticeText {
	return map[Kind]noticeText{
		LinkInvalid: {
			Tone: attention, Title: "This link does not work",
			What:   "It may have been used already, replaced by a newer one, or cut off when it was copied.",
			Stored: "Nothing was changed.",
			Next:   []string{"Ask the person who sent you the link for the present one. Whoever runs the cluster finds it in the connection, at `status.authorizationURL`."},
		},
		LinkExpired: {
			Tone: attention, Title: "This link has expired",
			What:   "For your safety, a link works for one day.",
			Stored: "Nothing was changed.",
			Next:   []string{"Ask the person who sent you the link for the present one. Whoever runs the cluster finds it in the connection, at `status.authorizationURL`."},
			Help:   true,
		},
		FormExpired: {
			Tone: attention, Title: "Please open the page again",
			What:   "The page with the button was open for more than an hour, or this browser keeps no cookies for this site.",
			Stored: "Nothing was changed.",
			Next:   []string{"Open the link that you were given once more. Cookies have to be allowed for this site."},
		},
		TooManyRequests: {
			Tone: attention, Title: "Please wait a moment",
			What:   "Many requests have come in a short time, from your network or about this connection.",
			Stored: "Nothing was changed.",
			Next:   []string{"Wait a minute, and then try again."},
		},
		BadRequest: {
			Tone: attention, Title: "This address is not complete",
			What:   "Something in it is missing or not as it should be. Often an address was cut off when it was copied.",
			Stored: "Nothing was changed.",
			Next:   []string{"Open the link that you were given once more."},
		},
		NotFound: {
			Tone: attention, Title: "There is no such page",
			What: "This address leads nowhere.",
			Next: []string{"Open the link that you were given once more, and check that all of it is there."},
		},
		MethodNotAllowed: {
			Tone: attention, Title: "This address cannot be used like that",
			What:   "It exists, but it is meant for something else.",
			Stored: "Nothing was changed.",
			Next:   []string{"Open the link that you were given once more."},
		},
		ServerError: {
			Tone: bad, Title: "Something went wrong here",
			What:   "That is a fault of this site, not yours.",
			Stored: "If you have just come back from {provider}, take it that nothing was stored.",
			Next: []string{
				"Try again in a minute.",
				"If it happens again, tell whoever runs this cluster when it happened: the log of the oauth-operator gateway says more.",
			},
			Help: true,
		},
	}
}
