// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
	"github.com/oauth-operator/oauth-operator/internal/oauth"
	"github.com/oauth-operator/oauth-operator/internal/provider"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// Upstream is what of a kept client those need who send requests to the provider's API, and no more: nothing that the client
// authenticates with is in it.
type Upstream struct {
	// Application is whose client this is.
	Application Application
	// Generation is the one of the application's spec that was resolved.
	Generation int64
	// Version identifies the version of the Secret: with an equal one, nothing has changed.
	Version string
	// Profile is good for Values, APIBase, APIHeaders and RenewsByAccessToken alone. Of the effective spec it has what these
	// need, and allowedHosts and apiLimits; of Secrets those that apiHeaders name.
	Profile *provider.Profile
	// CA holds the only certificates to trust (PEM); nil means the system's.
	CA []byte
}

// upstreamDocument is what of a document an Upstream is made of.
type upstreamDocument struct {
	Format      int                            `json:"format"`
	Application Application                    `json:"application"`
	Generation  int64                          `json:"generation"`
	Spec        *v1alpha1.OAuthApplicationSpec `json:"spec"`
	ClientID    string                         `json:"clientID"`
	Secrets     map[string]json.RawMessage     `json:"secrets"`
	CA          []byte                         `json:"ca"`
}

// ReadUpstream reads what the kept client of an application says about the provider's API, for a process that may get Secrets of
// the operator's namespace and do no more. reader reads from the API server. Without a kept client it returns nil. No error
// shows anything of one.
func ReadUpstream(ctx context.Context, reader client.Reader, namespace string, application types.UID) (*Upstream, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: namespace, Name: SecretName(application)}
	err := reader.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read kept client %s: %w", key.Name, err)
	}
	return upstreamOf(secret, application)
}

func upstreamOf(secret *corev1.Secret, application types.UID) (*Upstream, error) {
	if secret.Type != v1alpha1.SecretTypeClient {
		return nil, fmt.Errorf("object %s/%s is not a kept client: its type is %q", secret.Namespace, secret.Name, secret.Type)
	}
	var stored upstreamDocument
	if err := json.Unmarshal(secret.Data[contentKey], &stored); err != nil {
		return nil, garbled(secret)
	}
	if stored.Format != contentFormat {
		return nil, fmt.Errorf("kept client %s/%s has format %d, this version of the API reads format %d: run the version of the operator that wrote it",
			secret.Namespace, secret.Name, stored.Format, contentFormat)
	}
	if stored.Application.UID != application {
		return nil, fmt.Errorf("kept client %s/%s belongs to another application than its name says", secret.Namespace, secret.Name)
	}
	spec := apiPart(stored.Spec)
	secrets, err := stored.apiSecrets(spec)
	if err != nil {
		return nil, garbled(secret)
	}
	return &Upstream{
		Application: stored.Application, Generation: stored.Generation, Version: string(secret.UID) + "/" + secret.ResourceVersion, CA: stored.CA,
		Profile: &provider.Profile{Spec: spec, Client: oauth.Client{ID: stored.ClientID}, Secrets: secrets},
	}, nil
}

// garbled does not say what the decoder did: that may quote what it stumbled over.
func garbled(secret *corev1.Secret) error {
	return fmt.Errorf("kept client %s/%s cannot be read: key %q is not the JSON that the operator wrote", secret.Namespace, secret.Name, contentKey)
}

// apiPart is what of an effective spec requests to the API depend on. Documents of operators before the field spec know of no
// API: what is left of them names none.
func apiPart(spec *v1alpha1.OAuthApplicationSpec) *v1alpha1.OAuthApplicationSpec {
	if spec == nil {
		return &v1alpha1.OAuthApplicationSpec{}
	}
	part := &v1alpha1.OAuthApplicationSpec{
		// The Secret that apiHeaders take values from when they name none.
		Client: v1alpha1.ClientSpec{SecretRef: spec.Client.SecretRef},
		// Inputs are held to the rules of all URLs that they are a part of.
		Endpoints:  spec.Endpoints,
		Inputs:     spec.Inputs,
		APIBaseURL: spec.APIBaseURL, APIHeaders: spec.APIHeaders, AllowedHosts: spec.AllowedHosts, APILimits: spec.APILimits,
	}
	if spec.Callback != nil {
		part.Callback = &v1alpha1.CallbackSpec{Capture: spec.Callback.Capture}
	}
	if spec.TokenResponse != nil {
		part.TokenResponse = &v1alpha1.TokenResponseSpec{Capture: spec.TokenResponse.Capture}
	}
	if spec.UserInfo != nil {
		part.UserInfo = &v1alpha1.UserInfoSpec{Capture: spec.UserInfo.Capture}
	}
	if spec.TokenRequest != nil {
		part.TokenRequest = &v1alpha1.TokenRequestSpec{Refresh: spec.TokenRequest.Refresh}
	}
	return part
}

// apiSecrets decodes the values that the headers of a spec's API name, and leaves the others alone.
func (d *upstreamDocument) apiSecrets(part *v1alpha1.OAuthApplicationSpec) (map[string]sensitive.String, error) {
	var secrets map[string]sensitive.String
	for _, reference := range provider.SecretReferences(part) {
		name := provider.SecretKey(reference.Name, reference.Key)
		raw, kept := d.Secrets[name]
		if !kept {
			continue
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, err
		}
		if secrets == nil {
			secrets = map[string]sensitive.String{}
		}
		secrets[name] = sensitive.New(value)
	}
	return secrets, nil
}
