package serving

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Files of Linux that hold the routes of this pod.
const (
	routesIPv4 = "/proc/net/route"
	routesIPv6 = "/proc/net/ipv6_route"
)

// NodeAddresses tells whether an address is one from which the kubelet of this node may probe: the node's own, the loopback, or the
// default gateway, which is the node's end of the network where that is a bridge. Where there is no such file there is no gateway.
func NodeAddresses(own []netip.Addr) func(netip.Addr) bool {
	ipv4, _ := os.ReadFile(routesIPv4)
	ipv6, _ := os.ReadFile(routesIPv6)
	all := slices.Concat(own, gatewaysIPv4(string(ipv4)), gatewaysIPv6(string(ipv6)))
	return func(address netip.Addr) bool {
		return address.IsLoopback() || slices.Contains(all, address.WithZone(""))
	}
}

// gatewaysIPv4 are those of the default routes: rows of interface, destination, gateway and more, in hexadecimal of the byte order of
// the machine (Documentation/networking of Linux; arm64 and amd64 are little-endian).
func gatewaysIPv4(routes string) (gateways []netip.Addr) {
	for line := range strings.Lines(routes) {
		row := strings.Fields(line)
		if len(row) < 3 || row[1] != "00000000" {
			continue
		}
		if raw, err := hex.DecodeString(row[2]); err == nil && len(raw) == 4 && row[2] != "00000000" {
			var address [4]byte
			binary.NativeEndian.PutUint32(address[:], binary.BigEndian.Uint32(raw))
			gateways = append(gateways, netip.AddrFrom4(address))
		}
	}
	return gateways
}

// gatewaysIPv6 are those of the default routes: rows of destination, its length, source, its length, gateway and more, in hexadecimal.
func gatewaysIPv6(routes string) (gateways []netip.Addr) {
	for line := range strings.Lines(routes) {
		row := strings.Fields(line)
		if len(row) < 5 || row[1] != "00" {
			continue
		}
		if raw, err := hex.DecodeString(row[4]); err == nil && len(raw) == 16 {
			if address := netip.AddrFrom16([16]byte(raw)); !address.IsUnspecified() {
				gateways = append(gateways, address)
			}
		}
	}
	return gateways
}
