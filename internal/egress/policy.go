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
	if what := p.leads(address.WithZone("").Unmap()); what != "" {
		return fmt.Errorf("%s is %s", address, what)
	}
	return nil
}

// leads says what is wrong with an address or with any of those that it may be translated to; empty for nothing.
func (p Policy) leads(address netip.Addr) string {
	if p.allows(address) {
		return ""
	}
	if what := p.refused(address); what != "" {
		return what
	}
	for _, inner := range embedded(address) { // IPv4, so no further
		if what := p.leads(inner); what != "" {
			return what
		}
	}
	return ""
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
	case special(address) != "":
		return special(address)
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

// special says what a network is that is not reachable from everywhere and is no private one, where a Sysdig may be; empty for others.
// From the IANA IPv4 and IPv6 Special-Purpose Address Registries and, for fec0::/10, RFC 3879, as of 2026-12-01.
func special(address netip.Addr) string {
	for _, of := range []struct{ network, what string }{
		{"192.0.0.0/24", "an address of IETF protocols (RFC 6890)"},
		{"192.88.99.0/24", "an address of 6to4 relays (RFC 7526)"},
		{"198.18.0.0/15", "an address for benchmarks (RFC 2544)"},
		{"240.0.0.0/4", "a reserved address (RFC 1112)"},
		{"100::/63", "an address that discards, or is a dummy (RFC 6666, RFC 9780)"},
		{"2001:2::/48", "an address for benchmarks (RFC 5180)"},
		{"2001:10::/28", "an address that is a hash (RFC 4843)"},
		{"2001:20::/28", "an address that is a hash (RFC 7343)"},
		{"5f00::/16", "an address of segment routing (RFC 9602)"},
		{"fec0::/10", "a site-local address (RFC 3879)"},
	} {
		if netip.MustParsePrefix(of.network).Contains(address) {
			return of.what
		}
	}
	return ""
}

// embedded are the IPv4 addresses that an IPv6 address may lead to: compatible (RFC 4291; what is mapped is unmapped before), translated
// (RFC 2765), by NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380) or ISATAP (RFC 5214). What length the prefix of a NAT64 of
// one's own has, nobody knows. A length with which the address reads as one of 0.0.0.0/8 is not that, unless all do.
func embedded(address netip.Addr) (inner []netip.Addr) {
	if !address.Is6() {
		return nil
	}
	raw := address.As16()
	last := [4]byte(raw[12:])
	within := func(network string) bool { return netip.MustParsePrefix(network).Contains(address) }
	add := func(four ...byte) { inner = append(inner, netip.AddrFrom4([4]byte(four))) }
	switch {
	case within("64:ff9b:1::/48"):
		for _, four := range [][4]byte{
			{raw[6], raw[7], raw[9], raw[10]}, {raw[7], raw[9], raw[10], raw[11]}, {raw[9], raw[10], raw[11], raw[12]}, last,
		} {
			if four[0] != 0 {
				add(four[:]...)
			}
		}
		if len(inner) == 0 {
			add(last[:]...)
		}
	case within("64:ff9b::/96"), within("::ffff:0:0:0/96"), within("::/96"):
		add(last[:]...)
	case within("2002::/16"):
		add(raw[2:6]...)
	case within("2001::/32"):
		add(^last[0], ^last[1], ^last[2], ^last[3])
	case raw[8]&^3 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe:
		add(last[:]...)
	}
	return inner
}
