package serving

import (
	"net/netip"
	"slices"
	"testing"
)

func TestTheGatewaysOfThisPodAreAddressesOfItsNode(t *testing.T) {
	const ipv4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t0000F40A\t0100F40A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
	const ipv6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n" +
		"fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n"
	if got, want := gatewaysIPv4(ipv4), netip.MustParseAddr("10.244.0.1"); len(got) != 1 || got[0] != want {
		t.Errorf("gateways %v, want %v", got, want)
	}
	if got, want := gatewaysIPv6(ipv6), netip.MustParseAddr("fd00::1"); len(got) != 1 || got[0] != want {
		t.Errorf("gateways %v, want %v", got, want)
	}
	for _, text := range []string{"", "x", "eth0\t00000000", "eth0\t00000000\tzz00F40A\n", "00 00 00 00 00"} {
		if got := slices.Concat(gatewaysIPv4(text), gatewaysIPv6(text)); got != nil {
			t.Errorf("%q has gateways %v", text, got)
		}
	}
	isNode := NodeAddresses([]netip.Addr{netip.MustParseAddr("192.168.1.5")})
	for text, want := range map[string]bool{"127.0.0.1": true, "::1": true, "192.168.1.5": true, "192.168.1.6": false, "203.0.113.9": false} {
		if got := isNode(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is of the node: %t", text, got)
		}
	}
}
