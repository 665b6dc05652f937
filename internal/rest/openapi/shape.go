// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/swaggest/jsonschema-go"
	"github.com/swaggest/openapi-go/openapi31"

	"github.com/oauth-operator/oauth-operator/internal/rest/integrations"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// shape tells the reflector how this project writes JSON: what is not left out when it is empty is always there.
func shape(reflector *openapi31.Reflector) {
	reflector.DefaultOptions = append(
		reflector.DefaultOptions,
		jsonschema.InterceptDefName(func(t reflect.Type, _ string) string { return nameOf(t) }),
		jsonschema.InterceptSchema(func(p jsonschema.InterceptSchemaParams) (bool, error) {
			switch p.Schema.ReflectType {
			case reflect.TypeFor[integrations.ConnectRequest]():
				eitherCredential(p.Schema)
			case reflect.TypeFor[proxyRequest]():
				closed(p.Schema)
			case reflect.TypeFor[headerValue]():
				p.Schema.Type = nil // One of two.
			}
			return false, nil
		}),
		jsonschema.InterceptProp(func(p jsonschema.InterceptPropParams) error {
			tag, isJSON := p.Field.Tag.Lookup("json")
			if !p.Processed {
				if isJSON && !strings.Contains(tag, ",omit") {
					p.ParentSchema.Required = append(p.ParentSchema.Required, p.Name)
				}
				return nil
			}
			if p.PropertySchema.Description == nil && isJSON && p.ParentSchema.ReflectType == reflect.TypeFor[problem.Error]() {
				text, known := problemMembers()[p.Name]
				if !known {
					return fmt.Errorf("member %s of a problem is not described", p.Name)
				}
				p.PropertySchema.WithDescription(text)
			}
			return nil
		}),
	)
}

// closed : other members are refused.
func closed(schema *jsonschema.Schema) {
	no := false
	schema.AdditionalProperties = &jsonschema.SchemaOrBool{TypeBoolean: &no}
}

// eitherCredential says what goes together in a ConnectRequest.
func eitherCredential(schema *jsonschema.Schema) {
	closed(schema)
	with := func(member string) jsonschema.SchemaOrBool {
		return (&jsonschema.Schema{Required: []string{member}}).ToSchemaOrBool()
	}
	schema.OneOf = []jsonschema.SchemaOrBool{with("code"), with("refreshToken")}
	schema.WithExtraPropertiesItem("dependentRequired", map[string][]string{"codeVerifier": {"code"}, "redirectUri": {"code"}})
}

// nameOf is the name of a schema: that of its type, and of what a page is of.
func nameOf(t reflect.Type) string {
	name, of, generic := strings.Cut(t.Name(), "[")
	if !generic {
		if t == reflect.TypeFor[problem.Error]() {
			return "Problem"
		}
		return strings.ToUpper(name[:min(1, len(name))]) + name[min(1, len(name)):]
	}
	of = strings.TrimSuffix(of, "]")
	return of[strings.LastIndex(of, ".")+1:] + name
}

// problemMembers describes the members of problem details.
func problemMembers() map[string]string {
	return map[string]string{
		"type":             "Always about:blank: code says what kind of problem it is.",
		"title":            "What goes with the code, in a few words.",
		"status":           "The HTTP status.",
		"detail":           "What happened, and what can be done.",
		"code":             "The kind of problem, for programs. Codes are stable; more may come.",
		"reason":           "The reason of the connection's condition or authorization, where one is behind the problem.",
		"authorizationUrl": "Where a person can authorize, where that helps.",
	}
}
