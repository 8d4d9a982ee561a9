package serving

import (
	"context"
	"net/http"
	"slices"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/util/flowcontrol"
	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing"
	fairrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
)

// Requests that are under way at a time: of each broad reader, which the library's own bound for everybody would be, and of all
// others together. A read takes less than a millisecond, and some more when it has to be authorized first.
const (
	broadInFlight  = 400
	othersInFlight = 128
	// listsInFlight are those about no object: which metrics there are, OpenAPI, and the health of the server.
	listsInFlight = 32
)

// fairness decides between authentication and authorization which requests go on and which are refused with 429. It takes the
// place of the library's priority and fairness, whose levels would have to be objects of the cluster. Nobody waits.
//
// Broad readers have places of their own, so that nothing that others do delays the HPA controller. All others divide othersInFlight among
// them, and listsInFlight. Members of system:masters are exempt, as at the kube-apiserver: by that group it asks itself whether the
// APIService is available.
type fairness struct {
	broad         map[string]chan struct{} // the places of each
	others, lists *Shares
	refused       func()
}

func newFairness(broad []string, refused func()) *fairness {
	f := &fairness{broad: map[string]chan struct{}{}, others: NewShares(othersInFlight), lists: NewShares(listsInFlight), refused: refused}
	for _, name := range broad {
		f.broad[name] = make(chan struct{}, broadInFlight)
	}
	return f
}

// Names of the classes, as the log of requests shows them.
const (
	classBroad  = "broad-readers"
	classOthers = "others"
	classLists  = "lists"
	classExempt = "exempt"
)

func (f *fairness) class(who user.Info, aboutObject bool) string {
	switch {
	case slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup):
		return classExempt
	case f.broad[who.GetName()] != nil:
		return classBroad
	case !aboutObject:
		return classLists
	default:
		return classOthers
	}
}

// take takes a place if there is one, and says how to give it back.
func (f *fairness) take(name, class string) (release func(), ok bool) {
	switch class {
	case classExempt:
		return func() {}, true
	case classBroad:
		select {
		case f.broad[name] <- struct{}{}:
			return func() { <-f.broad[name] }, true
		default:
			return nil, false
		}
	case classLists:
		return func() { f.lists.Release(name) }, f.lists.Take(name)
	default:
		return func() { f.others.Release(name) }, f.others.Take(name)
	}
}

// Handle implements flowcontrol.Interface: it executes the request at once, or not at all.
func (f *fairness) Handle(
	_ context.Context, digest flowcontrol.RequestDigest, note func(*flowcontrolv1.FlowSchema, *flowcontrolv1.PriorityLevelConfiguration, string),
	_ func() fairrequest.WorkEstimate, _ fairqueuing.QueueNoteFn, execute func(),
) {
	name, class := digest.User.GetName(), f.class(digest.User, digest.RequestInfo.IsResourceRequest)
	note(
		&flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: class}},
		&flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: class}}, name,
	)
	release, ok := f.take(name, class)
	if !ok {
		f.refused()
		return
	}
	defer release()
	execute()
}

// Run implements flowcontrol.Interface: there is nothing to follow.
func (*fairness) Run(stop <-chan struct{}) error {
	<-stop
	return nil
}

// Install implements flowcontrol.Interface: there is nothing to show.
func (*fairness) Install(*mux.PathRecorderMux) {}

// RegisterWatch implements flowcontrol.WatchTracker: metrics cannot be watched.
func (*fairness) RegisterWatch(*http.Request) flowcontrol.ForgetWatchFunc { return func() {} }

// GetInterestedWatchCount implements flowcontrol.WatchTracker.
func (*fairness) GetInterestedWatchCount(*request.RequestInfo) int { return 0 }

// GetMaxSeats implements flowcontrol.MaxSeatsTracker: every request takes one place.
func (*fairness) GetMaxSeats(string) uint64 { return 1 }

// SetMaxSeats implements flowcontrol.MaxSeatsTracker.
func (*fairness) SetMaxSeats(string, uint64) {}

// ForgetPriorityLevel implements flowcontrol.MaxSeatsTracker.
func (*fairness) ForgetPriorityLevel(string) {}
