// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
)

// StatusCallerGone is the status in a Record of a request whose caller went away before there was an answer.
const StatusCallerGone = 499

// Observer is told of each request when it is over.
type Observer interface {
	Done(record Record)
}

// Record is what is known of a request afterwards. It holds nothing of paths, queries, headers and bodies.
type Record struct {
	// Caller is the user name.
	Caller string
	// Application is what the caller has asked for, if it exists. Connection is empty until it is known that the caller may use it.
	Application, Connection types.NamespacedName
	// Method of the request to the provider.
	Method string
	// Host that the request went to, or should have, with its port if the URL has one; after redirects the last one.
	Host string
	// Status that the caller got; StatusCallerGone when it did not wait for one.
	Status int
	// Code of the API's own error; empty: the answer is the provider's.
	Code problem.Code
	// Cause is the error behind Code, or why the provider's answer broke off; nil where nothing is left to say. It holds no token.
	Cause error
	// Aborted : the caller did not get all of the answer.
	Aborted bool
	// Started is when the request came, Duration from then to the end of the answer.
	Started  time.Time
	Duration time.Duration
	// Attempts is how many requests were sent to providers; Retries and Redirects are how many of these were again, and elsewhere.
	Attempts, Retries, Redirects int
	// Sent is the length of the body from the caller, Received that of the provider's answer, in bytes.
	Sent, Received int64
	// Token is TokenRenewed, TokenRejected or empty: what became of the token.
	Token string
	// Renewal is why a token that the provider rejected was not renewed.
	Renewal error
}
