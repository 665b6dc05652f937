// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// refusal is an OAuth error as the provider spelled it. Nothing in it has been scrubbed.
type refusal struct {
	code, description string
	// own is the provider's code when code is its translation.
	own string
}

// refusal reads the `error` member: a string (RFC 6749, section 5.2), or an object as some APIs send it. ok is false when
// there is none; null, false, 0, "", {} and [] are none.
func (d document) refusal() (refusal, bool) {
	found := refusal{description: d.first("error_description", "message", "detail")}
	raw := d.members["error"]
	var nested map[string]json.RawMessage
	switch {
	case len(raw) == 0 || slices.Contains([]string{"null", "false", "0", `""`, "[]"}, string(raw)):
		return refusal{}, false
	case json.Unmarshal(raw, &nested) == nil:
		if len(nested) == 0 {
			return refusal{}, false
		}
		inner := document{members: nested}
		found.code = inner.firstName("code", "type", "status", "error")
		if text := inner.first("message", "error_description", "description", "detail"); text != "" {
			found.description = text
		}
	default:
		found.code = inString(raw)
	}
	return found, true
}

func (d document) first(names ...string) string {
	for _, name := range names {
		if text := inString(d.members[name]); text != "" {
			return text
		}
	}
	return ""
}

// firstName is first without texts that cannot be an error code.
func (d document) firstName(names ...string) string {
	for _, name := range names {
		if text := inString(d.members[name]); text != "" && !strings.ContainsAny(text, " \t\r\n") {
			return text
		}
	}
	return ""
}

// inString returns the value of a JSON string, "" for everything else: a number is no error code.
func inString(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

// challengeRefusal reads the error of a WWW-Authenticate header (RFC 6750, section 3), whatever its scheme.
func challengeRefusal(header http.Header) (refusal, bool) {
	for _, challenge := range header.Values("WWW-Authenticate") {
		parameters := authParameters(challenge)
		if code := parameters["error"]; code != "" {
			return refusal{code: code, description: parameters["error_description"]}, true
		}
	}
	return refusal{}, false
}

// authParameters collects the name=value pairs of a challenge (RFC 9110, section 11.2), names in lower case. Schemes and
// everything malformed are skipped.
func authParameters(challenge string) map[string]string {
	found := map[string]string{}
	for rest := challenge; rest != ""; {
		before, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		name := strings.ToLower(strings.TrimSpace(before))
		if i := strings.LastIndexAny(name, " ,\t"); i >= 0 {
			name = name[i+1:]
		}
		var value string
		if after = strings.TrimLeft(after, " \t"); strings.HasPrefix(after, `"`) {
			value, rest = quoted(after[1:])
		} else {
			end := strings.IndexAny(after, ", \t")
			if end < 0 {
				end = len(after)
			}
			value, rest = after[:end], after[end:]
		}
		if _, seen := found[name]; !seen {
			found[name] = value
		}
	}
	return found
}

// quoted reads up to the closing quote, undoing backslashes, and returns what follows it.
func quoted(text string) (value, rest string) {
	var read strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return read.String(), text[i+1:]
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		read.WriteByte(text[i])
	}
	return read.String(), ""
}
