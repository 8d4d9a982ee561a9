package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

const (
	custom   = "custom.metrics.k8s.io"
	external = "external.metrics.k8s.io"
	broad    = "broad"
)

// asked notes what an authorizer is asked, and answers.
type asked struct {
	mu       sync.Mutex
	requests []string
	answer   func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error)
}

func (a *asked) Authorize(ctx context.Context, r authorizer.Attributes) (authorizer.Decision, string, error) {
	a.mu.Lock()
	a.requests = append(a.requests, text(r))
	a.mu.Unlock()
	return a.answer(ctx, r)
}

// text is all that a SubjectAccessReview says of a request, but for the user.
func text(r authorizer.Attributes) string {
	if !r.IsResourceRequest() {
		return r.GetVerb() + " " + r.GetPath()
	}
	return fmt.Sprintf("%s %s/%s %s/%s %s/%s", r.GetVerb(), r.GetAPIGroup(), r.GetAPIVersion(), r.GetNamespace(), r.GetResource(), r.GetName(), r.GetSubresource())
}

// whole tells whether a request is about everything.
func whole(r authorizer.Attributes) bool { return r.GetResource() == "*" }

// read is a read of one object's metric by a broad user.
func read(change func(*authorizer.AttributesRecord)) authorizer.AttributesRecord {
	r := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: broad, Groups: []string{"system:authenticated"}}, Verb: "get", ResourceRequest: true,
		APIGroup: custom, APIVersion: "v1beta2", Namespace: "shop", Resource: "services", Name: "flask", Subresource: "requests",
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestWhichRequestsAreReviewedBroadly(t *testing.T) {
	const broadGet, broadList = "get " + custom + "/* /* /", "list " + external + "/* /* /"
	for name, test := range map[string]struct {
		change func(*authorizer.AttributesRecord)
		want   string // empty: the request itself
	}{
		"an object":                     {nil, broadGet},
		"an object by the old version":  {func(r *authorizer.AttributesRecord) { r.APIVersion = "v1beta1" }, broadGet},
		"a set":                         {func(r *authorizer.AttributesRecord) { r.Resource, r.Name = "pods", "*" }, broadGet},
		"a namespace":                   {func(r *authorizer.AttributesRecord) { r.Resource, r.Subresource = "metrics", "" }, broadGet},
		"an external metric":            {func(r *authorizer.AttributesRecord) { r.APIGroup, r.Verb, r.Name = external, "list", "" }, broadList},
		"somebody else":                 {func(r *authorizer.AttributesRecord) { r.User = &user.DefaultInfo{Name: "else"} }, ""},
		"somebody with a longer name":   {func(r *authorizer.AttributesRecord) { r.User = &user.DefaultInfo{Name: broad + "er"} }, ""},
		"nobody":                        {func(r *authorizer.AttributesRecord) { r.User = nil }, ""},
		"a list of custom metrics":      {func(r *authorizer.AttributesRecord) { r.Verb, r.Name = "list", "" }, ""},
		"a watch of an external metric": {func(r *authorizer.AttributesRecord) { r.APIGroup, r.Verb = external, "watch" }, ""},
		"a deletion":                    {func(r *authorizer.AttributesRecord) { r.Verb = "delete" }, ""},
		"another group":                 {func(r *authorizer.AttributesRecord) { r.APIGroup = "metrics.k8s.io" }, ""},
		"impersonation":                 {func(r *authorizer.AttributesRecord) { r.APIGroup, r.Verb, r.Resource = "", "impersonate", "users" }, ""},
		"discovery": {func(r *authorizer.AttributesRecord) {
			r.ResourceRequest, r.Path = false, "/apis/"+custom
		}, ""},
	} {
		request := read(test.change)
		inner := &asked{answer: func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionAllow, "because", nil
		}}
		b := newBroadAuthorizer(inner, []string{"another", broad})
		decision, reason, err := b.Authorize(t.Context(), request)
		if decision != authorizer.DecisionAllow || reason != "because" || err != nil {
			t.Errorf("%s: %s, %q, %v", name, decision, reason, err)
		}
		want := test.want
		if want == "" {
			want = text(request)
		}
		if !slices.Equal(inner.requests, []string{want}) {
			t.Errorf("%s: the inner authorizer was asked %q, want %q", name, inner.requests, want)
		}
	}
}

func TestWhoMayNotReadEverythingIsAskedAboutTheRequestItself(t *testing.T) {
	type answer struct {
		decision authorizer.Decision
		reason   string
		err      error
	}
	failure := errors.New("no connection")
	exact := []answer{{authorizer.DecisionAllow, "narrow", nil}, {authorizer.DecisionDeny, "denied", nil}, {authorizer.DecisionNoOpinion, "", failure}}
	for _, first := range []answer{
		{authorizer.DecisionNoOpinion, "", nil}, {authorizer.DecisionDeny, "not everything", nil}, {authorizer.DecisionNoOpinion, "", failure},
		{authorizer.DecisionAllow, "a contradiction", failure},
	} {
		for _, then := range exact {
			inner := &asked{answer: func(_ context.Context, r authorizer.Attributes) (authorizer.Decision, string, error) {
				if whole(r) {
					return first.decision, first.reason, first.err
				}
				return then.decision, then.reason, then.err
			}}
			b := newBroadAuthorizer(inner, []string{broad})
			request := read(nil)
			decision, reason, err := b.Authorize(t.Context(), request)
			if got := (answer{decision, reason, err}); got != then || inner.requests[len(inner.requests)-1] != text(request) {
				t.Errorf("after %+v for everything: %+v, want %+v", first, got, then)
			}
			aware := b.ConditionsAwareAuthorize(t.Context(), request)
			if aware.IsAllow() != (then.decision == authorizer.DecisionAllow) || aware.IsDeny() != (then.decision == authorizer.DecisionDeny) {
				t.Errorf("after %+v for everything: %v with conditions, want %+v", first, aware, then)
			}
		}
	}
}

