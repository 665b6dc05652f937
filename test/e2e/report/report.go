// SPDX-License-Identifier: Apache-2.0

// Package report is what the programs in the pods of the real-cluster suite say, and how the suite reads it.
package report

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Path is where the OAuth server answers with a Report, on a port of its own.
const Path = "/report"

// Report is what the OAuth server has seen since its start.
type Report struct {
	// Refreshes and Revocations that succeeded.
	Refreshes   int `json:"refreshes"`
	Revocations int `json:"revocations"`
	// Reuse counts codes and refresh tokens that came in after they had been redeemed.
	Reuse int `json:"reuse"`
	// Issued is every code and token ever made: what no log may contain.
	Issued []string `json:"issued"`
}

// Request is what the provider's API was asked for, and its answer.
type Request struct {
	Method string `json:"method"`
	// URI is path and query.
	URI  string `json:"uri"`
	Body string `json:"body"`
}

// Headers between the suite and the relay in a pod.
const (
	// NewConnection, of whatever value, asks for a connection that is used for this request alone.
	NewConnection = "Relay-New-Connection"
	// Broken says why the relay has no answer.
	Broken = "Relay-Broken"
)

// Sighting is one line of a workload's log: the content of a mounted file, as it was from a time on.
type Sighting struct {
	Time time.Time `json:"time"`
	// Hash names the content without telling it.
	Hash string `json:"hash"`
}

// Hash returns the hexadecimal SHA-256 of a file's content.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
