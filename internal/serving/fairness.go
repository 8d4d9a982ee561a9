package serving

import (
	"context"
	"net/http"
	"slices"
	"sync"

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
// Broad readers have places of their own, so that nothing that others do delays the HPA controller. All others share
// othersInFlight: a user may take as many places as are free afterwards. One user alone gets half of them, n users a part of
// 1/(n+1) each, and who comes later finds some: dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for
// shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998). Members of system:masters are exempt, as at
// the kube-apiserver: by that group it asks itself whether the APIService is available.
type fairness struct {
	broad   []string
	refused func()

	mu    sync.Mutex
	all   map[string]int // requests by class
	users map[flow]int   // requests by user and class
}

// flow is what a user asks in a class.
type flow struct{ user, class string }

func newFairness(broad []string, refused func()) *fairness {
	return &fairness{broad: broad, refused: refused, all: map[string]int{}, users: map[flow]int{}}
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
	case slices.Contains(f.broad, who.GetName()):
		return classBroad
	case !aboutObject:
		return classLists
	default:
		return classOthers
	}
}

// free is how many places a class has left; broad readers have each their own.
func (f *fairness) free(class string) int {
	switch class {
	case classBroad:
		return broadInFlight
	case classLists:
		return listsInFlight - f.all[class]
	default:
		return othersInFlight - f.all[class]
	}
}

// take takes a place if there is one. Every place that was taken has to be released.
func (f *fairness) take(of flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users[of] >= f.free(of.class) {
		return false
	}
	f.all[of.class]++
	f.users[of]++
	return true
}

func (f *fairness) release(of flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[of.class]--
	if f.users[of]--; f.users[of] == 0 {
		delete(f.users, of)
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
	if class == classExempt {
		execute()
		return
	}
	if !f.take(flow{name, class}) {
		f.refused()
		return
	}
	defer f.release(flow{name, class})
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
