package replicas

import (
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// theatre is a roster of replica "b", and a clock.
type theatre struct {
	roster
	now time.Time
}

func newTheatre() *theatre {
	return &theatre{roster: newRoster("b"), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// renew shows renewals of these replicas, whose own clocks are off by skew.
func (s *theatre) renew(skew time.Duration, identities ...string) {
	for _, identity := range identities {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName(identity)}}
		s.saw(renewal(lease, identity, s.now, s.now.Add(skew)), s.now)
	}
}

// pass lets time pass while these replicas renew.
func (s *theatre) pass(d time.Duration, identities ...string) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(renewEvery)
		s.renew(0, identities...)
	}
}

func (s *theatre) want(t *testing.T, rank, count int, when string) {
	t.Helper()
	if gotRank, gotCount := s.share(s.now); gotRank != rank || gotCount != count {
		t.Errorf("%s: rank %d of %d, want %d of %d", when, gotRank, gotCount, rank, count)
	}
}

func TestTheShareFollowsWhatIsSeen(t *testing.T) {
	for _, test := range []struct {
		name        string
		play        func(*theatre)
		rank, count int
	}{
		{"alone before anything is seen", func(*theatre) {}, 0, 1},
		{"alone with its own lease", func(s *theatre) { s.renew(0, "b") }, 0, 1},
		{"between two others", func(s *theatre) { s.renew(0, "c", "b", "a") }, 1, 3},
		{"a lease of any age counts when it is first seen", func(s *theatre) { s.renew(0, "b"); s.renew(-time.Hour, "a") }, 1, 2},
		{"one that left is gone at once", func(s *theatre) { s.renew(0, "a", "b"); s.gone(leaseName("a")) }, 0, 1},
		{"one that renews stays", func(s *theatre) { s.renew(0, "a", "b"); s.pass(5*time.Minute, "a", "b") }, 1, 2},
		{"one that was killed counts until its lease expires", func(s *theatre) {
			s.renew(0, "a", "b")
			s.pass(30*time.Second, "b")
			s.now = s.now.Add(leaseDuration - 30*time.Second - 1)
		}, 1, 2},
		{"and not longer", func(s *theatre) { s.renew(0, "a", "b"); s.pass(leaseDuration, "b") }, 0, 1},
		{"one that comes back counts again", func(s *theatre) { s.renew(0, "a", "b"); s.pass(time.Minute, "b"); s.renew(0, "a") }, 1, 2},
		{"a clock that is ahead changes nothing", func(s *theatre) { s.renew(0, "b"); s.renew(10*time.Minute, "a"); s.pass(leaseDuration, "b") }, 0, 1},
		{"a clock that is set back is a renewal as any other", func(s *theatre) {
			s.renew(0, "a", "b")
			s.pass(30*time.Second, "b")
			s.renew(-time.Hour, "a")
			s.pass(30*time.Second, "b")
		}, 1, 2},
		{"the same lease seen again is no renewal", func(s *theatre) {
			s.renew(0, "a", "b")
			s.pass(30*time.Second, "b")
			s.saw(s.members[leaseName("a")].lease.DeepCopy(), s.now)
			s.pass(10*time.Second, "b")
		}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTheatre()
			test.play(s)
			s.want(t, test.rank, test.count, "at the end")
		})
	}
}

func TestReplicasThatAreOutOfSightStay(t *testing.T) {
	s := newTheatre()
	s.renew(0, "a", "b", "c")
	s.now = s.now.Add(time.Hour)
	s.want(t, 1, 3, "in an hour without a sight of itself")
	if alive := s.members[leaseName("a")].expires().After(s.now); alive {
		t.Fatal("the control: by the clock alone, the lease would not have expired")
	}
	s.renew(0, "b") // what a new list holds comes in no order
	s.want(t, 1, 3, "when it sees itself before the others")
	s.pass(30*time.Second, "b", "c")
	s.want(t, 1, 3, "while a lease lasts after that")
	s.pass(10*time.Second, "b", "c")
	s.want(t, 0, 2, "when one of them has not come back")
}

func TestTheNextWakeIsTheNextExpiry(t *testing.T) {
	s := newTheatre()
	s.renew(0, "a", "b")
	start := s.now
	if got, want := s.wake(s.now, start.Add(renewEvery)), start.Add(renewEvery); !got.Equal(want) {
		t.Errorf("the wake is at %s, want the renewal at %s", got, want)
	}
	if got, want := s.wake(s.now, start.Add(time.Minute)), start.Add(leaseDuration); !got.Equal(want) {
		t.Errorf("the wake is at %s, want the expiry at %s", got, want)
	}
	if got, want := s.wake(start.Add(leaseDuration), start.Add(time.Minute)), start.Add(time.Minute); !got.Equal(want) {
		t.Errorf("the wake is at %s, want %s: what has expired does not expire again", got, want)
	}
}

func TestOnlyLeasesThatAreLongDeadAreLitter(t *testing.T) {
	s := newTheatre()
	s.renew(0, "a", "b")
	for i := range litterAtOnce + 2 {
		s.renew(0, fmt.Sprintf("dead-%d", i))
	}
	s.pass(litterAfter-renewEvery, "a", "b")
	if got := s.litter(s.now); len(got) != 0 {
		t.Fatalf("%d leases are litter before %s", len(got), litterAfter)
	}
	s.pass(renewEvery, "a", "b")
	if got := s.litter(s.now); len(got) != litterAtOnce {
		t.Errorf("%d leases are litter, want %d at once", len(got), litterAtOnce)
	}
	for _, lease := range s.litter(s.now) {
		if identity := *lease.Spec.HolderIdentity; identity == "a" || identity == "b" {
			t.Errorf("the lease of %s, who is alive, is litter", identity)
		}
	}
}

// Two replicas that differ in the length of their leases, as during an upgrade, believe what a lease says of itself.
func TestALeaseSaysHowLongItLasts(t *testing.T) {
	s := newTheatre()
	s.renew(0, "a", "b")
	s.members[leaseName("a")].lease.Spec.LeaseDurationSeconds = new(int32(120))
	s.pass(110*time.Second, "b")
	s.want(t, 1, 2, "before it expires")
	s.pass(10*time.Second, "b")
	s.want(t, 0, 1, "when it has expired")
}
