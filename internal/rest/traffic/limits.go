// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"cmp"
	"math"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// Defaults of spec.apiLimits.
const (
	DefaultMaxConcurrent           = 256
	DefaultConnectionMaxConcurrent = 64
)

// Limits bound the requests to a provider's API. Each process of the API counts for itself.
type Limits struct {
	// Application bounds the requests of all its connections together, Connection those of each one.
	Application, Connection Limit
}

// Limit bounds requests.
type Limit struct {
	// RequestsPerSecond is the rate at which requests start, with bursts of one second's worth and at least one. Zero or
	// less, or not a number: no bound.
	RequestsPerSecond float64
	// MaxConcurrent is the number of requests at once; at least 1.
	MaxConcurrent int
}

// LimitsOf returns the limits of an effective spec; nil has the defaults.
func LimitsOf(spec *v1alpha1.APILimits) Limits {
	if spec == nil {
		spec = &v1alpha1.APILimits{}
	}
	connection := spec.Connection
	if connection == nil {
		connection = &v1alpha1.ConnectionAPILimits{}
	}
	return Limits{
		Application: Limit{
			RequestsPerSecond: perSecond(spec.RequestsPerSecond),
			MaxConcurrent:     cmp.Or(int(spec.MaxConcurrent), DefaultMaxConcurrent),
		},
		Connection: Limit{
			RequestsPerSecond: perSecond(connection.RequestsPerSecond),
			MaxConcurrent:     cmp.Or(int(connection.MaxConcurrent), DefaultConnectionMaxConcurrent),
		},
	}
}

func perSecond(quantity *resource.Quantity) float64 {
	if quantity == nil {
		return 0
	}
	return quantity.AsApproximateFloat64()
}

// hasRate is false for NaN and infinity, too.
func (l Limit) hasRate() bool {
	return l.RequestsPerSecond > 0 && !math.IsInf(l.RequestsPerSecond, 1)
}

func (l Limit) burst() int {
	return int(min(max(1, math.Ceil(l.RequestsPerSecond)), math.MaxInt32))
}

// RateLimitHeaders are the headers in which a provider tells of its own limit; empty names: it does not.
type RateLimitHeaders struct {
	// Remaining says how many requests are left, Reset when there will be more.
	Remaining, Reset string
}

// HeadersOf returns the names of an effective spec; nil has none.
func HeadersOf(spec *v1alpha1.APILimits) RateLimitHeaders {
	if spec == nil {
		return RateLimitHeaders{}
	}
	return RateLimitHeaders{Remaining: spec.RemainingHeader, Reset: spec.ResetHeader}
}
