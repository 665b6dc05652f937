// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/servers/harness"
)

// logged looks through all that the processes have said, at their most talkative level, when they have ended.
func logged(t *testing.T, w *world) {
	logs, err := filepath.Glob(filepath.Join(w.logs, "*.log"))
	if err != nil || len(logs) != replicas+2 {
		t.Fatalf("%d logs, %v", len(logs), err)
	}
	secrets := w.secrets()
	audited := 0
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text, name := string(content), filepath.Base(path)
		for i, secret := range secrets {
			if len(secret) < 10 {
				t.Errorf("secret %d of %d characters may be a word", i, len(secret))
			} else if form := shown(text, secret); form != "" {
				t.Errorf("%s shows secret %d (%.8s…) %s", name, i, secret, form)
			}
		}
		if strings.Contains(text, "panic") || strings.Contains(text, "DATA RACE") {
			t.Errorf("%s tells of a panic", name)
		}
		if strings.HasPrefix(name, commandAPI) {
			audited += auditLines(t, name, text)
		}
	}
	if audited == 0 && flag.Lookup("test.run").Value.String() == "" {
		t.Error("nothing was audited")
	}
	if shown(`{"token": "`+canary+`"}`, canary) == "" {
		t.Error("the search does not find what is there")
	}
}

// secrets are all that were issued or hidden while the tests ran.
func (w *world) secrets() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := append([]string{clientSecret, resourceSecret}, w.hidden...)
	for _, server := range w.issuers {
		all = append(all, server.Issued()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shown returns how a text shows a secret: in the clear or in one of the forms in which programs write them; empty: it does not.
func shown(text, secret string) string {
	forms := map[string]string{
		"in the clear": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "escaped": url.QueryEscape(secret),
	}
	if len(secret) > 32 { // Half of a shorter one may be a word.
		forms["its first half"] = secret[:len(secret)/2]
	}
	for form, written := range forms {
		if strings.Contains(text, written) {
			return form
		}
	}
	return ""
}

// auditLine is a line of the audit.
type auditLine struct {
	Logger, Msg string

	User, Application, Connection, Method, Host, Action, Outcome, Error string

	Status   int
	Duration *float64
}

// auditLines checks the audit's lines: who, through what, how, where to, and what came of it.
func auditLines(t *testing.T, name, text string) (count int) {
	t.Helper()
	for line := range strings.Lines(text) {
		var said auditLine
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Errorf("%s: a line is no JSON: %s", name, line)
			continue
		}
		if said.Logger != "audit" {
			continue
		}
		count++
		switch {
		case said.User == "" || said.Duration == nil:
			t.Errorf("%s: nobody or no duration: %s", name, line)
		case said.Msg == "change" && (said.Action == "" || said.Outcome == "" || said.Application == ""):
			t.Errorf("%s: a change without action, outcome or application: %s", name, line)
		case said.Msg == "request" && (said.Method == "" || said.Status == 0):
			t.Errorf("%s: a request without method or status: %s", name, line)
		case said.Msg == "request" && said.Error == "" && (said.Connection == "" || !strings.HasPrefix(said.Host, "127.0.0.1:")):
			t.Errorf("%s: a request that was sent, without connection or host: %s", name, line)
		}
		if strings.Contains(line, harness.DefaultRedirectURI) || strings.Contains(line, "invoices") || strings.Contains(line, "customer=") {
			t.Errorf("%s: a path or a query: %s", name, line)
		}
	}
	return count
}
