// SPDX-License-Identifier: Apache-2.0

package application

import (
	"time"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/census"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/registration"
)

// facts are what one pass knows. A decision reads them and changes nothing.
type facts struct {
	application *v1alpha1.OAuthApplication
	// kept is the client in use; nil when there is none yet.
	kept *registration.Client
	// inputs are the values that the effective spec refers to, in its order.
	inputs []input
	// unchanged says that kept was read from this spec and these very versions of the inputs, and has all of their values,
	// which are therefore not read again.
	unchanged bool
	// attempt is the latest attempt to read the discovery document.
	attempt attempt
	// listing is what is known of listings of the provider's connections.
	listing listing
	// census is what the last complete listing has shown; nil when there was none yet.
	census *census.Census
	// managed are the ids at the provider of the connections that refer to the application.
	managed     map[string]bool
	connections v1alpha1.ConnectionCounts
	now         time.Time
}

// rules are the installation's part in a decision.
type rules struct {
	provider.Rules
	catalogue *provider.Catalogue
	// checkCA judges a CA bundle (PEM).
	checkCA func(bundle []byte) error
	// revocationTimeout bounds how long a deleted application waits for its connections.
	revocationTimeout time.Duration
}

// referencesOf lists what a spec refers to, itself and by its preset. Nothing is read for one that names no provider: the
// decision says so.
func referencesOf(catalogue *provider.Catalogue, spec *v1alpha1.OAuthApplicationSpec) []reference {
	effective, err := catalogue.Effective(spec)
	if err != nil {
		return nil
	}
	return references(effective)
}

// reference is a place in the spec that names one key of a Secret or ConfigMap.
type reference struct {
	field string
	// kind is registration.KindSecret or registration.KindConfigMap.
	kind, name, key string
	use             use
}

// use says what a referred value is for.
type use int

const (
	useClientID use = iota
	useClientSecret
	// useSigningKey is a private key that signs assertions.
	useSigningKey
	// useTLSKey and useTLSCertificate are a client certificate and its private key.
	useTLSKey
	useTLSCertificate
	useCA
	// useValue is the value of a header or parameter.
	useValue
	// useWebhookSecret signs the provider's events. The application is ready without.
	useWebhookSecret
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

// references lists what an effective spec refers to. It does not change what it is given.
func references(spec *v1alpha1.OAuthApplicationSpec) []reference {
	var all []reference
	add := func(field, kind, name, key string, use use) {
		all = append(all, reference{field: field, kind: kind, name: name, key: key, use: use})
	}
	if ref := spec.Client.IDSecretRef; ref != nil {
		add("client.idSecretRef", registration.KindSecret, ref.Name, either(ref.Key, v1alpha1.DefaultClientIDKey), useClientID)
	}
	if ref := spec.Client.SecretRef; ref != nil {
		all = append(all, credentials(spec.Client.Authentication, ref)...)
	}
	if bundle := spec.CABundle; bundle != nil {
		if ref := bundle.SecretRef; ref != nil {
			add("caBundle.secretRef", registration.KindSecret, ref.Name, either(ref.Key, v1alpha1.DefaultCAKey), useCA)
		}
		if ref := bundle.ConfigMapRef; ref != nil {
			add("caBundle.configMapRef", registration.KindConfigMap, ref.Name, either(ref.Key, v1alpha1.DefaultCAKey), useCA)
		}
	}
	for _, ref := range provider.SecretReferences(spec) {
		if ref.Name != "" { // provider.Validate says what is missing.
			add(ref.Field, registration.KindSecret, ref.Name, ref.Key, useValue)
		}
	}
	if ref, has := provider.WebhookSecret(spec); has && ref.Name != "" {
		add(ref.Field, registration.KindSecret, ref.Name, ref.Key, useWebhookSecret)
	}
	return all
}

// credentials lists what a method of authentication needs of client.secretRef. With the others it only names the Secret
// that headers and parameters take their values from.
func credentials(method v1alpha1.ClientAuthentication, ref *v1alpha1.SecretKeyReference) []reference {
	const field = "client.secretRef"
	made := func(key string, use use) reference {
		return reference{field: field, kind: registration.KindSecret, name: ref.Name, key: key, use: use}
	}
	switch method {
	case v1alpha1.ClientPrivateKeyJWT:
		return []reference{made(either(ref.Key, v1alpha1.DefaultPrivateKeyKey), useSigningKey)}
	case v1alpha1.ClientTLS:
		return []reference{
			made(either(ref.Key, v1alpha1.DefaultPrivateKeyKey), useTLSKey), made(v1alpha1.DefaultCertificateKey, useTLSCertificate),
		}
	case v1alpha1.ClientServiceAccountToken, v1alpha1.ClientNone:
		return nil
	case v1alpha1.ClientSecretBasic, v1alpha1.ClientSecretPost: // As without a method.
	}
	return []reference{made(either(ref.Key, v1alpha1.DefaultClientSecretKey), useClientSecret)}
}

func either(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
