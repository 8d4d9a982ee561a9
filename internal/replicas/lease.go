package replicas

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	// renewEvery is how often a replica renews its lease, and leaseDuration how long the others count it without. Three renewals
	// in a row may fail.
	renewEvery    = 10 * time.Second
	leaseDuration = 40 * time.Second
)

// leaseLabels tell the leases of replicas from others of the namespace.
func leaseLabels() labels.Set {
	return labels.Set{"app.kubernetes.io/name": "sysdig-metrics-operator", "app.kubernetes.io/component": "replica"}
}

// leaseName is the name of a replica's lease. Host names may be longer than a name can be.
func leaseName(identity string) string {
	hash := sha256.Sum256([]byte(identity))
	return "sysdig-metrics-operator-replica-" + hex.EncodeToString(hash[:5])
}

// renewal is the lease as this replica holds it since a time, renewed now. An earlier process of the same identity may have left
// the lease.
func renewal(lease *coordinationv1.Lease, identity string, since, now time.Time) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	lease.Labels = labels.Merge(lease.Labels, leaseLabels())
	lease.Spec.HolderIdentity = &identity
	lease.Spec.LeaseDurationSeconds = new(int32(leaseDuration / time.Second))
	lease.Spec.AcquireTime = new(metav1.NewMicroTime(since))
	lease.Spec.RenewTime = new(metav1.NewMicroTime(now))
	return lease
}
