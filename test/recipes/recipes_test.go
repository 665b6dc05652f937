// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/fluxcd/pkg/git"
	"github.com/jdx/go-netrc"
	"github.com/joho/godotenv"
	prometheus "github.com/prometheus/common/config"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/internal/publish/render"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// tokens are those that formats find hard to hold: all characters of RFC 6750 section 2.1, and those of RFC 6749 appendix
// A.12, which is all of printable ASCII.
func tokens() map[string]string {
	printable := ""
	for c := byte('!'); c <= '~'; c++ {
		printable += string(c)
	}
	return map[string]string{"bearer": "AZaz09-._~+/abc==", "printable": printable}
}

// consumers say whether the one that a recipe is for reads the token.
func consumers() map[string]func(t *testing.T, r Recipe, out render.Output, token string) {
	return map[string]func(t *testing.T, r Recipe, out render.Output, token string){
		"argocd-repository":  argoCD,
		"docker-pull-secret": docker,
		"env-file":           environment,
		"envoy-sds":          envoy,
		"flux-git":           flux,
		"netrc":              netRC,
		"prometheus":         scraper,
	}
}

// TestRecipes gives each rendered Secret to the parser of the program that it is for.
func TestRecipes(t *testing.T) {
	recipes, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	all := consumers()
	for _, recipe := range recipes {
		read, found := all[recipe.Name]
		if !found {
			t.Errorf("nobody reads recipe %s", recipe.Name)
			continue
		}
		delete(all, recipe.Name)
		for kind, token := range tokens() {
			t.Run(recipe.Name+"/"+kind, func(t *testing.T) {
				out, err := render.New().Render(recipe.Connection.Spec.Secret.Template, render.Values{
					AccessToken: sensitive.New(token), TokenType: "bearer", Scopes: []string{"api:read"},
					ExpiresAt:   time.Date(2026, 8, 1, 12, 30, 15, 0, time.UTC),
					Connection:  render.Connection{Namespace: recipe.Connection.Namespace, Name: recipe.Connection.Name},
					Application: types.NamespacedName{Namespace: "samples-platform", Name: "crm"},
					SecretName:  recipe.Connection.TokenSecretName(),
				})
				if err != nil {
					t.Fatal(err)
				}
				read(t, recipe, out, token)
			})
		}
	}
	for name := range all {
		t.Errorf("there is no recipe %s", name)
	}
}

// TestRecipesAreDocumented : docs/templates.md names each file.
func TestRecipesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range consumers() {
		if !strings.Contains(string(page), "(../"+directory+"/"+name+".yaml)") {
			t.Errorf("docs/templates.md has no link to %s.yaml", name)
		}
	}
}

func docker(t *testing.T, r Recipe, out render.Output, token string) {
	if r.Connection.Spec.Secret.Type != "kubernetes.io/dockerconfigjson" {
		t.Errorf("the type is %q", r.Connection.Spec.Secret.Type)
	}
	file, err := config.LoadFromReader(strings.NewReader(string(out.Data[".dockerconfigjson"])))
	if err != nil {
		t.Fatal(err)
	}
	auth := file.AuthConfigs["registry.example.com"]
	if auth.Username != "oauth2accesstoken" || auth.Password != token {
		t.Errorf("docker reads user %q and password %q", auth.Username, auth.Password)
	}
}

