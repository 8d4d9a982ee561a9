package egress_test

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/egress"
)

func TestWhereSysdigMayBe(t *testing.T) {
	policy := egress.Policy{}
	for _, address := range []string{
		"34.120.7.7", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "166.9.14.1", "2600:1f18::1", "fd12::1",
		"64:ff9b::34.120.7.7", "64:ff9b:1::10.1.2.3", "::ffff:34.120.7.7", "::ffff:0:10.1.2.3", "2002:2278:707::1", "fd12::5efe:10.1.2.3",
	} {
		if err := policy.Check(netip.MustParseAddr(address)); err != nil {
			t.Error(err)
		}
	}
	if policy.Check(netip.Addr{}) == nil {
		t.Error("no address is permitted")
	}
	if err := policy.Check(netip.MustParseAddr("fe80::1%eth0")); err == nil {
		t.Error("a zone hides what an address is")
	}
}

// rfc6052 writes an IPv4 address behind a prefix of a length, with a suffix that translators do not look at.
func rfc6052(prefix string, length int, four [4]byte, suffix byte) netip.Addr {
	raw := netip.MustParseAddr(prefix).As16()
	for i := range raw {
		if i >= length/8 {
			raw[i] = suffix
		}
	}
	at := length / 8
	for _, b := range four {
		if at == 8 { // bits 64 to 71 are none of the address
			raw[at] = 0
			at++
		}
		raw[at] = b
		at++
	}
	return netip.AddrFrom16(raw)
}

// forms are all the IPv6 addresses that lead to an IPv4 one, with a suffix where translators do not look at it.
func forms(four [4]byte, suffix byte) map[string]netip.Addr {
	text, teredo := netip.AddrFrom4(four).String(), netip.MustParseAddr("2001:0:3478:707::").As16()
	for i := range four {
		teredo[12+i] = ^four[i]
	}
	forms := map[string]netip.Addr{
		"mapped": netip.MustParseAddr("::ffff:" + text), "translated": netip.MustParseAddr("::ffff:0:" + text), "NAT64": netip.MustParseAddr("64:ff9b::" + text),
		"6to4": rfc6052("2002::", 16, four, suffix), "Teredo": netip.AddrFrom16(teredo),
		"ISATAP": netip.MustParseAddr("2600:1f18::5efe:" + text), "ISATAP of unique addresses": netip.MustParseAddr("fd12::200:5efe:" + text),
		"ISATAP by 6to4": netip.MustParseAddr("2002:2278:707::5efe:" + text), "Teredo's server": rfc6052("2001::", 32, four, suffix),
	}
	if four != [4]byte{} && four != [4]byte{3: 1} { // which are :: and ::1
		forms["compatible"] = netip.MustParseAddr("::" + text)
	}
	for _, length := range []int{48, 56, 64, 96} {
		forms[fmt.Sprintf("NAT64 of one's own behind %d bits", length)] = rfc6052("64:ff9b:1::", length, four, suffix)
	}
	return forms
}

// TestWhatIsRefusedIsRefusedInAllItsForms embeds addresses of all refused networks, and of the cluster, in IPv6 in all ways that lead to
// them.
func TestWhatIsRefusedIsRefusedInAllItsForms(t *testing.T) {
	policy := egress.Policy{Cluster: egress.NewAddresses("https://34.120.7.80:6443")}
	random := rand.New(rand.NewPCG(1, 2))
	networks := 0
	for line := range strings.Lines(egress.NetworksTSV + "34.120.7.80/32\tof the cluster\n") {
		network, err := netip.ParsePrefix(strings.Split(line, "\t")[0])
		if strings.HasPrefix(line, "#") || err == nil && !network.Addr().Is4() {
			continue
		}
		if err != nil || network != network.Masked() {
			t.Fatalf("%q: %v", line, err)
		}
		networks++
		for range 100 {
			address := within(network, random)
			if policy.Check(address) == nil {
				t.Errorf("%s of %s is permitted", address, network)
			}
			for form, v6 := range forms(address.As4(), byte(random.Uint32())) {
				if strings.Contains(form, "one's own") && address.As4()[0] == 0 {
					continue // with the other lengths it may read as a good one, and nothing is at this
				}
				if policy.Check(v6) == nil {
					t.Errorf("%s as %s, %s, is permitted", address, v6, form)
				}
			}
		}
	}
	if networks < 20 {
		t.Errorf("%d networks", networks)
	}
}

