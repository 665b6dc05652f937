// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"html/template"
	"net/http"
	"slices"
)

// Question is what the page of an authorization endpoint asks a person.
type Question struct {
	// Accounts to choose from; the first one is chosen already.
	Accounts []string
	// Client that wants access, and the scopes that it asks for.
	Client string
	Scopes []string
}

// Answer is what the person has said.
type Answer struct {
	Account  string
	Approved bool
}

// The names of the page's form: a person sends an account and one of two decisions.
const (
	FieldAccount  = "account"
	FieldDecision = "decision"

	DecisionApprove = "approve"
	DecisionDeny    = "deny"
)

// Ask shows the question as a page, with a form that comes back to the same address. ok says that the request is that form,
// with an answer; else the request has been answered. r.Form must have been parsed.
func (q Question) Ask(w http.ResponseWriter, r *http.Request) (answer Answer, ok bool) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The browser has gone when this fails.
		_ = questionPage.Execute(w, q)
		return Answer{}, false
	}
	answer.Account = r.PostForm.Get(FieldAccount)
	decision := r.PostForm.Get(FieldDecision)
	answer.Approved = decision == DecisionApprove
	if !slices.Contains(q.Accounts, answer.Account) || (!answer.Approved && decision != DecisionDeny) {
		http.Error(w, "choose an account, and approve or deny", http.StatusBadRequest)
		return Answer{}, false
	}
	return answer, true
}

//nolint:gochecknoglobals // a template is parsed once
var questionPage = template.Must(template.New("question").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The provider of the tests</title>
<style>
:root { color-scheme: light dark }
body { font: 1.05rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 12vh auto; padding: 0 1rem }
fieldset { border: 1px solid GrayText; border-radius: .4rem; margin: 1rem 0 }
label { display: block; padding: .3rem 0 }
button { font: inherit; padding: .45rem 1.4rem; margin-right: .5rem }
</style>
</head>
<body>
<main>
<h1>The provider of the tests</h1>
<p>Shall <strong>{{.Client}}</strong> have access to your account?</p>
<ul>{{range .Scopes}}<li><code>{{.}}</code></li>{{end}}</ul>
<form method="post">
<fieldset>
<legend>You are</legend>
{{range $i, $account := .Accounts}}<label><input type="radio" name="account" value="{{$account}}"{{if not $i}} checked{{end}}> {{$account}}</label>
{{end}}</fieldset>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>
</main>
</body>
</html>
`))
