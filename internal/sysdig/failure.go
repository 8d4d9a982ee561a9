package sysdig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// transportFailure turns an error of the transport to Sysdig into a failure.
func (c *Client) transportFailure(err error) *metric.Failure {
	return transportFailure("Sysdig", err, c.redact)
}

// transportFailure turns an error of the transport into a failure. Tenants are told its class. The detail has the host, which is the part
// of the error that the platform team needs, and not the address that was asked. who names who was asked.
func transportFailure(who string, err error, redact func(string) string) *metric.Failure {
	f := &metric.Failure{Reason: metric.Unavailable, Message: classOf(who, err) + "; " + askPlatform, Err: err}
	if text := err.Error(); redact(text) != text { // net/http quotes a malformed answer, which may echo the request
		f.Err = nil
	}
	var redirected *redirectError
	if errors.As(err, &redirected) && redirected.region() != "" {
		f.Err = &CredentialError{CredentialWrongRegion}
	}
	f.Detail = detailOf(who, err, redact)
	return f
}

// classOf says of what kind an error of the transport is. All words are of its own: errors hold names and addresses of the platform.
func classOf(who string, err error) string {
	var forbidden *forbiddenError
	var proxy *proxyError
	var name *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &forbidden):
		return fmt.Sprintf("nothing was sent to %s: the operator's rules for addresses refuse the endpoint", who)
	case errors.Is(err, errRedirect):
		return who + " redirects to another address, which is not followed so that the token stays where it belongs"
	case errors.As(err, &proxy), operation(err) == "proxyconnect", operation(err) == "socks connect":
		return fmt.Sprintf("the request to %s failed: the operator's proxy could not be used", who)
	case errors.As(err, &name):
		return fmt.Sprintf("the request to %s failed: its name could not be resolved", who)
	case untrusted(err):
		return fmt.Sprintf("the certificate of %s is not trusted", who)
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("the request to %s was canceled", who)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return who + " did not answer in time"
	case operation(err) == "dial":
		return fmt.Sprintf("the request to %s failed: the connection could not be made%s", who, systemSays(err))
	case insecure(err):
		return fmt.Sprintf("the request to %s failed: no secure connection (TLS) could be agreed on", who)
	case operation(err) != "", errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("the request to %s failed: the connection ended before the answer did%s", who, systemSays(err))
	default:
		return fmt.Sprintf("the request to %s failed: no proper answer came", who)
	}
}

// operation is what the network failed to do, such as dial, read or proxyconnect; empty when it is not known.
func operation(err error) string {
	var of *net.OpError
	if errors.As(err, &of) {
		return of.Op
	}
	return ""
}

// systemSays is what the operating system says of an error, which is one of few texts without names.
func systemSays(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return " (" + number.Error() + ")"
	}
	return ""
}

func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// insecure tells whether TLS failed for another reason than the certificate.
func insecure(err error) bool {
	var header tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &header) || errors.As(err, &alert) || operation(err) == "remote error" || operation(err) == "local error"
}

// detailOf says in full what happened, and what the platform team may do.
func detailOf(who string, err error, redact func(string) string) string {
	var urlError *url.Error
	if errors.As(err, &urlError) {
		err = urlError.Err
	}
	var timeout net.Error
	var untrusted *tls.CertificateVerificationError
	var forbidden *forbiddenError
	var redirected *redirectError
	var name *net.DNSError
	switch {
	case errors.As(err, &forbidden):
		return fmt.Sprintf("nothing was sent to %s: %s, where the operator sends nothing; correct spec.endpoint of the connection, or have the operator's flag --allow-endpoint-networks allow that network",
			who, forbidden.why)
	case errors.As(err, &redirected) && redirected.region() != "":
		return fmt.Sprintf("%s redirects to %s, which is its region %s and is not followed so that the token stays where it belongs; correct spec.endpoint of the connection",
			who, clean(redirected.to.Hostname(), redact), redirected.region())
	case errors.Is(err, errRedirect):
		return who + " redirects to another address, which is not followed so that the token stays where it belongs; correct spec.endpoint of the connection"
	case errors.As(err, &untrusted):
		return "the certificate of " + who + " is not trusted (check spec.endpoint.caBundle of the connection): " + clean(untrusted.Err.Error(), redact)
	case errors.As(err, &name):
		return "the name of " + who + " could not be resolved (check spec.endpoint of the connection, and DNS): " + clean(name.Error(), redact)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return who + " did not answer in time"
	default:
		return "the request to " + who + " failed: " + clean(err.Error(), redact)
	}
}
