package serving_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
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
		if !bytes.Contains(line, []byte(strconv.Quote(user))) { // the log is long, and is looked at often
			continue
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

// different are what reviews are about, each once: what was forgotten is asked again.
func different(reviews []review) map[review]bool {
	about := map[review]bool{}
	for _, r := range reviews {
		r.at, r.LabelSelector, r.FieldSelector = time.Time{}, nil, nil
		about[r] = true
	}
	return about
}

// wait returns the reviews about a user when they are about as many different things as wanted: the log may be a moment behind the
// answers.
func (a auditLog) wait(t *testing.T, user string, want int) (reviews []review) {
	t.Helper()
	eventually(t, fmt.Sprintf("reviews of %d different things about %s", want, user), func() (bool, string) {
		reviews = a.of(t, user)
		return len(different(reviews)) >= want, fmt.Sprintf("%d reviews: %+v", len(reviews), reviews[max(0, len(reviews)-10):])
	})
	return reviews
}

// byGroup are the reviews of each API group.
func byGroup(reviews []review) map[string][]review {
	groups := map[string][]review{}
	for _, r := range reviews {
		groups[r.Group] = append(groups[r.Group], r)
	}
	return groups
}

// expectRemembered checks that all reviews are about everything of their group, and that no answer was forgotten too early.
func expectRemembered(t *testing.T, group string, reviews []review) {
	t.Helper()
	for i, r := range reviews {
		if !r.broad() {
			t.Errorf("%s: a review of %+v", group, r.ResourceAttributes)
		}
		if i > 0 && r.at.Sub(reviews[i-1].at) < memory {
			t.Errorf("%s: a review %s after another one", group, r.at.Sub(reviews[i-1].at))
		}
	}
}
