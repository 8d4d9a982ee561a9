// Package egress decides which addresses the operator may connect to on behalf of a SysdigConnection. Whoever writes one chooses where
// the operator sends requests from inside of the cluster; without a rule that is a way to its metadata services and to what
// listens on its nodes.
package egress

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"sync"
)

// Cluster knows the addresses of the cluster that the operator runs in.
type Cluster interface {
	// Has tells whether an address is one of the cluster's own.
	Has(netip.Addr) bool
}

// Policy refuses the addresses at which no Sysdig is: those of networks.tsv, and of the cluster. Private networks are not refused, since
// Sysdig on premises lives there.
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
	for _, inner := range embedded(address) { // IPv4, so no further
		if what := p.leads(inner); what != "" {
			return what
		}
	}
	return p.refused(address)
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
	case p.Cluster != nil && p.Cluster.Has(address):
		return "an address of this cluster, of a Service, a pod or a node"
	}
	for _, of := range networks() {
		if of.network.Contains(address) {
			return of.what
		}
	}
	return ""
}

//go:embed networks.tsv
var networksTSV string

// named is a network, and what an address of it is.
type named struct {
	network netip.Prefix
	what    string
}

// networks are those of networks.tsv, in order.
var networks = sync.OnceValue(func() (list []named) {
	for line := range strings.Lines(networksTSV) {
		if row := strings.Split(line, "\t"); !strings.HasPrefix(line, "#") {
			list = append(list, named{netip.MustParsePrefix(row[0]), row[1]})
		}
	}
	return list
})

// embedded are the IPv4 addresses that an IPv6 address may lead to: compatible (RFC 4291; what is mapped is unmapped before), translated
// (RFC 2765), by NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380: of the client and of the server) or ISATAP (RFC 5214),
// which may be any of the others as well.
func embedded(address netip.Addr) (inner []netip.Addr) {
	if !address.Is6() {
		return nil
	}
	raw := address.As16()
	last := [4]byte(raw[12:])
	within := func(network string) bool { return netip.MustParsePrefix(network).Contains(address) }
	add := func(four [4]byte) { inner = append(inner, netip.AddrFrom4(four)) }
	switch {
	case within("64:ff9b:1::/48"):
		inner = localNAT64(raw)
	case within("64:ff9b::/96"), within("::ffff:0:0:0/96"), within("::/96") && !within("::/127"): // :: and ::1 are themselves
		add(last)
	case within("2002::/16"):
		add([4]byte(raw[2:6]))
	case within("2001::/32"):
		add([4]byte{^last[0], ^last[1], ^last[2], ^last[3]})
		add([4]byte(raw[4:8]))
	}
	if raw[8]&^3 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe {
		add(last)
	}
	return inner
}

// localNAT64 are the IPv4 addresses that an address of 64:ff9b:1::/48 may stand for. How long the prefix of a NAT64 of one's own is, nobody
// knows: 48, 56, 64 or 96 bits. A length with which the address reads as one of 0.0.0.0/8, where nothing is, is not that, unless all do.
func localNAT64(raw [16]byte) (inner []netip.Addr) {
	last := [4]byte(raw[12:])
	for _, four := range [][4]byte{ // the bits 64 to 71 are none of the address
		{raw[6], raw[7], raw[9], raw[10]}, {raw[7], raw[9], raw[10], raw[11]}, {raw[9], raw[10], raw[11], raw[12]}, last,
	} {
		if four[0] != 0 {
			inner = append(inner, netip.AddrFrom4(four))
		}
	}
	if len(inner) == 0 {
		return []netip.Addr{netip.AddrFrom4(last)}
	}
	return inner
}
