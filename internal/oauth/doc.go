// SPDX-License-Identifier: Apache-2.0

// Package oauth speaks OAuth 2.0 to providers: token requests (RFC 6749, with RFC 7636) for every grant (RFC 7523, RFC
// 8628, RFC 8693 and any extension), client authentication (RFC 7523, RFC 8705), revocation (RFC 7009), introspection (RFC
// 7662), discovery (RFC 8414 and OpenID Connect) and the issuer check (RFC 9207). It makes the GETs of a provider's own API
// too, by which accounts are looked up and grants are checked.
//
// How a provider differs from the standards is data of a request: headers, the format of the body, names of parameters,
// and a ResponseMapping of JSONPaths (RFC 9535). No provider is known by name.
//
// It is not built on golang.org/x/oauth2, which hides what this project must know of each call: whether the request may
// have reached the provider, what exactly was refused, and which tokens came with an answer that is otherwise broken.
//
// Every call is bounded in time and size, follows no redirect where credentials are sent, and sends a request at most
// once. Every failure of a call is an *Error.
package oauth
