package serving

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/util/flowcontrol"
)

// hold sends requests of a user that do not end before the test does, and returns how many of them are executed.
func hold(t *testing.T, f *fairness, who user.Info, requests int) (executed int) {
	t.Helper()
	return holdOf(t, f, flowcontrol.RequestDigest{User: who, RequestInfo: &request.RequestInfo{IsResourceRequest: true}}, requests)
}

func holdOf(t *testing.T, f *fairness, digest flowcontrol.RequestDigest, requests int) (executed int) {
	t.Helper()
	end := make(chan struct{})
	var all sync.WaitGroup
	t.Cleanup(func() { close(end); all.Wait() })
	began, refused := make(chan struct{}), make(chan struct{})
	f.refused = func() { refused <- struct{}{} }
	for range requests {
		all.Go(func() {
			f.Handle(t.Context(), digest,
				func(*flowcontrolv1.FlowSchema, *flowcontrolv1.PriorityLevelConfiguration, string) {}, nil, nil,
				func() { began <- struct{}{}; <-end })
		})
		select {
		case <-began:
			executed++
		case <-refused:
		}
	}
	return executed
}

func named(name string, groups ...string) user.Info {
	return &user.DefaultInfo{Name: name, Groups: groups}
}

func TestPlacesAreShared(t *testing.T) {
	f := newFairness([]string{"hpa"}, nil)
	if got := hold(t, f, named("a"), 1000); got != othersInFlight/2 {
		t.Errorf("a user who is alone gets %d places, want half of %d", got, othersInFlight)
	}
	second := hold(t, f, named("b"), 1000)
	if second < othersInFlight/4 {
		t.Errorf("who comes second gets %d places of %d", second, othersInFlight)
	}
	if got := hold(t, f, named("a"), 10); got != 0 {
		t.Errorf("the first gets %d more", got)
	}
	for i := range 5 {
		if got := hold(t, f, named(fmt.Sprint("late-", i)), 1000); got == 0 && i < 4 {
			t.Errorf("user %d gets nothing", i+3)
		}
	}
	if f.others.taken > othersInFlight {
		t.Errorf("%d places are taken, there are %d", f.others.taken, othersInFlight)
	}
	if got := hold(t, f, named("hpa"), 1000); got != broadInFlight {
		t.Errorf("the broad reader gets %d places beside all others, want its own %d", got, broadInFlight)
	}
	if got := hold(t, f, named("system:kube-aggregator", user.SystemPrivilegedGroup), 1000); got != 1000 {
		t.Errorf("the kube-apiserver's own requests get %d places of 1000", got)
	}
}

func TestPlacesComeBack(t *testing.T) {
	f := newFairness([]string{"hpa"}, nil)
	for range 3 {
		t.Run("", func(t *testing.T) {
			for name, want := range map[string]int{"a": othersInFlight / 2, "hpa": broadInFlight} {
				if got := hold(t, f, named(name), 1000); got != want {
					t.Errorf("%s gets %d places, want %d", name, got, want)
				}
			}
		})
	}
	if f.others.taken != 0 || len(f.others.by) != 0 || len(f.broad["hpa"]) != 0 {
		t.Errorf("%d places, %d users and %d of the broad reader are left", f.others.taken, len(f.others.by), len(f.broad["hpa"]))
	}
}

func TestWhoAsksForListsTakesNoPlacesOfReads(t *testing.T) {
	f := newFairness([]string{"hpa"}, nil)
	list := func(name string) flowcontrol.RequestDigest {
		return flowcontrol.RequestDigest{User: named(name), RequestInfo: &request.RequestInfo{}}
	}
	lists := 0
	for i := range 10 {
		lists += holdOf(t, f, list(fmt.Sprint(i)), 128)
	}
	if lists > listsInFlight {
		t.Errorf("%d lists are under way, want %d at most", lists, listsInFlight)
	}
	if got := hold(t, f, named("0"), 1000); got != othersInFlight/2 {
		t.Errorf("beside that a user has %d reads, want half of %d", got, othersInFlight)
	}
	if got := holdOf(t, f, list("hpa"), 10); got != 10 {
		t.Errorf("of ten lists of a broad reader %d are under way", got)
	}
}

// TestReviewsOfTokensAreBounded lets all reviews hang. What comes with a certificate, as from the aggregation layer, goes on.
func TestReviewsOfTokensAreBounded(t *testing.T) {
	end, began := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	defer func() { close(end); all.Wait() }()
	handler := gate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			began <- struct{}{}
			<-end
		}
	}), limit(nil, func() *places { return newPlaces(1, 1, 0) }, nil, nil), nil)
	send := func(token string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/apis", http.NoBody)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		handler.ServeHTTP(w, r)
		return w
	}
	for i := range tokensInFlight {
		all.Go(func() { send(fmt.Sprint(i)) })
		<-began
	}
	if w := send("one-more"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("one more token: %d, %v", w.Code, w.Header())
	}
	if w := send(""); w.Code != http.StatusOK {
		t.Errorf("a request without a token: %d", w.Code)
	}
}
