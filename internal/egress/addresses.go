package egress

import (
	"net/netip"
	"net/url"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Addresses counts the addresses of the cluster: those that Services have within it, of pods, of the nodes that run them, and of its API
// server. It is filled by the events of informers of Services and pods, which tell what is no longer so, and remembers no object. It is
// safe for concurrent use.
//
// External addresses of Services and those of load balancers are not counted: who may write a Service chooses them, and could cut
// the operator off from Sysdig.
type Addresses struct {
	mu     sync.RWMutex
	counts map[netip.Addr]int32
}

var _ cache.ResourceEventHandler = (*Addresses)(nil)

// NewAddresses knows the address of the API server at host, an address or URL as in rest.Config. A name says nothing.
func NewAddresses(host string) *Addresses {
	a := &Addresses{counts: map[netip.Addr]int32{}}
	if u, err := url.Parse(host); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	a.count(1, parsed(host))
	return a
}

// Has tells whether an address is one of the cluster's.
func (a *Addresses) Has(address netip.Addr) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.counts[address] > 0
}

// OnAdd implements cache.ResourceEventHandler.
func (a *Addresses) OnAdd(object any, _ bool) { a.count(1, addressesOf(object)) }

// OnUpdate implements cache.ResourceEventHandler.
func (a *Addresses) OnUpdate(before, after any) {
	was, is := addressesOf(before), addressesOf(after)
	if slices.Equal(was, is) {
		return
	}
	a.count(1, is)
	a.count(-1, was)
}

// OnDelete implements cache.ResourceEventHandler.
func (a *Addresses) OnDelete(object any) {
	if lost, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = lost.Obj
	}
	a.count(-1, addressesOf(object))
}

func (a *Addresses) count(by int32, addresses []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, address := range addresses {
		if a.counts[address] += by; a.counts[address] == 0 {
			delete(a.counts, address)
		}
	}
}

func addressesOf(object any) []netip.Addr {
	switch o := object.(type) {
	case *corev1.Service:
		return parsed(append([]string{o.Spec.ClusterIP}, o.Spec.ClusterIPs...)...)
	case *corev1.Pod:
		texts := []string{o.Status.PodIP, o.Status.HostIP}
		for _, ip := range o.Status.PodIPs {
			texts = append(texts, ip.IP)
		}
		for _, ip := range o.Status.HostIPs {
			texts = append(texts, ip.IP)
		}
		return parsed(texts...)
	}
	return nil
}

// parsed are the addresses among texts, each once. A Service without one says None.
func parsed(texts ...string) (addresses []netip.Addr) {
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil && !slices.Contains(addresses, address.Unmap()) {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses
}
