// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/hex"
	"strings"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

const (
	upperHex = "0123456789ABCDEF"
	// inPath and inQuery are what a path and a query may hold unescaped beside letters and digits (RFC 3986, sections 3.3 and
	// 3.4). Brackets are let through, since APIs have them in queries; % begins an escape.
	inPath  = "-._~!$&'()*+,;=:@/[]%"
	inQuery = inPath + "?^`{|}"
	// decodings is how often a path may have been escaped by somebody who wants to hide dots in it.
	decodings = 4
)

// safePath judges a path as it stands in a request line, and escapes what ought to have been. It refuses what some server on
// the way might take for a step up: "." and ".." segments, however often escaped, between slashes and backslashes, escaped or
// not, and with parameters behind them. An escaped slash by itself stays: APIs name things with it.
func safePath(path string) (string, error) {
	if strings.Contains(path, `\`) {
		return "", problem.New(problem.InvalidRequest, `the path must not have a backslash`)
	}
	decoded := path
	for range decodings {
		if hasControl(decoded) {
			return "", problem.New(problem.InvalidRequest, "the path must not have control characters")
		}
		if hasDots(decoded) {
			return "", problem.New(problem.InvalidRequest, `the path must not have "." or ".." segments`)
		}
		next := decode(decoded)
		if next == decoded {
			return escape(path, inPath), nil
		}
		decoded = next
	}
	return "", problem.New(problem.InvalidRequest, "the path is escaped more than once too often")
}

// decode removes one layer of escapes, as a server would that forgives those that encode nothing.
func decode(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			if b, err := hex.DecodeString(path[i+1 : i+3]); err == nil {
				c, i = b[0], i+2
			}
		}
		decoded = append(decoded, c)
	}
	return string(decoded)
}

func hasDots(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || name == ".." {
			return true
		}
	}
	return false
}

// safeQuery keeps a query as it is, but for what must not stand in a request line.
func safeQuery(query string) (string, error) {
	if hasControl(query) {
		return "", problem.New(problem.InvalidRequest, "the query must not have control characters")
	}
	return escape(query, inQuery), nil
}

func hasControl(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return true
		}
	}
	return false
}

// escape percent-encodes the bytes that are neither letters nor digits nor among others.
func escape(text, others string) string {
	var escaped strings.Builder
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(others, c) >= 0 {
			continue
		}
		escaped.WriteString(text[from:i])
		escaped.Write([]byte{'%', upperHex[c>>4], upperHex[c&0xf]})
		from = i + 1
	}
	if from == 0 {
		return text
	}
	escaped.WriteString(text[from:])
	return escaped.String()
}
