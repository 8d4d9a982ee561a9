package manifests_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/replicas"
)

const (
	replicaLabels = "app.kubernetes.io/component=replica,app.kubernetes.io/name=sysdig-metrics-operator"
	renewal       = 10 * time.Second // of a lease
	lifetime      = 40 * time.Second // of a lease that is not renewed
	retry         = 2 * time.Second  // after a renewal that failed
)

// network is a replica's way to the API server.
type network struct {
	mu          sync.Mutex
	down        bool
	connections []net.Conn
}

func (n *network) dial(ctx context.Context, protocol, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, protocol, address)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down && err == nil {
		return nil, errors.Join(errors.New("the network is down"), connection.Close())
	}
	n.connections = append(n.connections, connection)
	return connection, err
}

func (n *network) set(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	for _, connection := range n.connections {
		if down && connection != nil {
			_ = connection.Close()
		}
	}
}

// replica is one process of the operator, as far as the others notice it.
type replica struct {
	*replicas.Membership
	t        *testing.T
	identity string
	clock    *clocktesting.FakeClock // stands still but for turn
	network  *network
	stop     func() // gracefully

	mu       sync.Mutex
	log      []string
	requests []string // method and last part of the path
}

// roundTripper is a function as http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// count wraps what sends requests.
func (r *replica) count(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.requests = append(r.requests, request.Method+" "+path.Base(request.URL.Path))
		r.mu.Unlock()
		return next.RoundTrip(request)
	})
}

func (r *replica) requested() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// begin is what a right clock shows when a test begins.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// startReplica starts a replica with the rights of a ServiceAccount of the operator's namespace.
func startReplica(t *testing.T, account, identity string, clock time.Time, down bool) *replica {
	t.Helper()
	file, err := testbed.ServiceAccountKubeconfig(t.Context(), namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, identity: identity, clock: clocktesting.NewFakeClock(clock), network: &network{down: down}}
	config.Dial, config.QPS = r.network.dial, -1
	config.Wrap(r.count)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Membership = replicas.New(replicas.Config{Clock: r.clock, Client: client, Namespace: namespace, Identity: identity})
	logger := funcr.New(func(_, line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, line)
	}, funcr.Options{})
	ctx, cancel := context.WithCancel(log.IntoContext(t.Context(), logger))
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	return r
}

// start starts replicas as the operator, whose clocks are right. Nothing is left of them after the test.
func start(t *testing.T, identities ...string) []*replica {
	t.Helper()
	t.Cleanup(func() { remove(t, "leases", "-n", namespace, "-l", replicaLabels) })
	var all []*replica
	for _, identity := range identities {
		all = append(all, startReplica(t, account, identity, begin, false))
	}
	know(t, all...)
	return all
}

// know waits until replicas that are given in the order of their identities know that there are these and no others.
func know(t *testing.T, all ...*replica) {
	t.Helper()
	for rank, r := range all {
		r.has(rank, len(all))
	}
}

// has waits until the replica knows its rank and how many there are.
func (r *replica) has(rank, count int) {
	r.t.Helper()
	want := replicas.Share{Rank: rank, Count: count, Known: true}
	eventually(r.t, fmt.Sprintf("%s is %d of %d", r.identity, rank, count), func() bool { return r.Share() == want })
}

// kill ends the replica without a farewell.
func (r *replica) kill() {
	r.network.set(true)
	r.stop()
}

func (r *replica) said(words string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(strings.Join(r.log, "\n"), words)
}

// leases are those of replicas, by identity.
func leases(t *testing.T) map[string]coordinationv1.Lease {
	t.Helper()
	list, err := client.CoordinationV1().Leases(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: replicaLabels})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]coordinationv1.Lease{}
	for _, lease := range list.Items {
		found[*lease.Spec.HolderIdentity] = lease
	}
	return found
}

// turn lets the time until the next renewal pass for all, and waits until those that reach the API server have renewed.
func turn(t *testing.T, all ...*replica) {
	t.Helper()
	for _, r := range all {
		eventually(t, r.identity+" waits for its clock", r.clock.HasWaiters)
		r.clock.Step(renewal)
	}
	for _, r := range all {
		eventually(t, r.identity+" renews its lease", func() bool {
			tried := r.clock.HasWaiters() // and waits for its next turn
			lease, ok := leases(t)[r.identity]
			if r.network.down || ok && lease.Spec.RenewTime.Time.Equal(r.clock.Now()) {
				return true
			}
			if tried { // in vain: an API server that is too busy has not answered in time
				r.clock.Step(retry)
			}
			return false
		})
	}
}

