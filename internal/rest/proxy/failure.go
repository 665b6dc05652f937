// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/redact"
	"github.com/oauth-operator/oauth-operator/internal/rest/problem"
	"github.com/oauth-operator/oauth-operator/internal/rest/traffic"
	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

// callerError is a failure that is the caller's: its body broke off or stood still.
type callerError struct{ cause error }

func (e *callerError) Error() string { return "the caller's body: " + e.cause.Error() }
func (e *callerError) Unwrap() error { return e.cause }

// cause returns why an attempt failed, which its error alone does not say.
func (x *exchange) cause(attempt context.Context, err error) error {
	late := (*lateError)(nil)
	switch {
	case errors.As(context.Cause(attempt), &late) && late.callers:
		return &callerError{late}
	case attempt.Err() != nil:
		return context.Cause(attempt)
	case x.body != nil && x.body.failed() != nil:
		return &callerError{x.body.failed()}
	}
	return err
}

// isOurs tells errors that say nothing about the provider.
func isOurs(err error) bool {
	var refused *problem.Error
	var blocked *egress.BlockedError
	var callers *callerError
	return errors.As(err, &refused) || errors.As(err, &blocked) || errors.As(err, &callers) ||
		errors.Is(err, context.Canceled) || errors.Is(err, errDeadline)
}

func outcomeOf(err error) traffic.Outcome {
	if isOurs(err) {
		return traffic.Neutral
	}
	return traffic.Dead
}

// mayPass tells whether an error may be another one later. Who was slow once has had its time.
func mayPass(err error) bool {
	late := (*lateError)(nil)
	return !isOurs(err) && !errors.As(err, &late) && !isTimeout(err) && !isCertificate(err)
}

func isTimeout(err error) bool {
	timeout := net.Error(nil)
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func isCertificate(err error) bool {
	verification, authority, hostname := (*tls.CertificateVerificationError)(nil), x509.UnknownAuthorityError{}, x509.HostnameError{}
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &hostname)
}

// failure is what the caller is told of an error: nothing that the provider sent, no address, and nothing of path and query.
func (x *exchange) failure(err error) error {
	refused := (*problem.Error)(nil)
	if errors.As(err, &refused) {
		return refused
	}
	if x.callerGone() {
		return problem.New(problem.ProviderTimeout, "the request was given up before %s answered", x.Host).Because(context.Canceled)
	}
	return x.told(err).Because(redact.Error(err, x.secrets()...))
}

func (x *exchange) told(err error) *problem.Error {
	var (
		blocked *egress.BlockedError
		callers *callerError
		late    *lateError
	)
	switch {
	case errors.As(err, &callers) && errors.As(err, &late):
		return problem.New(problem.InvalidRequest, "the request's body did not go on within %s", late.after)
	case errors.As(err, &callers):
		return problem.New(problem.InvalidRequest, "the request's body did not come whole")
	case errors.Is(err, errDeadline) && x.Attempts == 0:
		return x.unsent()
	case errors.Is(err, errDeadline):
		return problem.New(problem.ProviderTimeout, "%s did not answer within the %s of the header %s",
			x.Host, x.in.Header.Get(HeaderTimeout), HeaderTimeout)
	case errors.As(err, &late) && late.stage == sending:
		return problem.New(problem.ProviderTimeout, "%s did not take more of the body within %s", x.Host, late.after)
	case errors.As(err, &late):
		return problem.New(problem.ProviderTimeout, "%s did not answer within %s", x.Host, late.after)
	case errors.As(err, &blocked):
		return problem.New(problem.EgressRefused, "requests to %s are refused: %s; an administrator can permit them with %s",
			blocked.Host, blocked.Reason, egress.FlagAllow)
	case isTimeout(err):
		return problem.New(problem.ProviderTimeout, "%s could not be connected to in time", x.Host)
	}
	return problem.New(problem.ProviderUnreachable, "%s %s", x.Host, trouble(err))
}

// unsent is what the caller is told whose deadline has passed before anything was sent: whoever was asked last, for rights or for a
// token, is not to blame.
func (x *exchange) unsent() *problem.Error {
	return problem.New(problem.ProviderTimeout, "the %s of the header %s were over before the request could be sent",
		x.in.Header.Get(HeaderTimeout), HeaderTimeout)
}

// trouble says in words what happened to a connection.
func trouble(err error) string {
	name, record := (*net.DNSError)(nil), tls.RecordHeaderError{}
	switch {
	case errors.As(err, &name):
		return "is a name that could not be resolved"
	case isCertificate(err):
		return "has a certificate that is not trusted here, or is another's; a private authority goes into the application's caBundle"
	case errors.As(err, &record):
		return "does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "closed the connection before it answered"
	}
	return "could not be reached, or did not answer in HTTP"
}

func (x *exchange) secrets() []sensitive.String {
	secrets := []sensitive.String{x.credential.Token}
	for _, header := range x.credential.Headers {
		secrets = append(secrets, header.Value)
	}
	return secrets
}
