// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"golang.org/x/net/http/httpguts"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// checkAPILimits judges how much of the provider's API may be used.
func checkAPILimits(spec *v1alpha1.OAuthApplicationSpec, _ definitions, _ Rules) error {
	limits := spec.APILimits
	if limits == nil {
		return nil
	}
	if err := checkRate("apiLimits.requestsPerSecond", limits.RequestsPerSecond); err != nil {
		return err
	}
	if connection := limits.Connection; connection != nil {
		if err := checkRate("apiLimits.connection.requestsPerSecond", connection.RequestsPerSecond); err != nil {
			return err
		}
	}
	for _, header := range []struct{ field, name string }{
		{"apiLimits.remainingHeader", limits.RemainingHeader}, {"apiLimits.resetHeader", limits.ResetHeader},
	} {
		if header.name != "" && !httpguts.ValidHeaderFieldName(header.name) {
			return &FieldError{Field: header.field, Message: "it is no name of a header"}
		}
	}
	if limits.RemainingHeader != "" && limits.ResetHeader == "" {
		return &FieldError{
			Field: "apiLimits.resetHeader", Message: "apiLimits.remainingHeader needs it: nobody would know when there will be more",
		}
	}
	return nil
}

func checkRate(field string, perSecond *resource.Quantity) error {
	if perSecond != nil && perSecond.AsApproximateFloat64() <= 0 {
		return &FieldError{Field: field, Message: "it must be greater than 0; leave it out for no limit"}
	}
	return nil
}