func flux(t *testing.T, r Recipe, out render.Output, token string) {
	snippet := struct {
		Spec struct {
			URL       string
			SecretRef struct{ Name string }
		}
	}{}
	if err := yaml.UnmarshalStrict([]byte(r.Snippet("spec:")), &snippet); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(snippet.Spec.URL)
	if err != nil {
		t.Fatal(err)
	}
	options, err := git.NewAuthOptions(*address, out.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := options.Validate(); err != nil {
		t.Error(err)
	}
	if options.Username != "oauth2" || options.Password != token || snippet.Spec.SecretRef.Name != r.Connection.TokenSecretName() {
		t.Errorf("Flux reads user %q and password %q of Secret %q", options.Username, options.Password, snippet.Spec.SecretRef.Name)
	}
}

// argoCD compares with what Argo CD documents: its own code cannot be had as a library.
func argoCD(t *testing.T, r Recipe, out render.Output, token string) {
	if r.Connection.Namespace != "argocd" || out.Labels["argocd.argoproj.io/secret-type"] != "repository" {
		t.Errorf("namespace %q, labels %q", r.Connection.Namespace, out.Labels)
	}
	want := map[string]string{"type": "git", "url": "https://git.example.com/team/app.git", "username": "oauth2", "password": token}
	for key, value := range want {
		if string(out.Data[key]) != value {
			t.Errorf("%s is %q, want %q", key, out.Data[key], value)
		}
	}
	if len(out.Data) != len(want) {
		t.Errorf("there are %d keys", len(out.Data))
	}
}

// decodeProto reads YAML as Envoy does, and refuses what its API does not have.
func decodeProto(t *testing.T, text []byte, into interface {
	proto.Message
	ValidateAll() error
},
) {
	t.Helper()
	document, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(document, into); err != nil {
		t.Fatal(err)
	}
	if err := into.ValidateAll(); err != nil {
		t.Fatal(err)
	}
}

func envoy(t *testing.T, r Recipe, out render.Output, token string) {
	response := &discoveryv3.DiscoveryResponse{}
	decodeProto(t, out.Data["sds.yaml"], response)
	secret := &tlsv3.Secret{}
	if len(response.GetResources()) != 1 {
		t.Fatalf("there are %d resources", len(response.GetResources()))
	}
	if err := response.GetResources()[0].UnmarshalTo(secret); err != nil {
		t.Fatal(err)
	}
	if got := secret.GetGenericSecret().GetSecret().GetInlineString(); got != "Bearer "+token {
		t.Errorf("Envoy reads %q", got)
	}

	var filters struct {
		Filters []struct {
			Name   string `json:"name"`
			Config any    `json:"typed_config"`
		} `json:"http_filters"`
	}
	if err := yaml.UnmarshalStrict([]byte(r.Snippet("http_filters:")), &filters); err != nil || len(filters.Filters) != 1 {
		t.Fatalf("%v; %d filters", err, len(filters.Filters))
	}
	settings := filters.Filters[0].Config.(map[string]any) //nolint:errcheck // a test may panic
	if kind := settings["@type"]; kind != "type.googleapis.com/"+string((&injectorv3.CredentialInjector{}).ProtoReflect().Descriptor().FullName()) {
		t.Errorf("the filter's type is %v", kind)
	}
	delete(settings, "@type")
	text, err := yaml.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	injector, generic := &injectorv3.CredentialInjector{}, &genericv3.Generic{}
	decodeProto(t, text, injector)
	if err := injector.GetCredential().GetTypedConfig().UnmarshalTo(generic); err != nil {
		t.Fatal(err)
	}
	source := generic.GetCredential().GetSdsConfig().GetPathConfigSource()
	if generic.GetCredential().GetName() != secret.GetName() || filepath.Base(source.GetPath()) != "sds.yaml" ||
		filepath.Dir(source.GetPath()) != source.GetWatchedDirectory().GetPath() {
		t.Errorf("the filter asks for %q in %q", generic.GetCredential().GetName(), source)
	}
}

// netRC asks a parser, and git with the library that curl is made of.
func netRC(t *testing.T, _ Recipe, out render.Output, token string) {
	home := t.TempDir()
	file := filepath.Join(home, ".netrc")
	if err := os.WriteFile(file, out.Data[".netrc"], 0o600); err != nil {
		t.Fatal(err)
	}
	parsed, err := netrc.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	machine := parsed.Machine("git.example.com")
	if machine == nil || machine.Get("login") != "oauth2" {
		t.Fatalf("there is no machine, or another user: %v", machine)
	}
	if strings.ContainsAny(token, "\"\\#") {
		return // The format has no agreed way to write these.
	}
	if machine.Get("password") != token {
		t.Errorf("the password is %q", machine.Get("password"))
	}

	user, password := "", ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	local := strings.ReplaceAll(string(out.Data[".netrc"]), "git.example.com", "127.0.0.1")
	if err := os.WriteFile(file, []byte(local), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "git", "ls-remote", server.URL+"/team/app.git")
	command.Env = append(os.Environ(), "HOME="+home, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "NO_PROXY=127.0.0.1")
	answer, err := command.CombinedOutput()
	if user != "oauth2" || password != token {
		t.Errorf("git sends user %q and password %q: %v, %s", user, password, err, answer)
	}
}

// environment reads the file with a shell, as in the recipe's command, and with a library that is made for such files.
func environment(t *testing.T, r Recipe, out render.Output, token string) {
	file := filepath.Join(t.TempDir(), "crm.env")
	if err := os.WriteFile(file, out.Data["crm.env"], 0o600); err != nil {
		t.Fatal(err)
	}
	var line struct{ Command []string }
	for text := range strings.Lines(r.Comment) {
		if strings.Contains(text, "command:") {
			if err := yaml.UnmarshalStrict([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := strings.NewReplacer("/var/run/crm/crm.env", file, "exec report", "exec env").Replace(line.Command[2])
	answer, err := exec.CommandContext(t.Context(), line.Command[0], line.Command[1], script).Output()
	want := map[string]string{"CRM_ACCESS_TOKEN": token, "CRM_EXPIRES_AT": "2026-08-01T12:30:15Z", "CRM_SCOPE": "api:read"}
	for name, value := range want {
		if !strings.Contains("\n"+string(answer), fmt.Sprintf("\n%s=%s\n", name, value)) {
			t.Errorf("the program sees no %s=%s: %v, %s", name, value, err, answer)
		}
	}
	if strings.Contains(token, "'") {
		return // Only a shell knows how to quote a quote.
	}
	parsed, err := godotenv.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if parsed[name] != value {
			t.Errorf("%s is %q, want %q", name, parsed[name], value)
		}
	}
}

// scraper makes a request as Prometheus does, with the authorization of the recipe's comment.
func scraper(t *testing.T, r Recipe, out render.Output, token string) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, out.Data["credentials"], 0o600); err != nil {
		t.Fatal(err)
	}
	var snippet struct {
		Configs []map[string]any `json:"scrape_configs"`
	}
	if err := yaml.UnmarshalStrict([]byte(r.Snippet("scrape_configs:")), &snippet); err != nil {
		t.Fatal(err)
	}
	delete(snippet.Configs[0], "job_name")
	text, err := yaml.Marshal(snippet.Configs[0])
	if err != nil {
		t.Fatal(err)
	}
	settings, err := prometheus.LoadHTTPConfig(strings.ReplaceAll(string(text), "/etc/prometheus/crm/credentials", file))
	if err != nil {
		t.Fatal(err)
	}
	client, err := prometheus.NewClientFromConfig(*settings, "test")
	if err != nil {
		t.Fatal(err)
	}
	sent := ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sent = r.Header.Get("Authorization") }))
	defer server.Close()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if sent != "Bearer "+token {
		t.Errorf("Prometheus sends %q", sent)
	}
	var operator struct {
		Authorization struct {
			Type        string
			Credentials struct{ Name, Key string }
		}
	}
	if err := yaml.UnmarshalStrict([]byte(r.Snippet("authorization:")), &operator); err != nil {
		t.Fatal(err)
	}
	if got := operator.Authorization.Credentials; got.Name != r.Connection.TokenSecretName() || len(out.Data[got.Key]) == 0 {
		t.Errorf("the operator's snippet names %+v", got)
	}
}
