// SPDX-License-Identifier: Apache-2.0

// Package redact takes secrets out of errors of the API server. Admission webhooks answer freely, and may quote the
// objects that they were shown, the old one too.
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// maxMessage is the length in bytes of what is kept of a message that others wrote.
const maxMessage = 1024

// Error returns err without the secrets: as they are, inside quotes, and inside Base64 of something that holds them. What
// others decide by stays, so that the functions of apierrors, errors.Is and errors.As answer as for err. Messages are
// bounded. nil stays nil.
func Error(err error, secrets ...sensitive.String) error {
	if err == nil {
		return nil
	}
	scrub := scrubber(secrets)
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return &redactedError{text: scrub(err.Error()), cause: err}
	}
	return &apierrors.StatusError{ErrStatus: clean(status.Status(), scrub)}
}

// scrubber returns a function that takes the secrets out of a text. Most texts are short: secrets that do not fit into them
// are not spelled out, which takes long where they are large.
func scrubber(secrets []sensitive.String) func(text string) string {
	lengths := make([]int, len(secrets))
	for i, secret := range secrets {
		lengths[i] = len(sensitive.Scrub(secret.Reveal(), len(secret.Reveal()))) // without what no text keeps
	}
	return func(text string) string {
		var values []sensitive.String
		for i, secret := range secrets {
			if lengths[i] > 0 && lengths[i] <= len(text) {
				values = append(values, spellings(secret)...)
			}
		}
		return sensitive.Scrub(text, maxMessage, values...)
	}
}

// clean keeps of a status what others decide by and say.
func clean(status metav1.Status, scrub func(string) string) metav1.Status {
	cleaned := metav1.Status{
		Status: status.Status, Code: status.Code,
		Reason:  metav1.StatusReason(scrub(string(status.Reason))),
		Message: scrub(status.Message),
	}
	if details := status.Details; details != nil {
		cleaned.Details = &metav1.StatusDetails{RetryAfterSeconds: details.RetryAfterSeconds}
		for _, cause := range details.Causes {
			cleaned.Details.Causes = append(cleaned.Details.Causes, metav1.StatusCause{
				Type: metav1.CauseType(scrub(string(cause.Type))), Message: scrub(cause.Message), Field: scrub(cause.Field),
			})
		}
	}
	return cleaned
}

// spellings returns how a secret looks where an object is quoted, beyond what sensitive.Scrub knows.
func spellings(secret sensitive.String) []sensitive.String {
	value := secret.Reveal()
	escaped, _ := json.Marshal(value) // cannot fail for a string
	inDocument := inside(plainJSON(value))
	all := []sensitive.String{
		secret, sensitive.New(inside(string(escaped))), sensitive.New(inDocument), sensitive.New(inside(strconv.Quote(value))),
	}
	return append(append(all, insideBase64(value)...), insideBase64(inDocument)...)
}

// insideBase64 returns what of a value shows in Base64 of a document that holds it: Secrets are quoted so. That depends
// on where the document's groups of three bytes begin; the characters at the edges belong to the neighbours as well.
func insideBase64(value string) []sensitive.String {
	const group, characters = 3, 4
	var all []sensitive.String
	for skipped := range group {
		if len(value) < skipped+group {
			break
		}
		whole := (len(value) - skipped) / group * group
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString([]byte(value[skipped : skipped+whole]))
			if len(encoded) > characters { // One group alone occurs by chance.
				all = append(all, sensitive.New(encoded))
			}
		}
	}
	return all
}

// plainJSON is how a value stands in a document that is not meant for HTML.
func plainJSON(value string) string {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // cannot fail for a string
	return string(bytes.TrimSuffix(buffer.Bytes(), []byte("\n")))
}

func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

// redactedError shows the text of an error that did not come from the API server without the secrets.
type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string { return e.text }

func (e *redactedError) Unwrap() error { return e.cause }
