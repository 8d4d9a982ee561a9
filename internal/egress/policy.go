// Package egress decides which addresses the operator may connect to on behalf of a SysdigConnection. Whoever writes one chooses where
// the operator sends requests from inside of the cluster; without a rule that is a way to its metadata services and to what
// listens on its nodes.
package egress

import (
	"fmt"
	"net/netip"
)

// Cluster knows the addresses of the cluster that the operator runs in.
type Cluster interface {
	// Has tells whether an address is one of the cluster's own.
	Has(netip.Addr) bool
}

// Policy refuses the addresses at which no Sysdig is: those of the machine itself, of the link, of many, of none, of clouds' metadata
// services, and of the cluster. Private networks are not refused, since Sysdig on premises lives there.
type Policy struct {
	// Allowed are exceptions, by whoever runs the operator.
	Allowed []netip.Prefix
	// Cluster is nil where there is none.
	Cluster Cluster
}

// Check is why nothing may be sent to an address; nil when it may.
func (p Policy) Check(address netip.Addr) error {
	// What is behind a translation counts as what it is translated to.
	for at := address.WithZone("").Unmap(); ; {
		if p.allows(at) {
			return nil
		}
		if what := p.refused(at); what != "" {
			return fmt.Errorf("%s is %s", address, what)
		}
		inner, ok := embedded(at)
		if !ok {
			return nil
		}
		at = inner
	}
}

func (p Policy) allows(address netip.Addr) bool {
	for _, network := range p.Allowed {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// refused says what is wrong with an address; empty for nothing.
func (p Policy) refused(address netip.Addr) string {
	switch {
	case !address.IsValid():
		return "no address"
	case metadata(address):
		return "that of a cloud's metadata service"
	case address.IsLoopback():
		return "a loopback address"
	case address.IsLinkLocalUnicast():
		return "a link-local address"
	case address.IsMulticast():
		return "a multicast address"
	case address.IsUnspecified(), thisNetwork().Contains(address):
		return "an unspecified address, which means the machine itself"
	case address == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	case p.Cluster != nil && p.Cluster.Has(address):
		return "an address of this cluster, of a Service, a pod or a node"
	}
	return ""
}

// thisNetwork is that of RFC 1122, section 3.2.1.3.
func thisNetwork() netip.Prefix { return netip.MustParsePrefix("0.0.0.0/8") }

// metadata tells the addresses of metadata services, as the clouds document them: the usual one and that of AWS by IPv6, and those of
// GCP by IPv6, Azure, Alibaba and Oracle. Some are not link-local.
func metadata(address netip.Addr) bool {
	switch address.String() {
	case "169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192":
		return true
	}
	return false
}

// embedded is the IPv4 address that an IPv6 address leads to: compatible (RFC 4291; what is mapped is unmapped before), by NAT64 (RFC 6052, RFC 8215), 6to4 (RFC
// 3056), Teredo (RFC 4380) or ISATAP (RFC 5214).
func embedded(address netip.Addr) (netip.Addr, bool) {
	if !address.Is6() {
		return netip.Addr{}, false
	}
	raw := address.As16()
	last := [4]byte(raw[12:])
	within := func(network string) bool { return netip.MustParsePrefix(network).Contains(address) }
	switch {
	case within("64:ff9b::/96"), within("64:ff9b:1::/48"), within("::/96"):
		return netip.AddrFrom4(last), true
	case within("2002::/16"):
		return netip.AddrFrom4([4]byte(raw[2:6])), true
	case within("2001::/32"):
		return netip.AddrFrom4([4]byte{^last[0], ^last[1], ^last[2], ^last[3]}), true
	case raw[8]&^3 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe:
		return netip.AddrFrom4(last), true
	}
	return netip.Addr{}, false
}
