package serving_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// servers is the user that the servers are for the API server.
const servers = "system:serviceaccount:default:metrics"

// auditLog is the path of an API server's audit log.
type auditLog string

// review is one SubjectAccessReview as the API server received it.
type review struct {
	authorizationv1.ResourceAttributes
	at time.Time
}

// broad tells whether a review is about everything of an API group.
func (r review) broad() bool {
	return r.ResourceAttributes == authorizationv1.ResourceAttributes{Verb: r.Verb, Group: r.Group, Version: "*", Resource: "*"}
}

// object is a review's object.
func (r review) object() string { return fmt.Sprintf("%s/%s/%s", r.Namespace, r.Resource, r.Name) }

// of are the reviews about a user that servers asked for, oldest first.
func (a auditLog) of(t *testing.T, user string) []review {
	t.Helper()
	log, err := os.ReadFile(string(a))
	if err != nil {
		t.Fatal(err)
	}
	var reviews []review
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if event.User.Username != servers || event.RequestObject == nil { // nothing arrived of one whose reader had left
			continue
		}
		var sar authorizationv1.SubjectAccessReview
		if err := json.Unmarshal(event.RequestObject.Raw, &sar); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if sar.Spec.User == user && sar.Spec.ResourceAttributes != nil {
			reviews = append(reviews, review{*sar.Spec.ResourceAttributes, event.RequestReceivedTimestamp.Time})
		}
	}
	slices.SortFunc(reviews, func(a, b review) int { return a.at.Compare(b.at) }) // The log has them as they were answered.
	return reviews
}

// wait returns the reviews about a user when there are as many as wanted: the log may be a moment behind the answers.
func (a auditLog) wait(t *testing.T, user string, want int) []review {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		reviews := a.of(t, user)
		if len(reviews) >= want || time.Now().After(deadline) {
			return reviews
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// byGroup are the reviews of each API group.
func byGroup(reviews []review) map[string][]review {
	groups := map[string][]review{}
	for _, r := range reviews {
		groups[r.Group] = append(groups[r.Group], r)
	}
	return groups
}
