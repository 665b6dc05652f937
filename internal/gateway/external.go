// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// ParseExternalURL reads the gateway's public address: https, or http to this machine alone, with or without a path that
// everything is served below. The result has no slash at its end. The error is a clause that says what is wrong.
func ParseExternalURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("it is needed: the address that people and providers reach the gateway at, such as https://oauth.example.com")
	}
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Hostname() == "" {
		return nil, errors.New("want an absolute URL such as https://oauth.example.com")
	}
	switch {
	case parsed.Scheme == "http" && !isLoopback(parsed.Hostname()):
		return nil, errors.New("plain http is for this machine alone (localhost, 127.0.0.1, [::1]): cookies and codes must not travel in the clear; want https")
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		return nil, errors.New("want an https URL such as https://oauth.example.com")
	case parsed.User != nil || strings.ContainsAny(raw, "?#"):
		return nil, errors.New("it must have no user name, query or fragment")
	}
	prefix := strings.TrimSuffix(parsed.Path, "/")
	if prefix != "" && (path.Clean(prefix) != prefix || parsed.EscapedPath() != parsed.Path || strings.Contains(prefix, "%")) {
		return nil, errors.New("its path must be a plain one such as /oauth")
	}
	return &url.URL{Scheme: parsed.Scheme, Host: strings.ToLower(parsed.Host), Path: prefix}, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
