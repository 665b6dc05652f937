// SPDX-License-Identifier: Apache-2.0

// Package openapi describes the API in a document of OpenAPI 3.1, made from the types that answers and requests are written
// with, and from one table of operations.
package openapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/swaggest/openapi-go/openapi31"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// Path is where the document is served.
const Path = "/openapi.json"

// version of the API: of its paths and shapes, not of the program.
const version = "1.0.0"

// ExtensionRest marks a path parameter that takes the rest of the path, slashes included: OpenAPI cannot say that.
const ExtensionRest = "x-rest-of-path"

// ExtensionCodes lists the codes of the problems that an operation answers with under a status.
const ExtensionCodes = "x-problem-codes"

const description = `Connections to OAuth providers that the operator holds for callers inside the cluster, and requests to the ` +
	`providers' APIs through them, without the caller ever seeing a token.

Errors are problem details (RFC 9457) with a stable code. An error of this API carries the header Oauth-Operator-Error; without ` +
	`it, an answer of the request proxy is the provider's own. A path that is served with other methods answers 405 with the code ` +
	`MethodNotAllowed. Paths that answer GET answer HEAD alike, but for connect.`

// Document returns the document as JSON. It is the same whenever it is made.
func Document() ([]byte, error) {
	reflector := openapi31.NewReflector()
	spec := reflector.SpecEns()
	spec.SetTitle("oauth-operator API")
	spec.SetVersion(version)
	spec.SetDescription(description)
	spec.SetHTTPBearerTokenSecurity(bearer, "JWT", "A token of Kubernetes for the audience that this API is run with, for example that of a "+
		"ServiceAccount (TokenRequest, or a projected volume). Kubernetes' RBAC says what its holder may do.")
	spec.WithTags(tags()...)
	shape(reflector)
	for _, operation := range Operations() {
		if err := operation.add(reflector); err != nil {
			return nil, fmt.Errorf("describe %s %s: %w", operation.Method, operation.Path, err)
		}
	}
	content, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	return append(content, '\n'), nil
}

// Handler serves the document, with an ETag. It answers GET and HEAD.
func Handler() (problem.HandlerFunc, error) {
	content, err := Document()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:]) + `"`
	return func(w http.ResponseWriter, r *http.Request) error {
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "no-cache") // Ask whether it has changed.
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		return nil
	}, nil
}
