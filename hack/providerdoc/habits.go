// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
)

// habits is the file of that name.
type habits struct {
	Habits       []habit `json:"habits"`
	NotExpressed []limit `json:"notExpressed"`
}

// habit is something that providers do in their own way.
type habit struct {
	Habit string `json:"habit"`
	// Count of the 343 providers that have it; 0 where nobody counted.
	Count int `json:"count,omitempty"`
	// Fields express it. A preset has the habit when it uses one of them.
	Fields []use `json:"fields"`
	// Presets are examples that have it.
	Presets []string `json:"presets,omitempty"`
	// Note says why there is no preset.
	Note string `json:"note,omitempty"`
	// Tests are functions, each as `directory Name`.
	Tests []string `json:"tests"`
}

// use is a field of the application's spec, perhaps with what is in it.
type use struct {
	// Field is a path such as inputs[].pattern.
	Field string `json:"field"`
	// Value is the value that counts, Except one that does not, Contains a text that the value has; without them any value
	// counts.
	Value    string `json:"value,omitempty"`
	Except   string `json:"except,omitempty"`
	Contains string `json:"contains,omitempty"`
}

// limit is what cannot be expressed.
type limit struct {
	Habit  string `json:"habit"`
	Reason string `json:"reason"`
}

func parseHabits(content []byte) (*habits, error) {
	table := &habits{}
	if err := yaml.UnmarshalStrict(content, table); err != nil {
		return nil, err
	}
	return table, nil
}

// check holds the table to the API, the catalogue and the repository's tests. The error names all that is wrong.
func (h *habits) check(presets []provider.Preset, repository fs.FS) error {
	specs, err := asMaps(presets)
	if err != nil {
		return err
	}
	var wrong []error
	say := func(one habit, format string, arguments ...any) {
		wrong = append(wrong, fmt.Errorf("%q: %s", one.Habit, fmt.Sprintf(format, arguments...)))
	}
	for _, one := range h.Habits {
		for _, field := range one.Fields {
			if !exists(reflect.TypeFor[v1alpha1.OAuthApplicationSpec](), steps(field.Field)) {
				say(one, "the spec has no field %s", field.Field)
			}
		}
		for _, name := range one.Presets {
			if spec, known := specs[name]; !known || !one.usedBy(spec) {
				say(one, "the preset %s does not use it", name)
			}
		}
		if len(one.Presets) == 0 && one.Note == "" {
			say(one, "it has neither a preset nor a note that says why")
		}
		if len(one.Tests) == 0 {
			say(one, "it has no test")
		}
		for _, test := range one.Tests {
			if err := find(repository, test); err != nil {
				say(one, "%v", err)
			}
		}
	}
	return errors.Join(wrong...)
}

func asMaps(presets []provider.Preset) (map[string]map[string]any, error) {
	specs := make(map[string]map[string]any, len(presets))
	for _, preset := range presets {
		spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&preset.Spec)
		if err != nil {
			return nil, err
		}
		specs[preset.Name] = spec
	}
	return specs, nil
}

// steps takes a path apart; `[]` is a step into each entry of a list.
func steps(field string) []string {
	return strings.Split(strings.ReplaceAll(field, "[]", ".[]"), ".")
}

// exists tells whether a type has the field. Maps have every key.
func exists(of reflect.Type, path []string) bool {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if len(path) == 0 {
		return true
	}
	switch of.Kind() {
	case reflect.Slice:
		return path[0] == "[]" && exists(of.Elem(), path[1:])
	case reflect.Map:
		return exists(of.Elem(), path[1:])
	case reflect.Struct:
		for field := range of.Fields() {
			if field.Anonymous && exists(field.Type, path) {
				return true
			}
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name == path[0] {
				return exists(field.Type, path[1:])
			}
		}
	default:
	}
	return false
}

func (h habit) usedBy(spec map[string]any) bool {
	for _, field := range h.Fields {
		if slices.ContainsFunc(selected(spec, steps(field.Field)), field.accepts) {
			return true
		}
	}
	return false
}

// users are the names of all presets that have the habit, in their order.
func (h habit) users(presets []provider.Preset, specs map[string]map[string]any) []string {
	var names []string
	for _, preset := range presets {
		if h.usedBy(specs[preset.Name]) {
			names = append(names, preset.Name)
		}
	}
	return names
}

func (u use) accepts(value any) bool {
	switch value := value.(type) {
	case map[string]any, []any:
		return u.Value == "" && (u.Contains == "" || strings.Contains(fmt.Sprint(value), u.Contains))
	default:
		text := fmt.Sprint(value)
		return (u.Value == "" || text == u.Value) && (u.Except == "" || text != u.Except) && strings.Contains(text, u.Contains)
	}
}

// selected are the values at a path.
func selected(value any, path []string) []any {
	if len(path) == 0 {
		return []any{value}
	}
	switch value := value.(type) {
	case map[string]any:
		inner, found := value[path[0]]
		if !found {
			return nil
		}
		return selected(inner, path[1:])
	case []any:
		var all []any
		for _, entry := range value {
			all = append(all, selected(entry, path[1:])...)
		}
		return all
	}
	return nil
}

// find looks for a test, given as `directory Name`.
func find(repository fs.FS, test string) error {
	directory, name, found := strings.Cut(test, " ")
	if !found {
		return fmt.Errorf("the test %q must be given as directory and name", test)
	}
	files, err := fs.Glob(repository, directory+"/*_test.go")
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := fs.ReadFile(repository, file)
		if err != nil {
			return err
		}
		if strings.Contains(string(content), "\nfunc "+name+"(") {
			return nil
		}
	}
	return fmt.Errorf("there is no test %s in %s", name, directory)
}
