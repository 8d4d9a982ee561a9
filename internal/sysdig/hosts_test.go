package sysdig

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestHostsAreComparedByWhereTheyLead lists one host and asks with another.
func TestHostsAreComparedByWhereTheyLead(t *testing.T) {
	for name, test := range map[string]struct {
		listed, asked string
		same          bool
	}{
		"the same name":                  {"app.sysdigcloud.com", "https://app.sysdigcloud.com", true},
		"with a path":                    {"app.sysdigcloud.com", "https://app.sysdigcloud.com/api", true},
		"in other cases":                 {"App.SysdigCloud.com", "https://APP.sysdigcloud.COM", true},
		"with the dot of the root":       {"app.sysdigcloud.com.", "https://app.sysdigcloud.com", true},
		"with the dot, asked":            {"app.sysdigcloud.com", "https://app.sysdigcloud.com./", true},
		"with the usual port":            {"app.sysdigcloud.com:443", "https://app.sysdigcloud.com", true},
		"with the usual port, asked":     {"app.sysdigcloud.com", "https://app.sysdigcloud.com.:0443", true},
		"with a port":                    {"sysdig.example.com:8443", "https://sysdig.example.com:8443", true},
		"an address":                     {"192.0.2.10", "https://192.0.2.10", true},
		"IPv6, written twice":            {"2001:DB8:0::1", "https://[2001:db8::1]", true},
		"IPv6 with a port":               {"[2001:db8::1]:8443", "https://[2001:db8:0:0::1]:8443", true},
		"IPv4 within IPv6":               {"192.0.2.10", "https://[::ffff:192.0.2.10]", true},
		"a name in other letters":        {"xn--bcher-kva.example", "https://xn--BCHER-kva.example", true},
		"another name":                   {"app.sysdigcloud.com", "https://us2.app.sysdig.com", false},
		"a name below":                   {"sysdigcloud.com", "https://app.sysdigcloud.com", false},
		"a name above":                   {"app.sysdigcloud.com", "https://sysdigcloud.com", false},
		"a name that goes on":            {"app.sysdigcloud.com", "https://app.sysdigcloud.com.evil.example", false},
		"another port":                   {"app.sysdigcloud.com", "https://app.sysdigcloud.com:8443", false},
		"the usual port, when not meant": {"app.sysdigcloud.com:8443", "https://app.sysdigcloud.com", false},
		"another address":                {"2001:db8::1", "https://[2001:db8::2]", false},
	} {
		t.Run(name, func(t *testing.T) {
			listed, err := ParseHosts(test.listed)
			if err != nil {
				t.Fatal(err)
			}
			query, err := QueryURL("", test.asked, "/prometheus")
			if err != nil {
				t.Fatal(err)
			}
			hosts, err := Config{QueryURL: query, DataURL: query}.Hosts()
			if err != nil || len(hosts) != 1 {
				t.Fatalf("asks %q: %v", hosts, err)
			}
			if got := slices.Contains(listed, hosts[0]); got != test.same {
				t.Errorf("%q is in %q: %t", hosts[0], listed, got)
			}
		})
	}
}

// TestWhatIsNoHostIsNotListed, and is not repeated either.
func TestWhatIsNoHostIsNotListed(t *testing.T) {
	for _, entry := range []string{
		"*", "*.sysdigcloud.com", ".sysdigcloud.com", "app..com", "https://app.sysdigcloud.com", "app.sysdigcloud.com/api", "app.sysdigcloud.com/", "user@app.sysdigcloud.com",
		"app.sysdigcloud.com:", "app.sysdigcloud.com:0", "app.sysdigcloud.com:65536", "app.sysdigcloud.com:https", "app sysdigcloud com", "app.sysdigcloud.com;evil.example",
		"app.sysdigcloud.com?a", "app.sysdigcloud.com#a", "bücher.example", "app。sysdigcloud。com", "[fe80::1%25eth0]", "fe80::1%eth0", "0x7f.1", "127.1", "2130706433", "$(id)", "a'b",
		strings.Repeat("a", 64) + ".example", "\u212a.example", "app.sysdigcloud.com\\evil", "app%2esysdigcloud.com",
	} {
		hosts, err := ParseHosts("app.sysdigcloud.com," + entry)
		if err == nil || !strings.Contains(err.Error(), "number 2") {
			t.Errorf("%q is %q: %v", entry, hosts, err)
		}
		if err != nil && len(entry) > 10 && !strings.Contains("such as app.sysdigcloud.com or", entry) && strings.Contains(err.Error(), entry) {
			t.Errorf("%q is repeated: %v", entry, err)
		}
	}
	if hosts, err := ParseHosts(strings.Repeat("a.example,", maxHosts)); err != nil || len(hosts) != maxHosts {
		t.Errorf("%d hosts: %v", len(hosts), err)
	}
}

// TestTheClientAsksNoOtherHosts compares what is told with where requests go: to the API, to the data API, and to IAM.
func TestTheClientAsksNoOtherHosts(t *testing.T) {
	address := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	config := Config{QueryURL: address("https://one.example/q"), DataURL: address("https://two.example/d"), IAM: &IAM{URL: address("https://three.example:8443/t")}}
	hosts, err := config.Hosts()
	if want := []string{"one.example", "two.example", "three.example:8443"}; err != nil || !slices.Equal(hosts, want) {
		t.Errorf("got %q and %v, want %q", hosts, err, want)
	}
	config.IAM.URL = address("https://thrée.example/t")
	if _, err := config.Hosts(); err == nil || !strings.HasPrefix(err.Error(), "spec.endpoint.iam.url: ") {
		t.Errorf("a host in other letters: %v", err)
	}
}

// FuzzHosts looks for a list that holds more than it says: whatever is listed is a host by itself, which an address leads to, and
// which has one spelling.
func FuzzHosts(f *testing.F) {
	for _, list := range []string{"app.sysdigcloud.com", "a:8443, b", "[2001:db8::1]:8443,::1", "*.a", "a/b", "a@b", "A.,a:443", "::ffff:192.0.2.1"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		hosts, err := ParseHosts(list)
		if err != nil {
			return
		}
		if len(hosts) > maxHosts || len(hosts) > strings.Count(list, ",")+1 {
			t.Fatalf("%q lists %q", list, hosts)
		}
		again, err := ParseHosts(strings.Join(hosts, ","))
		if err != nil || !slices.Equal(again, hosts) {
			t.Fatalf("%q lists %q, which lists %q: %v", list, hosts, again, err)
		}
		for _, host := range hosts {
			request, err := http.NewRequest(http.MethodGet, "https://"+host+"/x", nil)
			if err != nil {
				t.Fatalf("%q: %v", host, err)
			}
			if got, err := hostOf(request.URL); err != nil || got != host || strings.ToLower(host) != host {
				t.Fatalf("%q leads to %q: %v", host, got, err)
			}
		}
	})
}