// pass lets time pass for all.
func pass(t *testing.T, d time.Duration, all ...*replica) {
	t.Helper()
	for range d / renewal {
		turn(t, all...)
	}
}

// passUntil lets time pass until something has happened. It may take longer than it should by the clock, because the clocks do
// not wait for watches; it returns how long.
func passUntil(t *testing.T, what string, condition func() bool, all ...*replica) time.Duration {
	t.Helper()
	since := all[0].clock.Now()
	for !condition() {
		if all[0].clock.Since(since) > 20*lifetime {
			t.Fatalf("%s: not in %s", what, 20*lifetime)
		}
		turn(t, all...)
	}
	return all[0].clock.Since(since)
}

func TestReplicasFindEachOtherWithoutTimePassing(t *testing.T) {
	pair := start(t, "a", "c")
	<-pair[0].Changed()
	came := time.Now()
	b := startReplica(t, account, "b", begin, false)
	know(t, pair[0], b, pair[1])
	t.Logf("a third replica was known to all %s after it began to start", time.Since(came))
	select {
	case <-pair[0].Changed():
	case <-t.Context().Done():
		t.Error("a was not told of b")
	}
	for identity, lease := range leases(t) {
		if *lease.Spec.LeaseDurationSeconds != 40 || !strings.HasPrefix(lease.Name, "sysdig-metrics-operator-replica-") {
			t.Errorf("the lease of %s is %s for %d s", identity, lease.Name, *lease.Spec.LeaseDurationSeconds)
		}
	}
}

func TestAReplicaThatStopsIsGoneAtOnce(t *testing.T) {
	all := start(t, "a", "b", "c")
	all[0].stop()
	if _, left := leases(t)["a"]; left {
		t.Error("a has left its lease behind")
	}
	know(t, all[1], all[2])
}

func TestAReplicaThatWasKilledIsGoneWhenItsLeaseExpires(t *testing.T) {
	all := start(t, "a", "b", "c")
	all[0].kill()
	if _, left := leases(t)["a"]; !left {
		t.Fatal("a was not killed: its lease is gone")
	}
	rest := all[1:]
	pass(t, lifetime-renewal, rest...)
	for _, r := range rest {
		if got := r.Share(); got.Count != 3 {
			t.Errorf("%s counts %d before the lease of a expires", r.identity, got.Count)
		}
	}
	more := passUntil(t, "a is gone", func() bool { return rest[0].Share().Count == 2 && rest[1].Share().Count == 2 }, rest...)
	know(t, rest...)
	t.Logf("a was gone after %s", lifetime-renewal+more)
}

func TestAReplicaThatIsCutOffKeepsTheOthers(t *testing.T) {
	all := start(t, "a", "b")
	a, b := all[0], all[1]
	a.network.set(true)
	passUntil(t, "b takes a for dead", func() bool { return b.Share().Count == 1 }, a, b)
	pass(t, 2*lifetime, a, b)
	if got, want := a.Share(), (replicas.Share{Rank: 0, Count: 2, Known: true}); got != want {
		t.Errorf("a, which nothing reaches, has the share %+v, want %+v", got, want)
	}
	if got := a.said("Keeping the leases of replicas failed"); got != 1 {
		t.Errorf("a has said %d times that it is cut off, want once", got)
	}
	a.network.set(false)
	pass(t, renewal, a, b)
	know(t, a, b)
	pass(t, 2*lifetime, a, b)
	know(t, a, b)
}

func TestAReplicaThatNeverReachedTheAPIServerDoesNotKnow(t *testing.T) {
	other := start(t, "b")
	a := startReplica(t, account, "a", begin, true)
	turn(t, a)
	if got, want := a.Share(), (replicas.Share{Count: 1}); got != want {
		t.Errorf("the share is %+v, want %+v", got, want)
	}
	a.network.set(false)
	pass(t, renewal, a)
	know(t, a, other[0])
}

// aliveByClock is how many leases a clock says are alive, when compared with what other machines' clocks have written.
func aliveByClock(t *testing.T, now time.Time) int {
	t.Helper()
	alive := 0
	for _, lease := range leases(t) {
		if lease.Spec.RenewTime.Add(lifetime).After(now) {
			alive++
		}
	}
	return alive
}

