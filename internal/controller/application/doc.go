// SPDX-License-Identifier: Apache-2.0

// Package application reconciles OAuthApplications: it resolves the client (spec, Secrets, CA, discovery), keeps the
// result for the connections (internal/registration), counts those, and reports.
//
// One pass gathers facts, decides without I/O, acts, and patches the status once if it has changed. Nothing is asked of
// a provider in a pass: discovery runs in the application's lane of the call queue and wakes the controller up.
package application
