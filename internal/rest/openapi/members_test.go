// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"reflect"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/rest/proxy"
)

// What is described of a proxied request are the members that the proxy reads.
func TestMembersOfAProxiedRequest(t *testing.T) {
	t.Parallel()
	members := func(of reflect.Type) string {
		var names []string
		for field := range of.Fields() {
			names = append(names, field.Tag.Get("json"))
		}
		return strings.Join(names, " ")
	}
	described, read := members(reflect.TypeFor[proxyRequest]()), members(reflect.TypeFor[proxy.Request]())
	if described != read {
		t.Errorf("described: %s; read: %s", described, read)
	}
}