// TestNothingButTheInnerAuthorizerRemembers: a right that is taken away ends when that forgets, which is after ten seconds.
func TestNothingButTheInnerAuthorizerRemembers(t *testing.T) {
	inner := &asked{answer: func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		return authorizer.DecisionAllow, "", nil
	}}
	b := newBroadAuthorizer(inner, []string{broad})
	for range 3 {
		if decision, _, err := b.Authorize(t.Context(), read(nil)); decision != authorizer.DecisionAllow || err != nil {
			t.Fatalf("%s, %v", decision, err)
		}
	}
	if len(inner.requests) != 3 {
		t.Errorf("the inner authorizer was asked %q for three reads", inner.requests)
	}
	const memory = 10 * time.Second
	if o := New(Config{}, nil, nil).options().Authorization; o.AllowCacheTTL != memory || o.DenyCacheTTL != memory {
		t.Errorf("a leave is remembered for %s and a refusal for %s, want %s", o.AllowCacheTTL, o.DenyCacheTTL, memory)
	}
}

// TestReadersAtTheSameTimeShareOneReview begins with many readers at once and nothing remembered, as after a start.
func TestReadersAtTheSameTimeShareOneReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &asked{answer: slow(time.Second)}
		b := newBroadAuthorizer(inner, []string{broad})
		leaving, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer leave()
		var readers sync.WaitGroup
		var cancelled, allowed int
		var mu sync.Mutex
		for i := range 50 {
			readers.Go(func() {
				ctx := t.Context()
				if i < 10 {
					ctx = leaving
				}
				if i > 0 {
					time.Sleep(time.Millisecond) // The first one begins, and does not stay.
				}
				decision, _, err := b.Authorize(ctx, read(func(r *authorizer.AttributesRecord) { r.Name = fmt.Sprint(i) }))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case decision == authorizer.DecisionAllow && err == nil:
					allowed++
				case errors.Is(err, context.DeadlineExceeded):
					cancelled++
				}
			})
		}
		readers.Wait()
		broadly := slices.DeleteFunc(slices.Clone(inner.requests), func(r string) bool { return r != "get "+custom+"/* /* /" })
		if allowed != 40 || cancelled != 10 || len(broadly) != 1 {
			t.Errorf("%d allowed, %d cancelled, %d broad reviews; want 40, 10, 1", allowed, cancelled, len(broadly))
		}
	})
}

// slow allows everything after a while, to those that wait for it.
func slow(takes time.Duration) func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return func(ctx context.Context, _ authorizer.Attributes) (authorizer.Decision, string, error) {
		select {
		case <-ctx.Done():
			return authorizer.DecisionNoOpinion, "", ctx.Err()
		case <-time.After(takes):
			return authorizer.DecisionAllow, "", nil
		}
	}
}

// TestIdentitiesDoNotShareAReview holds what an authorizer may tell apart: a token of a broad user may be allowed less.
func TestIdentitiesDoNotShareAReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &asked{answer: func(ctx context.Context, r authorizer.Attributes) (authorizer.Decision, string, error) {
			if decision, reason, err := slow(time.Second)(ctx, r); err != nil {
				return decision, reason, err
			}
			if len(r.GetUser().GetExtra()["scopes"]) > 0 || slices.Contains(r.GetUser().GetGroups(), "restricted") || r.GetUser().GetUID() == "old" {
				return authorizer.DecisionDeny, "", nil
			}
			return authorizer.DecisionAllow, "", nil
		}}
		b := newBroadAuthorizer(inner, []string{broad})
		var readers sync.WaitGroup
		for _, test := range []struct {
			who  user.DefaultInfo
			want authorizer.Decision
		}{
			{user.DefaultInfo{Name: broad}, authorizer.DecisionAllow},
			{user.DefaultInfo{Name: broad, UID: "old"}, authorizer.DecisionDeny},
			{user.DefaultInfo{Name: broad, Groups: []string{"restricted"}}, authorizer.DecisionDeny},
			{user.DefaultInfo{Name: broad, Extra: map[string][]string{"scopes": {"none"}}}, authorizer.DecisionDeny},
		} {
			readers.Go(func() {
				decision, _, err := b.Authorize(t.Context(), read(func(r *authorizer.AttributesRecord) { r.User = &test.who }))
				if decision != test.want || err != nil {
					t.Errorf("%+v: %s, %v, want %s", test.who, decision, err, test.want)
				}
			})
		}
		readers.Wait()
	})
}

func TestABroadReviewThatHangsEndsAndTheRequestItselfIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &asked{answer: func(ctx context.Context, r authorizer.Attributes) (authorizer.Decision, string, error) {
			if whole(r) {
				return slow(time.Hour)(ctx, r)
			}
			return authorizer.DecisionAllow, "narrow", nil
		}}
		started := time.Now()
		decision, reason, err := newBroadAuthorizer(inner, []string{broad}).Authorize(t.Context(), read(nil))
		if decision != authorizer.DecisionAllow || reason != "narrow" || err != nil || time.Since(started) != broadReviewDeadline {
			t.Errorf("%s, %q, %v after %s", decision, reason, err, time.Since(started))
		}
	})
}