// TestWhatIsPermittedIsPermittedInMostOfItsForms is the control: it is not the form that is refused. Where a length is not known, a good
// address may read as a refused one.
func TestWhatIsPermittedIsPermittedInMostOfItsForms(t *testing.T) {
	for _, text := range []string{"34.120.7.7", "10.1.2.3", "198.17.0.1", "198.20.0.1", "100.64.1.1"} {
		for form, v6 := range forms(netip.MustParseAddr(text).As4(), 0) {
			refused := form == "Teredo" || form == "Teredo's server"
			if err := (egress.Policy{}).Check(v6); (err != nil) != refused {
				t.Errorf("%s as %s, %s: %v", text, v6, form, err)
			}
		}
	}
}

// within is a random address of a network.
func within(network netip.Prefix, random *rand.Rand) netip.Addr {
	raw := network.Addr().AsSlice()
	for i := network.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= byte(random.IntN(2)) << (7 - i%8)
	}
	address, _ := netip.AddrFromSlice(raw)
	return address
}

// TestTheRegistriesOfSpecialAddresses compares the rule with each row of IANA's registries.
func TestTheRegistriesOfSpecialAddresses(t *testing.T) {
	allowed := map[string]string{
		"10.0.0.0/8": "private: a Sysdig on premises", "172.16.0.0/12": "private: a Sysdig on premises", "192.168.0.0/16": "private: a Sysdig on premises",
		"fc00::/7": "private: a Sysdig on premises", "100.64.0.0/10": "shared, and in use as private: a Sysdig on premises",
		"::ffff:0:0/96": "what it is mapped to is checked", "64:ff9b::/96": "what it is translated to is checked",
		"64:ff9b:1::/48": "what it is translated to is checked", "2002::/16": "what it is translated to is checked",
		"192.31.196.0/24": "globally reachable", "192.52.193.0/24": "globally reachable", "192.175.48.0/24": "globally reachable", "2620:4f:8000::/48": "globally reachable",
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, file := range []string{"testdata/iana-ipv4-special-registry-1.csv", "testdata/iana-ipv6-special-registry-1.csv"} {
		for _, row := range readCSV(t, file)[1:] {
			block, _, _ := strings.Cut(row[0], " [") // a mark of a footnote
			for text := range strings.SplitSeq(block, ", ") {
				network, why := netip.MustParsePrefix(text), allowed[text]
				delete(allowed, text)
				if why == "globally reachable" && row[8] != "True" {
					t.Errorf("%s, %s, is not globally reachable: %s", text, row[1], row[8])
				}
				permitted := 0
				for range 200 {
					if (egress.Policy{}).Check(within(network, random)) == nil {
						permitted++
					}
				}
				if (permitted > 0) != (why != "") {
					t.Errorf("%s, %s: %d of 200 addresses are permitted; allowed: %q", text, row[1], permitted, why)
				}
			}
		}
	}
	if len(allowed) > 0 {
		t.Errorf("no registry has %v", allowed)
	}
}

func readCSV(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 20 {
		t.Fatalf("%s: %d rows, %v", file, len(rows), err)
	}
	return rows
}

// TestNetworksThatNoRegistryHas are refused as well.
func TestNetworksThatNoRegistryHas(t *testing.T) {
	for text, what := range map[string]string{
		"fec0::1": "site-local", "feff::1": "site-local", "100::1": "discards", "64:ff9b:1::": "unspecified", "ff02::1": "multicast",
		"169.254.169.254": "metadata", "169.254.170.2": "metadata", "fd00:ec2::254": "metadata", "fd00:ec2::23": "metadata", "fd00:c1::a9fe:a9fe": "metadata",
		"192.0.0.192": "metadata", "168.63.129.16": "metadata", "100.100.100.200": "metadata", "169.254.169.123": "link-local", "169.254.169.253": "link-local",
		"198.19.255.255": "benchmarks", "240.0.0.1": "reserved", "255.255.255.254": "reserved", "255.255.255.255": "broadcast", "203.0.113.7": "documentation",
	} {
		if err := (egress.Policy{}).Check(netip.MustParseAddr(text)); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, want %s", text, err, what)
		}
	}
}

