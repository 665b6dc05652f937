// SPDX-License-Identifier: Apache-2.0

// Package webhook takes the events by which providers tell that a person has ended a grant. An event whose signature is
// good, whose time is near and whose type is one that counts becomes messages to the controller (package pending), one for
// each connection that it is about. It is a hint and no more: the controller asks the provider before it believes.
//
// An event is taken once. Its identity is what the signature covers, so that nobody can send it again under another one:
// the id of Standard Webhooks, else a hash of the signed content with its time. The name of a message is made of that, and
// creating it a second time conflicts, at whatever replica. It is remembered for as long as the event's time would be
// accepted. Where a provider signs no time, that is twice the tolerance too: longer would hide a second event with the same
// words, which is what such a provider sends when a person ends a grant, grants again and ends that. Where alternatives let
// one event be signed in two ways, it can be taken twice; the controller verifies it twice.
package webhook
