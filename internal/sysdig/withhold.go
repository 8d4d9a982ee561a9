package sysdig

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// askPlatform is the cure of what a tenant cannot mend and may not see in full.
const askPlatform = "ask the platform team: the conditions of the SysdigConnection and the operator's log say more"

// QueryError is the cause of failures that speak about the query. Message is for its author; others may share the query, and what Sysdig
// says of it may name what is theirs.
type QueryError struct{ Message string }

// Error implements error.
func (e *QueryError) Error() string { return e.Message }

// withhold leaves what a failure says to the platform team, and to the author of a query what speaks about that.
func withhold(f *metric.Failure, message string) *metric.Failure {
	withheld := f.Withhold(message)
	if f.Reason == metric.Rejected && !internal(f.Message) {
		withheld.Err = &QueryError{f.Message}
	}
	return withheld
}

// hostAndPort finds what looks like a host with a port. Positions in a query, such as 1:5, and the ranges of subqueries are none.
var hostAndPort = regexp.MustCompile(`(?i)\b[a-z][a-z0-9.-]+:[0-9]{2,5}\b`)

// internal tells whether a text may speak of hosts. Servers behind Sysdig, and gateways before it, put what they connect to into their
// errors.
func internal(text string) bool {
	phrases := []string{"://", "dial ", "lookup ", "upstream", "rpc error", "x509", ".svc", ".local", ".internal"}
	if slices.ContainsFunc(phrases, func(phrase string) bool { return strings.Contains(text, phrase) }) || hostAndPort.MatchString(text) {
		return true
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF.:", r) })
	return slices.ContainsFunc(words, func(word string) bool { return isAddress(word) || isAddress(strings.TrimRight(word, ".:")) })
}

func isAddress(word string) bool {
	_, err := netip.ParseAddr(word)
	_, withPort := netip.ParseAddrPort(word)
	return err == nil || withPort == nil
}
