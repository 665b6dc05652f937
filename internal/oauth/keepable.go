// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// maxKept bounds a value that is kept of an answer and shown in a status.
const maxKept = 1 << 10

// keepable returns a value that can be kept and shown as it is, or "".
func keepable(text string, secrets []sensitive.String) string {
	return printableText(text, maxKept, secrets...)
}

// printableText returns a text without the blanks around it when it is within the limit, printable, and free of secrets.
// Otherwise it returns "": half a value would be a wrong one.
func printableText(text string, limit int, secrets ...sensitive.String) string {
	text = strings.TrimSpace(text)
	if len(text) > limit || sensitive.Scrub(text, limit, secrets...) != text {
		return ""
	}
	return text
}
