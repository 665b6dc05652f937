// SPDX-License-Identifier: Apache-2.0

// Package registration keeps the resolved client of each application: its credentials, endpoints and trust, as a Secret
// `client-{applicationUID}` in the operator's namespace. Every connection of the application talks to the provider with
// this copy and with nothing else, so it is also what revokes tokens after application, client Secret and CA have been
// deleted together with their namespace.
//
// The copy carries the pauses too: what a provider said against the client (`invalid_client`) or against its use of a
// grant type (`unauthorized_client`), shared by all connections and kept through restarts.
package registration
