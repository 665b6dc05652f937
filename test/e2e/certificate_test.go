// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/oauth-operator/oauth-operator/internal/testenv"
)

// withCertificates adds the Secrets of fresh certificates, for gateway and API, to a manifest, before what mounts them.
func (s *suite) withCertificates(t *testing.T, manifest []*unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	gateway, certificate := certified(t, gatewayTLSSecret, gatewayHost)
	s.trusted = x509.NewCertPool()
	s.trusted.AppendCertsFromPEM(certificate)
	api, certificate := certified(t, apiTLSSecret, apiHosts()...)
	s.apiCertificate = certificate
	workloads := slices.IndexFunc(manifest, func(object *unstructured.Unstructured) bool { return object.GetKind() == "Deployment" })
	return slices.Insert(manifest, workloads, gateway, api)
}

// certified returns a TLS Secret for some hosts, and the certificate in it (PEM), which was issued by itself.
func certified(t *testing.T, name string, hosts ...string) (secret *unstructured.Unstructured, certificate []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.OperatorNamespace, Name: name},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       certificate,
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}, certificate
}
