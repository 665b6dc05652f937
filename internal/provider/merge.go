// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"reflect"
	"strings"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// overlay lays a spec over another one, see Catalogue.Effective. Both may be changed and share parts with the result.
func overlay(base, over *v1alpha1.OAuthApplicationSpec) *v1alpha1.OAuthApplicationSpec {
	merged := new(v1alpha1.OAuthApplicationSpec)
	reflect.ValueOf(merged).Elem().Set(merge(reflect.ValueOf(*base), reflect.ValueOf(*over)))
	return merged
}

// merge walks the types of the API, so that a field added there is merged without a word here.
func merge(base, over reflect.Value) reflect.Value {
	switch {
	case over.Kind() == reflect.Pointer:
		if base.IsNil() || over.IsNil() || !ours(over.Type().Elem()) {
			return chosen(base, over)
		}
		merged := reflect.New(over.Type().Elem())
		merged.Elem().Set(merge(base.Elem(), over.Elem()))
		return merged
	case ours(over.Type()):
		return mergeStruct(base, over)
	case over.Kind() == reflect.Map && !base.IsNil() && !over.IsNil():
		merged := reflect.MakeMap(over.Type())
		for _, from := range []reflect.Value{base, over} {
			for entries := from.MapRange(); entries.Next(); {
				merged.SetMapIndex(entries.Key(), entries.Value())
			}
		}
		return merged
	case over.Kind() == reflect.Slice && named(over.Type().Elem()):
		return mergeEntries(base, over)
	}
	return chosen(base, over)
}

func chosen(base, over reflect.Value) reflect.Value {
	if over.IsZero() {
		return base
	}
	return over
}

// ours tells of structures of the API; those of Kubernetes (quantities, durations, selectors) count as scalars.
func ours(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[v1alpha1.OAuthApplicationSpec]().PkgPath()
}

// named tells of entries of lists that have a name; others are no entries to be found again.
func named(t reflect.Type) bool {
	if !ours(t) {
		return false
	}
	_, has := t.FieldByName("Name")
	return has
}

func mergeStruct(base, over reflect.Value) reflect.Value {
	merged := reflect.New(over.Type()).Elem()
	for i := range over.NumField() {
		merged.Field(i).Set(merge(base.Field(i), over.Field(i)))
	}
	exclude(merged.Addr().Interface(), over.Interface())
	return merged
}

// exclude keeps alternatives apart: what the upper one gives takes its alternative of the lower one away.
func exclude(merged, over any) {
	switch merged := merged.(type) {
	case *v1alpha1.RequestHeader:
		if upper, _ := over.(v1alpha1.RequestHeader); upper.Value != nil {
			merged.SecretKeyRef, merged.Prefix = nil, upper.Prefix
		} else if upper.SecretKeyRef != nil {
			merged.Value = nil
		}
	case *v1alpha1.RequestParameter:
		if upper, _ := over.(v1alpha1.RequestParameter); upper.Value != nil {
			merged.SecretKeyRef = nil
		} else if upper.SecretKeyRef != nil {
			merged.Value = nil
		}
	case *v1alpha1.ClientAssertionSpec:
		if upper, _ := over.(v1alpha1.ClientAssertionSpec); upper.Audience != "" {
			merged.AudienceFrom = ""
		} else if upper.AudienceFrom != "" {
			merged.Audience = ""
		}
	case *v1alpha1.WebhookSpec:
		upper, _ := over.(v1alpha1.WebhookSpec)
		excludeWebhook(merged, &upper)
	}
}

// excludeWebhook : a signature with a scheme is described anew, as what goes with one scheme means nothing in another.
func excludeWebhook(merged, upper *v1alpha1.WebhookSpec) {
	if upper.Scheme != "" {
		merged.WebhookSignature, merged.Alternatives = upper.WebhookSignature, upper.Alternatives
	}
	if upper.EventType != "" {
		merged.EventTypeHeader = upper.EventTypeHeader
	} else if upper.EventTypeHeader != "" {
		merged.EventType = ""
	}
}

// mergeEntries merges lists by the names of their entries: first those of the base in their order, then the new ones.
func mergeEntries(base, over reflect.Value) reflect.Value {
	if over.Len() == 0 {
		return base
	}
	merged := reflect.MakeSlice(over.Type(), 0, base.Len()+over.Len())
	used := make([]bool, over.Len())
	for i := range base.Len() {
		entry := base.Index(i)
		for j := range over.Len() {
			if !used[j] && sameEntry(entry, over.Index(j)) {
				entry, used[j] = merge(entry, over.Index(j)), true
				break
			}
		}
		merged = reflect.Append(merged, entry)
	}
	for j := range over.Len() {
		if !used[j] {
			merged = reflect.Append(merged, over.Index(j))
		}
	}
	return merged
}

// sameEntry compares names; those of headers are the same in any case (RFC 9110 section 5.1).
func sameEntry(a, b reflect.Value) bool {
	first, second := a.FieldByName("Name").String(), b.FieldByName("Name").String()
	if a.Type() == reflect.TypeFor[v1alpha1.RequestHeader]() {
		return strings.EqualFold(first, second)
	}
	return first == second
}

// prune removes parameters and headers with an empty value. Renamed parameters (authorizationParameterNames) stay: there
// the empty name is the meaning.
func prune(spec *v1alpha1.OAuthApplicationSpec) {
	pruneMap(spec.AuthorizationParameters)
	spec.APIHeaders = pruneHeaders(spec.APIHeaders)
	if request := spec.TokenRequest; request != nil {
		request.Headers = pruneHeaders(request.Headers)
		var kept []v1alpha1.RequestParameter
		for _, parameter := range request.Parameters {
			if parameter.Value == nil || *parameter.Value != "" {
				kept = append(kept, parameter)
			}
		}
		request.Parameters = kept
	}
	if spec.UserInfo != nil {
		spec.UserInfo.Headers = pruneHeaders(spec.UserInfo.Headers)
	}
	if spec.Revocation != nil {
		spec.Revocation.Headers = pruneHeaders(spec.Revocation.Headers)
	}
	if list := connectionList(spec); list != nil {
		list.Headers = pruneHeaders(list.Headers)
		pruneMap(list.Query)
		if list.Application != nil {
			pruneMap(list.Application.Query)
		}
	}
}

func pruneMap(parameters map[string]v1alpha1.ParameterValue) {
	for name, value := range parameters {
		if value == "" {
			delete(parameters, name)
		}
	}
}

func pruneHeaders(headers []v1alpha1.RequestHeader) []v1alpha1.RequestHeader {
	var kept []v1alpha1.RequestHeader
	for _, header := range headers {
		if header.Value == nil || *header.Value != "" {
			kept = append(kept, header)
		}
	}
	return kept
}

// connectionList returns the description of the provider's list of connections; nil when the check is of another type.
func connectionList(spec *v1alpha1.OAuthApplicationSpec) *v1alpha1.ConnectionListSpec {
	if spec.StatusCheck == nil || spec.StatusCheck.Type != v1alpha1.StatusCheckConnectionList {
		return nil
	}
	return spec.StatusCheck.ConnectionList
}
