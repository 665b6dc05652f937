// SPDX-License-Identifier: Apache-2.0

package application

import (
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// facts are what one pass knows. A decision reads them and changes nothing.
type facts struct {
	application *v1alpha1.OAuthApplication
	// kept is the client in use; nil when there is none yet.
	kept *registration.Client
	// inputs are the values that the spec refers to, in the spec's order.
	inputs []input
	// unchanged says that kept was read from this spec and these very versions of the inputs, whose values are
	// therefore not read again.
	unchanged bool
	// attempt is the latest attempt to read the discovery document.
	attempt     attempt
	connections v1alpha1.ConnectionCounts
	now         time.Time
}

// rules are the installation's part in a decision.
type rules struct {
	provider.Rules
	// checkCA judges a CA bundle (PEM).
	checkCA func(bundle []byte) error
	// revocationTimeout bounds how long a deleted application waits for its connections.
	revocationTimeout time.Duration
}

// reference is a place in the spec that names one key of a Secret or ConfigMap.
type reference struct {
	field string
	// kind is registration.KindSecret or registration.KindConfigMap.
	kind, name, key string
	use             use
	// parameter is the name of the request parameter with use useParameter.
	parameter string
}

// use says what a referred value is for.
type use int

const (
	useClientSecret use = iota
	useCA
	useParameter
)

// input is a reference with what was found.
type input struct {
	reference
	// exists tells whether the object is there, found whether it has the key.
	exists, found bool
	// keys are the keys that the object has, for messages.
	keys []string
	// source is the version that was read.
	source registration.Source
	value  []byte
}

// references lists what a spec refers to. It does not change what it is given.
func references(spec *v1alpha1.OAuthApplicationSpec) []reference {
	var all []reference
	secret := func(field string, ref *v1alpha1.SecretKeyReference, defaultKey string, use use, parameter string) {
		if ref == nil {
			return
		}
		all = append(all, reference{
			field: field, kind: registration.KindSecret, name: ref.Name, key: either(ref.Key, defaultKey),
			use: use, parameter: parameter,
		})
	}
	secret("client.secretRef", spec.Client.SecretRef, v1alpha1.DefaultClientSecretKey, useClientSecret, "")
	if bundle := spec.CABundle; bundle != nil {
		secret("caBundle.secretRef", bundle.SecretRef, v1alpha1.DefaultCAKey, useCA, "")
		if ref := bundle.ConfigMapRef; ref != nil {
			all = append(all, reference{
				field: "caBundle.configMapRef", kind: registration.KindConfigMap, name: ref.Name,
				key: either(ref.Key, v1alpha1.DefaultCAKey), use: useCA,
			})
		}
	}
	if spec.TokenRequest != nil {
		for _, parameter := range spec.TokenRequest.Parameters {
			if ref := parameter.SecretKeyRef; ref != nil {
				named := &v1alpha1.SecretKeyReference{Name: ref.Name, Key: ref.Key}
				secret("tokenRequest.parameters["+parameter.Name+"].secretKeyRef", named, "", useParameter, parameter.Name)
			}
		}
	}
	return all
}

func either(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