func TestAnAllowedNetworkIsAllowedInAllItsForms(t *testing.T) {
	policy := egress.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00:ec2::254/128")}}
	for address, allowed := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.1": true, "64:ff9b::7f00:1": true, "fd00:ec2::254": true,
		"::1": false, "169.254.169.254": false, "fd00:ec2::23": false, "0.0.0.0": false,
	} {
		if err := policy.Check(netip.MustParseAddr(address)); (err == nil) != allowed {
			t.Errorf("%s: %v, want it allowed: %t", address, err, allowed)
		}
	}
}

func pod(ip, host string, more ...string) *corev1.Pod {
	p := &corev1.Pod{Status: corev1.PodStatus{PodIP: ip, HostIP: host}}
	for _, text := range more {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: text})
	}
	return p
}

func TestAddressesComeAndGoWithWhatHasThem(t *testing.T) {
	a := egress.NewAddresses("https://192.0.2.80:6443")
	want := func(address string, has bool) {
		t.Helper()
		if a.Has(netip.MustParseAddr(address)) != has {
			t.Errorf("%s is the cluster's: %t, want %t", address, !has, has)
		}
	}
	one, two := pod("10.0.0.1", "192.0.2.1", "10.0.0.1", "fd00::1"), pod("10.0.0.2", "192.0.2.1")
	a.OnAdd(one, true)
	a.OnAdd(two, false)
	for _, address := range []string{"10.0.0.1", "fd00::1", "10.0.0.2", "192.0.2.1"} {
		want(address, true)
	}
	waiting := pod("", "")
	a.OnAdd(waiting, false)
	a.OnUpdate(waiting, pod("10.0.0.3", "192.0.2.1"))
	want("10.0.0.3", true)
	a.OnUpdate(one, one)
	a.OnDelete(one)
	want("10.0.0.1", false)
	want("fd00::1", false)
	want("192.0.2.1", true) // the node has other pods
	a.OnDelete(cache.DeletedFinalStateUnknown{Obj: two})
	a.OnDelete(pod("10.0.0.3", "192.0.2.1"))
	want("192.0.2.1", false)

	service := &corev1.Service{Spec: corev1.ServiceSpec{
		ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10", "fd00:96::10"}, ExternalIPs: []string{"203.0.113.9"},
	}, Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "203.0.113.10"}}}}}
	a.OnAdd(service, false)
	want("fd00:96::10", true)
	want("203.0.113.9", false) // a tenant could say so of Sysdig's own
	want("203.0.113.10", false)
	a.OnUpdate(service, &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}}})
	want("10.96.0.10", false)
}

func TestTheAPIServerIsOfTheCluster(t *testing.T) {
	for host, address := range map[string]string{
		"https://192.0.2.80:6443": "192.0.2.80", "192.0.2.80": "192.0.2.80", "https://[2001:db8::1]:443": "2001:db8::1", "https://192.0.2.80/prefix": "192.0.2.80",
	} {
		if !egress.NewAddresses(host).Has(netip.MustParseAddr(address)) {
			t.Errorf("%s is not known", host)
		}
	}
	if err := (egress.Policy{Cluster: egress.NewAddresses("https://api.example.com")}).Check(netip.MustParseAddr("34.120.7.7")); err != nil {
		t.Error(err)
	}
	err := egress.Policy{Cluster: egress.NewAddresses("https://192.0.2.80:6443")}.Check(netip.MustParseAddr("192.0.2.80"))
	if err == nil || !strings.Contains(err.Error(), "of this cluster") {
		t.Errorf("got %v", err)
	}
}
