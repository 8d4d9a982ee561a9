package serving

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
)

// broadReviewDeadline is how long readers wait together for one broad review. It is that of a single SubjectAccessReview.
const broadReviewDeadline = 10 * time.Second

// broadAuthorizer asks for named users whether they may read everything of an API group before it asks whether they may
// read one object: the reviews of an authorizer that remembers its answers are then as many whatever is read. Who may
// not read everything is reviewed for each object like everybody else.
//
// It remembers nothing itself, so a right that is taken away ends when the inner authorizer forgets. That is sound for
// inner authorizers whose leave for the whole includes leave for every part, such as RBAC, which only ever allows.
//
// It does not embed the inner one, whose further methods would then decide without it.
type broadAuthorizer struct {
	inner   authorizer.UnconditionalAuthorizer
	readers []string
	reviews singleflight.Group // of broad reviews under way, by who asks for what
}

// newBroadAuthorizer gives broad reviews to the readers, which are names of users.
func newBroadAuthorizer(inner authorizer.UnconditionalAuthorizer, readers []string) *broadAuthorizer {
	return &broadAuthorizer{inner: inner, readers: readers}
}

// Authorize allows what the inner authorizer allows, for the group as a whole or for the request itself.
func (b *broadAuthorizer) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if b.isBroad(a) {
		if reason, allowed := b.review(ctx, a.GetUser(), a.GetVerb(), a.GetAPIGroup()); allowed {
			return authorizer.DecisionAllow, reason, nil
		}
	}
	return b.inner.Authorize(ctx, a)
}

// ConditionsAwareAuthorize is Authorize: no decision has conditions.
func (b *broadAuthorizer) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(b.Authorize(ctx, a))
}

// EvaluateConditions fails: no decision has conditions.
func (*broadAuthorizer) EvaluateConditions(
	context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData,
) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// isBroad tells whether a request is a read of a broad reader.
func (b *broadAuthorizer) isBroad(a authorizer.Attributes) bool {
	who := a.GetUser()
	return who != nil && a.IsResourceRequest() && a.GetVerb() == readVerb(a.GetAPIGroup()) && slices.Contains(b.readers, who.GetName())
}

// readVerb is the verb that every read of a group has: custom metrics are read with the object's name or "*" in its place,
// external metrics without a name, and that makes a GET a get or a list (k8s.io/apiserver/pkg/endpoints/request). With one
// verb a group needs one review. It is empty for groups that are not ours.
func readVerb(group string) string {
	switch group {
	case custom_metrics.GroupName:
		return "get"
	case external_metrics.GroupName:
		return "list"
	default:
		return ""
	}
}

// review asks whether the user may read everything of a group. Callers that ask the same at the same time share one
// review, which goes on without those that leave. An error is no leave.
func (b *broadAuthorizer) review(ctx context.Context, who user.Info, verb, group string) (reason string, allowed bool) {
	// All of the user, not the name alone: an authorizer may let one token of a user do less than another.
	key := fmt.Sprintf("%q %q %q %q %q %q", verb, group, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra())
	answer := b.reviews.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), broadReviewDeadline)
		defer cancel()
		decision, reason, err := b.inner.Authorize(ctx, authorizer.AttributesRecord{
			User: who, Verb: verb, APIGroup: group, APIVersion: "*", Resource: "*", ResourceRequest: true,
		})
		return leave{reason, decision == authorizer.DecisionAllow && err == nil}, nil
	})
	select {
	case <-ctx.Done():
		return "", false
	case result := <-answer:
		given, ok := result.Val.(leave)
		return given.reason, ok && given.allowed
	}
}

// leave is the answer to a broad review.
type leave struct {
	reason  string
	allowed bool
}
