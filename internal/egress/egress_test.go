package egress_test

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/egress"
)

func TestWhereSysdigMayBe(t *testing.T) {
	policy := egress.Policy{}
	for _, address := range []string{
		"203.0.113.7", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "2001:db8::1", "fd12::1",
		"64:ff9b::203.0.113.7", "::ffff:203.0.113.7", "2002:cb00:7107::1",
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

// TestWhatIsRefusedIsRefusedInAllItsForms embeds IPv4 addresses in IPv6 in all ways that lead to them.
func TestWhatIsRefusedIsRefusedInAllItsForms(t *testing.T) {
	policy := egress.Policy{Cluster: egress.NewAddresses("https://203.0.113.80:6443")}
	for text, refused := range map[string]bool{
		"127.0.0.1": true, "169.254.169.254": true, "168.63.129.16": true, "203.0.113.80": true, "240.0.0.1": true, "255.255.255.254": true,
		"198.18.0.1": true, "198.19.255.255": true, "192.0.0.8": true, "224.0.0.1": true,
		"203.0.113.7": false, "198.17.0.1": false, "198.20.0.0": false, "10.1.2.3": false,
	} {
		four := netip.MustParseAddr(text).As4()
		forms := []netip.Addr{
			netip.MustParseAddr(text), netip.MustParseAddr("::ffff:" + text), netip.MustParseAddr("::ffff:0:" + text), netip.MustParseAddr("64:ff9b::" + text),
		}
		for _, length := range []int{48, 56, 64, 96} {
			forms = append(forms, rfc6052("64:ff9b:1::", length, four, 0))
			if refused { // a suffix makes other readings of an address that is fine
				forms = append(forms, rfc6052("64:ff9b:1::", length, four, 0x0a))
			}
		}
		for _, form := range forms {
			if err := policy.Check(form); (err != nil) != refused {
				t.Errorf("%s as %s: %v, want it refused: %t", text, form, err, refused)
			}
		}
	}
	for _, text := range []string{"fec0::1", "feff::1", "100::1", "100:0:0:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "5f00::1", "64:ff9b:1::"} {
		if policy.Check(netip.MustParseAddr(text)) == nil {
			t.Errorf("%s is permitted", text)
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
	if err := (egress.Policy{Cluster: egress.NewAddresses("https://api.example.com")}).Check(netip.MustParseAddr("203.0.113.7")); err != nil {
		t.Error(err)
	}
	err := egress.Policy{Cluster: egress.NewAddresses("https://192.0.2.80:6443")}.Check(netip.MustParseAddr("192.0.2.80"))
	if err == nil || !strings.Contains(err.Error(), "of this cluster") {
		t.Errorf("got %v", err)
	}
}
