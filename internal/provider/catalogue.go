// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

//go:embed catalogue
var catalogueFiles embed.FS

// Preset is a provider of the catalogue: fields of a spec that nobody has to write.
type Preset struct {
	// Name is the value of spec.provider.
	Name string
	// DisplayName is the provider's name for people.
	DisplayName string
	// URL is the provider's own page about its OAuth; empty where none is known.
	URL string
	// Notes are what users must know, Doubts what nobody could verify; one sentence or two each.
	Notes, Doubts []string
	// Spec has neither credentials nor anything else that belongs to one installation.
	Spec v1alpha1.OAuthApplicationSpec
}

// presetFile is the form of a file of the catalogue.
type presetFile struct {
	Name          string                        `json:"name"`
	Documentation presetDocumentation           `json:"documentation"`
	Spec          v1alpha1.OAuthApplicationSpec `json:"spec"`
}

type presetDocumentation struct {
	Label  string   `json:"label"`
	URL    string   `json:"url,omitempty"`
	Notes  []string `json:"notes,omitempty"`
	Doubts []string `json:"doubts,omitempty"`
}

// Catalogue is the presets. It is not changed after it was loaded.
type Catalogue struct {
	presets map[string]*Preset
}

// LoadCatalogue reads the presets that are part of the program: the files catalogue/NAME.yaml. The error names the file.
// Loading takes some tens of milliseconds: keep the result.
func LoadCatalogue() (*Catalogue, error) { return loadCatalogue(catalogueFiles) }

func loadCatalogue(files fs.FS) (*Catalogue, error) {
	names, err := fs.Glob(files, "catalogue/*.yaml")
	if err != nil {
		return nil, err
	}
	loaded := &Catalogue{presets: make(map[string]*Preset, len(names))}
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		preset, err := parsePreset(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if preset.Name+".yaml" != path.Base(name) {
			return nil, fmt.Errorf("%s: the preset's name is %q; name and file must agree", name, preset.Name)
		}
		loaded.presets[preset.Name] = preset
	}
	return loaded, nil
}

// parsePreset is strict: a misspelt field would silently be a provider that does not work.
func parsePreset(content []byte) (*Preset, error) {
	var file presetFile
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		return nil, err
	}
	if file.Documentation.Label == "" {
		return nil, fmt.Errorf("documentation.label is missing")
	}
	if field := foreign(&file.Spec); field != "" {
		return nil, fmt.Errorf("spec.%s belongs to an application, not to a preset", field)
	}
	preset := &Preset{
		Name: file.Name, DisplayName: file.Documentation.Label, URL: file.Documentation.URL,
		Notes: file.Documentation.Notes, Doubts: file.Documentation.Doubts, Spec: file.Spec,
	}
	if preset.Spec.DisplayName == "" {
		preset.Spec.DisplayName = preset.DisplayName
	}
	return preset, nil
}

// foreign returns a field that no preset may set: credentials, what names objects of a namespace, and who may use it.
func foreign(spec *v1alpha1.OAuthApplicationSpec) string {
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"provider", spec.Provider != ""},
		{"client.id", spec.Client.ID != ""},
		{"client.idSecretRef", spec.Client.IDSecretRef != nil},
		{"client.secretRef", spec.Client.SecretRef != nil},
		{"client.assertion.serviceAccountName", spec.Client.Assertion != nil && spec.Client.Assertion.ServiceAccountName != ""},
		{"redirectURL", spec.RedirectURL != ""},
		{"allowedNamespaces", spec.AllowedNamespaces != nil},
		{"allowedGrantTypes", len(spec.AllowedGrantTypes) > 0},
		{"caBundle", spec.CABundle != nil},
	} {
		if field.set {
			return field.name
		}
	}
	references := SecretReferences(spec)
	if reference, has := WebhookSecret(spec); has {
		references = append(references, reference)
	}
	for _, reference := range references {
		if reference.Name != "" {
			return reference.Field + ".name"
		}
	}
	return ""
}

// Presets returns all presets by name. Their specs are copies.
func (c *Catalogue) Presets() []Preset {
	all := make([]Preset, 0, len(c.presets))
	for _, preset := range c.presets {
		one := *preset
		one.Spec = *preset.Spec.DeepCopy()
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Preset) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Effective lays a spec over the preset that it names, so that nothing after this knows of presets: the result's provider
// is empty. What the spec sets wins: scalars as they are, structures member by member, maps key by key, lists whose
// entries have a name entry by entry; other lists are replaced, also by an empty one. An empty value takes a parameter or
// header of the preset away. The spec is not changed. The error is a *FieldError.
func (c *Catalogue) Effective(spec *v1alpha1.OAuthApplicationSpec) (*v1alpha1.OAuthApplicationSpec, error) {
	effective := spec.DeepCopy()
	if spec.Provider != "" {
		preset, known := c.presets[spec.Provider]
		if !known {
			return nil, &FieldError{Field: "provider", Message: c.unknown(spec.Provider)}
		}
		effective = overlay(preset.Spec.DeepCopy(), effective)
		yieldAuthentication(effective, spec)
		effective.Provider = ""
	}
	prune(effective)
	return effective, nil
}

// yieldAuthentication drops a preset's method that the application's own credentials rule out: without a secret the client
// is public, and with one it is not.
func yieldAuthentication(effective, spec *v1alpha1.OAuthApplicationSpec) {
	if spec.Client.Authentication != "" {
		return
	}
	secret := spec.Client.SecretRef != nil
	switch method := effective.Client.Authentication; {
	case !secret && (method == v1alpha1.ClientSecretBasic || method == v1alpha1.ClientSecretPost):
		effective.Client.Authentication = v1alpha1.ClientNone
	case secret && method == v1alpha1.ClientNone:
		effective.Client.Authentication = ""
	}
}

// maxSuggestions bounds how many names a message suggests.
const maxSuggestions = 3

func (c *Catalogue) unknown(name string) string {
	type candidate struct {
		name string
		far  int
	}
	var near []candidate
	for known := range c.presets {
		far := distance(name, known)
		if strings.HasPrefix(known, name) || strings.HasPrefix(name, known) {
			far = min(far, 1)
		}
		if far <= 1+len(name)/4 {
			near = append(near, candidate{known, far})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.far, b.far), strings.Compare(a.name, b.name)) })
	message := fmt.Sprintf("the catalogue has no preset %q", name)
	if len(near) > 0 {
		var names []string
		for _, one := range near[:min(len(near), maxSuggestions)] {
			names = append(names, one.name)
		}
		message += "; did you mean " + strings.Join(names, " or ") + "?"
	}
	return message + " docs/providers.md lists all; any other provider is described by issuerURL or endpoints in place of provider"
}

// distance is the number of single characters to insert, delete or replace between two names.
func distance(a, b string) int {
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			replaced := previous[j]
			if a[i] != b[j] {
				replaced++
			}
			current[j+1] = min(replaced, previous[j+1]+1, current[j]+1)
		}
		previous = current
	}
	return previous[len(b)]
}
