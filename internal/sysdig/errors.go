package sysdig

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// maxMessage bounds what an answer may put into a condition, an Event or a log line, in bytes.
const maxMessage = 300

// maxRetryAfter bounds how long an answer may silence us. Sysdig's OpenAPI document allows 1 to 14400 seconds.
const maxRetryAfter = 4 * time.Hour

// statusFailure turns an answer that is no success into a failure. The status code alone decides the reason: three body
// shapes exist for 401 alone, and gateways answer with text, HTML or nothing. redact takes secrets out of the text.
func statusFailure(status int, header http.Header, body []byte, redact func(string) string) *metric.Failure {
	return httpFailure("Sysdig", statusReason(status), status, header, body, redact)
}

// httpFailure is a failure with what an answer says of itself. who names who answered.
func httpFailure(who string, reason metric.Reason, status int, header http.Header, body []byte, redact func(string) string) *metric.Failure {
	f := metric.Failf(reason, "%s answered HTTP %d", who, status)
	if text := clean(bodyMessage(body), redact); text != "" {
		f.Message += ": " + text
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 {
		f.RetryAfter = min(time.Duration(min(seconds, int(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
	}
	return f
}

func statusReason(status int) metric.Reason {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return metric.Unauthorized
	case http.StatusTooManyRequests:
		return metric.RateLimited
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return metric.Rejected
	default:
		return metric.Unavailable
	}
}

// bodyMessage finds the human part of an error body in any of the shapes that Sysdig uses, as it was sent. Bodies that
// are not JSON (HTML of a proxy) are left out.
func bodyMessage(body []byte) string {
	var shapes struct {
		Error        json.RawMessage `json:"error"`
		Message      string          `json:"message"`
		ErrorMessage string          `json:"errorMessage"` // of IBM Cloud IAM
		Errors       []struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &shapes) != nil {
		return ""
	}
	if len(shapes.Errors) > 0 {
		return shapes.Errors[0].Reason + ": " + shapes.Errors[0].Message
	}
	if text := shapes.Message + shapes.ErrorMessage; text != "" {
		return text
	}
	var text string
	_ = json.Unmarshal(shapes.Error, &text) // an error that is no text says nothing to a human
	return text
}

// transportFailure turns an error of the transport to Sysdig into a failure.
func (c *Client) transportFailure(err error) *metric.Failure {
	return transportFailure("Sysdig", err, c.redact)
}

// transportFailure turns an error of the transport into a failure. The address is left out of the message, but not the
// host: it is the part of the error that a human needs. who names who was asked.
func transportFailure(who string, err error, redact func(string) string) *metric.Failure {
	f := &metric.Failure{Reason: metric.Unavailable, Err: err}
	if text := err.Error(); redact(text) != text { // net/http quotes a malformed answer, which may echo the request
		f.Err = nil
	}
	var urlError *url.Error
	if errors.As(err, &urlError) {
		err = urlError.Err
	}
	var timeout net.Error
	var untrusted *tls.CertificateVerificationError
	var forbidden *forbiddenError
	var redirected *redirectError
	switch {
	case errors.As(err, &forbidden):
		f.Message = fmt.Sprintf("nothing was sent to %s: %s, where the operator sends nothing; correct spec.endpoint of the connection, or have the operator's flag --allow-endpoint-networks allow that network",
			who, forbidden.why)
	case errors.As(err, &redirected) && redirected.region() != "":
		f.Message = fmt.Sprintf("%s redirects to %s, which is its region %s and is not followed so that the token stays where it belongs; correct spec.endpoint of the connection",
			who, clean(redirected.to.Hostname(), redact), redirected.region())
		f.Err = &CredentialError{CredentialWrongRegion}
	case errors.Is(err, errRedirect):
		f.Message = who + " redirects to another address, which is not followed so that the token stays where it belongs; correct spec.endpoint of the connection"
	case errors.As(err, &untrusted):
		f.Message = "the certificate of " + who + " is not trusted (check spec.endpoint.caBundle of the connection): " + clean(untrusted.Err.Error(), redact)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.Message = who + " did not answer in time"
	default:
		f.Message = "the request to " + who + " failed: " + clean(err.Error(), redact)
	}
	return f
}

// clean makes text of Sysdig's fit for a condition.
func (c *Client) clean(text string) string { return clean(text, c.redact) }

// clean makes text of a stranger fit for a condition: one line, printable, without secrets, bounded. Secrets are looked for in what is
// left of the text, and before it is cut.
func clean(text string, redact func(string) string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = redact(strings.Join(strings.Fields(text), " "))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}
