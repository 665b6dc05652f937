// SPDX-License-Identifier: Apache-2.0

// Package oauth speaks OAuth 2.0 to providers: token requests (RFC 6749, with RFC 7636), revocation (RFC 7009),
// discovery (RFC 8414 and OpenID Connect) and the issuer check (RFC 9207).
//
// It is not built on golang.org/x/oauth2, which hides what this project must know of each call: whether the request may
// have reached the provider, what exactly was refused, and which tokens came with an answer that is otherwise broken.
//
// Every call is bounded in time and size, follows no redirect where credentials are sent, and sends a request at most
// once. Every failure of a call is an *Error.
package oauth