func TestClocksOfMachinesNeedNotAgree(t *testing.T) {
	for _, off := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			a := start(t, "a")[0]
			b := startReplica(t, account, "b", begin.Add(off), false)
			know(t, a, b)
			pass(t, 2*lifetime, a, b)
			know(t, a, b)
			if aliveByClock(t, a.clock.Now()) == 2 && aliveByClock(t, b.clock.Now()) == 2 {
				t.Fatal("the control: comparing clocks would see both")
			}
			b.kill()
			passUntil(t, "b is gone", func() bool { return a.Share().Count == 1 }, a)
			if off > 0 && aliveByClock(t, a.clock.Now()) == 1 {
				t.Error("the control: comparing clocks would let b go, too")
			}
		})
	}
}

func TestARestartCountsTwiceForTheLifeOfALeaseAtMost(t *testing.T) {
	all := start(t, "a", "host_7")
	a := all[0]
	all[1].kill()
	again := startReplica(t, account, "host_8", begin, false)
	a.has(0, 3)
	took := passUntil(t, "the killed process is gone", func() bool { return a.Share().Count == 2 && again.Share().Count == 2 }, a, again)
	if took < lifetime {
		t.Errorf("the killed process was gone after %s, before its lease expired", took)
	}
	know(t, a, again)
}

func TestARestartWithTheSameIdentityIsTheSameReplica(t *testing.T) {
	all := start(t, "a", "pod_1")
	all[1].kill()
	again := startReplica(t, account, "pod_1", begin.Add(time.Second), false)
	know(t, all[0], again)
	if got := len(leases(t)); got != 2 {
		t.Errorf("there are %d leases, want 2", got)
	}
}

func TestALeaseThatSomebodyDeletesComesBack(t *testing.T) {
	all := start(t, "a", "b")
	kubectl(t, "delete", "lease", leases(t)["b"].Name, "-n", namespace)
	all[0].has(0, 1)
	pass(t, renewal, all...)
	know(t, all...)
}

func TestLeasesOfDeadReplicasAreRemoved(t *testing.T) {
	temporary(t, "-f", write(t, []byte(`
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: somebody-elses}
spec: {holderIdentity: somebody}
`)), "-n", namespace)
	all := start(t, "a", "b", "dead-1", "dead-2")
	for _, r := range all[2:] {
		r.kill()
	}
	alive := all[:2]
	pass(t, 9*time.Minute, alive...)
	if got := len(leases(t)); got != 4 {
		t.Fatalf("there are %d leases after 9 minutes, want 4", got)
	}
	passUntil(t, "the leases are removed", func() bool { return len(leases(t)) == 2 }, alive...)
	know(t, alive...)
	kubectl(t, "get", "lease", "somebody-elses", "-n", namespace)
}

func TestWithoutPermissionAReplicaIsAloneAndSaysSoOnce(t *testing.T) {
	other := start(t, "b")
	temporary(t, "serviceaccount", "powerless", "-n", namespace)
	a := startReplica(t, "powerless", "a", begin, false)
	a.has(0, 1)
	for range 3 {
		eventually(t, "a waits for its clock", a.clock.HasWaiters)
		a.clock.Step(renewal)
	}
	a.has(0, 1)
	if got := a.said("takes the whole request budget"); got != 1 {
		t.Errorf("a has said %d times what follows, want once: %q", got, a.log)
	}

	temporary(t, "rolebinding", "powerless", "-n", namespace, "--role="+account, "--serviceaccount="+namespace+":powerless")
	eventually(t, "the permission is noticed", func() bool {
		if a.clock.HasWaiters() {
			a.clock.Step(renewal)
		}
		return a.Share().Count == 2
	})
	know(t, a, other[0])
}

func TestASteadyReplicaWritesOncePerRenewalAndReadsNothing(t *testing.T) {
	all := start(t, "a", "b")
	before := all[0].requested()
	pass(t, 5*renewal, all...)
	want := slices.Repeat([]string{"PUT " + leases(t)["a"].Name}, 5)
	if got := all[0].requested()[len(before):]; !slices.Equal(got, want) {
		t.Errorf("in 5 renewals a has sent %q, want %q", got, want)
	}
}
