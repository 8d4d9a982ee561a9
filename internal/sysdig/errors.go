package sysdig

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
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
// shapes exist for 401 alone, and gateways answer with text, HTML or nothing. message is that of the body, and redact takes secrets out
// of it.
func statusFailure(status int, header http.Header, message string, redact func(string) string) *metric.Failure {
	return httpFailure("Sysdig", statusReason(status), status, header, message, redact)
}

// httpFailure is a failure with what an answer says of itself, which anybody on the way may have written. who names who answered, and
// message is that of its body.
func httpFailure(who string, reason metric.Reason, status int, header http.Header, message string, redact func(string) string) *metric.Failure {
	f := metric.Failf(reason, "%s answered HTTP %d", who, status)
	if text := clean(message, redact); text != "" {
		f.Message += ": " + text
	}
	f = withhold(f, fmt.Sprintf("%s answered HTTP %d%s", who, status, meaning(reason)))
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 {
		f.RetryAfter = min(time.Duration(min(seconds, int(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
	}
	return f
}

// meaning is what a refusal means, for tenants.
func meaning(reason metric.Reason) string {
	switch reason {
	case metric.Unauthorized:
		return ", which refuses the credential of the SysdigConnection; " + askPlatform
	case metric.RateLimited:
		return ", which asks for fewer requests; " + askPlatform
	case metric.Rejected:
		return ", which refuses the query"
	default:
		return "; " + askPlatform
	}
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
func bodyMessage(body io.Reader) string {
	s := newStream(io.LimitReader(body, maxErrorBody), nil)
	var fault, message, iam, first string
	some := false
	err := s.document(
		field{"error", func() error {
			if c, err := s.peek(); err != nil || c != '"' { // an error that is no text says nothing to a human
				return s.skip()
			}
			return s.into(&fault)()
		}},
		field{"message", s.into(&message)},
		field{"errorMessage", s.into(&iam)}, // of IBM Cloud IAM
		field{"errors", func() (err error) {
			first, some, err = s.errors()
			return err
		}},
	)
	switch {
	case err != nil:
		return ""
	case some:
		return first
	}
	return cmp.Or(message+iam, fault)
}

// errors reads a list of errors, and tells the first one and whether there are any.
func (s *stream) errors() (first string, some bool, err error) {
	if is, err := s.null(); is || err != nil {
		return "", false, err
	}
	err = s.list(func() error {
		if some {
			return s.skip()
		}
		some = true
		var reason, message string
		err := s.fields(field{"reason", s.into(&reason)}, field{"message", s.into(&message)})
		first = reason + ": " + message
		return err
	})
	return first, some, err
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
