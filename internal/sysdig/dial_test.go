package sysdig_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/egress"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// nameServer answers DNS as told. Names that it was not told, such as numbers, it answers as a resolver would that takes them for
// addresses of this machine.
type nameServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	answers map[string]string
}

func newNameServer(t *testing.T, answers map[string]string) *nameServer {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{conn: conn, answers: answers}
	var served sync.WaitGroup
	served.Go(n.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		served.Wait()
	})
	return n
}

func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func (n *nameServer) serve() {
	buffer := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if question.Unpack(buffer[:size]) != nil || len(question.Questions) != 1 {
			continue
		}
		if answer, err := n.answer(question); err == nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

func (n *nameServer) answer(m dnsmessage.Message) ([]byte, error) {
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, text := range n.addresses(strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))) {
		address := netip.MustParseAddr(text)
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
		switch {
		case address.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case address.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	return m.Pack()
}

func (n *nameServer) addresses(name string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if answer, ok := n.answers[name]; ok {
		return strings.Fields(answer)
	}
	return []string{"127.0.0.1"}
}

// tell changes what a name leads to.
func (n *nameServer) tell(name, answer string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[name] = answer
}

// trap listens where nobody should be sent to, on several addresses of this machine and one port. It counts what comes.
type trap struct {
	port string

	mu     sync.Mutex
	conns  int
	tokens int
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	for {
		listeners, err := listenAlike(t)
		switch {
		case errors.Is(err, syscall.EADDRINUSE): // on one of the addresses somebody else has the port
			continue
		case err != nil:
			t.Fatal(err)
		}
		tr := &trap{}
		_, tr.port, _ = net.SplitHostPort(listeners[0].Addr().String())
		for _, listener := range listeners {
			tr.serve(t, listener)
		}
		return tr
	}
}

// listenAlike listens on one port of several addresses. It is quiet about those that this machine does not have.
func listenAlike(t *testing.T) (listeners []net.Listener, err error) {
	t.Helper()
	port := "0"
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, port))
		switch {
		case err == nil:
			listeners = append(listeners, listener)
			_, port, _ = net.SplitHostPort(listener.Addr().String())
		case len(listeners) == 0 || errors.Is(err, syscall.EADDRINUSE):
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, err
		default:
			t.Log(err)
		}
	}
	return listeners, nil
}

func (tr *trap) serve(t *testing.T, listener net.Listener) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			tr.tokens++
		}
	}))
	_ = server.Listener.Close()
	server.Listener, server.Config.ErrorLog = listener, log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.conns++
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
}

func (tr *trap) connections() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.conns
}

// wayIn is an endpoint that leads to where no Sysdig is.
type wayIn struct {
	name, url string
	// answers is what its names lead to.
	answers string
	// aims is the address that the client would connect to; empty for one of this machine, where it would arrive.
	aims string
	// what is how the refusal calls the address; empty when the URL is refused.
	what string
}

const loopback = "a loopback address"

// waysIn have PORT in the place of the port of the trap.
func waysIn() []wayIn {
	return []wayIn{
		{name: "loopback", url: "https://127.0.0.1:PORT", what: loopback},
		{name: "all of loopback", url: "https://127.1.2.3:PORT", what: loopback},
		{name: "loopback by name", url: "https://localhost:PORT", what: loopback},
		{name: "loopback by name, with a dot", url: "https://localhost.:PORT", what: loopback},
		{name: "loopback by name, in capitals", url: "https://LocalHost:PORT", what: loopback},
		{name: "loopback of IPv6", url: "https://[::1]:PORT", what: loopback},
		{name: "loopback of IPv6, in full", url: "https://[0:0:0:0:0:0:0:1]:PORT", what: loopback},
		{name: "unspecified", url: "https://0.0.0.0:PORT", what: "an unspecified address"},
		{name: "unspecified of IPv6", url: "https://[::]:PORT", what: "an unspecified address"},
		{name: "this network", url: "https://0.1.2.3:PORT", aims: "0.1.2.3", what: "an unspecified address"},
		{name: "mapped", url: "https://[::ffff:127.0.0.1]:PORT", what: loopback},
		{name: "mapped, in hexadecimal", url: "https://[::ffff:7f00:1]:PORT", what: loopback},
		{name: "compatible", url: "https://[::127.0.0.1]:PORT", aims: "::7f00:1", what: loopback},
		{name: "by NAT64", url: "https://[64:ff9b::7f00:1]:PORT", aims: "64:ff9b::7f00:1", what: loopback},
		{name: "metadata by NAT64", url: "https://[64:ff9b::a9fe:a9fe]:PORT", aims: "64:ff9b::a9fe:a9fe", what: "metadata"},
		{name: "metadata by a NAT64 of one's own", url: "https://[64:ff9b:1::a9fe:a9fe]:PORT", aims: "64:ff9b:1::a9fe:a9fe", what: "metadata"},
		{name: "by 6to4", url: "https://[2002:7f00:1::]:PORT", aims: "2002:7f00:1::", what: loopback},
		{name: "by Teredo", url: "https://[2001:0:1:2:3:4:80ff:fffe]:PORT", aims: "2001:0:1:2:3:4:80ff:fffe", what: loopback},
		{name: "by ISATAP", url: "https://[2001:db8::5efe:127.0.0.1]:PORT", aims: "2001:db8::5efe:7f00:1", what: loopback},
		{name: "metadata", url: "https://169.254.169.254", aims: "169.254.169.254", what: "metadata"},
		{name: "metadata, mapped", url: "https://[::ffff:169.254.169.254]", aims: "::ffff:169.254.169.254", what: "metadata"},
		{name: "metadata by name", url: "https://metadata.example.com", answers: "169.254.169.254", aims: "169.254.169.254", what: "metadata"},
		{name: "metadata of AWS by IPv6", url: "https://[fd00:ec2::254]", aims: "fd00:ec2::254", what: "metadata"},
		{name: "metadata of Azure", url: "https://168.63.129.16", aims: "168.63.129.16", what: "metadata"},
		{name: "metadata of Alibaba", url: "https://100.100.100.200", aims: "100.100.100.200", what: "metadata"},
		{name: "link-local", url: "https://169.254.1.1", aims: "169.254.1.1", what: "a link-local address"},
		{name: "link-local of IPv6", url: "https://[fe80::1]", aims: "fe80::1", what: "a link-local address"},
		{name: "multicast", url: "https://224.0.0.1", aims: "224.0.0.1", what: "a multicast address"},
		{name: "multicast of IPv6", url: "https://[ff02::1]", aims: "ff02::1", what: "a multicast address"},
		{name: "broadcast", url: "https://255.255.255.255", aims: "255.255.255.255", what: "broadcast"},
		{name: "a Service of the cluster", url: "https://10.96.0.1", aims: "10.96.0.1", what: "an address of this cluster"},
		{name: "a pod", url: "https://10.244.1.7:6379", aims: "10.244.1.7", what: "an address of this cluster"},
		{name: "a pod, by 6to4", url: "https://[2002:af4:107::]:6379", aims: "2002:af4:107::", what: "an address of this cluster"},
		{name: "a node", url: "https://192.0.2.50:10250", aims: "192.0.2.50", what: "an address of this cluster"},
		{name: "the API server", url: "https://192.0.2.80:6443", aims: "192.0.2.80", what: "an address of this cluster"},
		{name: "a Service by name", url: "https://kubernetes.default.svc.cluster.local", answers: "10.96.0.1", aims: "10.96.0.1", what: "an address of this cluster"},
		{name: "a name that leads to loopback", url: "https://sysdig.example.com:PORT", answers: "127.0.0.1", what: loopback},
		{name: "a name that leads to loopback of IPv6", url: "https://sysdig6.example.com:PORT", answers: "::1", what: loopback},
		{name: "a name that leads to a mapped address", url: "https://mapped.example.com:PORT", answers: "::ffff:127.0.0.1", what: loopback},
		{name: "a name that leads to several", url: "https://several.example.com:PORT", answers: "127.0.0.1 127.1.2.3 ::1", what: loopback},
		{name: "a name that holds an address", url: "https://127.0.0.1.nip.example:PORT", answers: "127.0.0.1", what: loopback},
		{name: "full stops of another script", url: "https://127。0。0。1:PORT", what: loopback},
		{name: "digits in circles", url: "https://①②⑦.⓪.⓪.①:PORT", what: loopback},
		{name: "letters in circles", url: "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT", what: loopback},
		{name: "a path that looks like a host", url: "https://127.0.0.1:PORT/https://app.sysdigcloud.com", what: loopback},
		{name: "a path that climbs", url: "https://127.0.0.1:PORT/../../@app.sysdigcloud.com", what: loopback},
		{name: "another port", url: "https://127.0.0.1:22", what: loopback, aims: "127.0.0.1"},
		{name: "decimal", url: "https://2130706433:PORT"},
		{name: "octal", url: "https://0177.0.0.1:PORT"},
		{name: "hexadecimal", url: "https://0x7f.0.0.1:PORT"},
		{name: "hexadecimal in one", url: "https://0x7f000001:PORT"},
		{name: "the short form", url: "https://127.1:PORT"},
		{name: "a dot behind the address", url: "https://127.0.0.1.:PORT"},
		{name: "too large a number", url: "https://127.0.0.257:PORT"},
		{name: "zeroes in front", url: "https://127.000.000.001:PORT"},
		{name: "user information", url: "https://app.sysdigcloud.com@127.0.0.1:PORT"},
		{name: "a fragment", url: "https://127.0.0.1:PORT#@app.sysdigcloud.com"},
		{name: "an empty fragment", url: "https://127.0.0.1:PORT#"},
		{name: "a query", url: "https://127.0.0.1:PORT?@app.sysdigcloud.com"},
		{name: "a backslash", url: `https://app.sysdigcloud.com\@127.0.0.1:PORT`},
		{name: "percent-encoding", url: "https://%31%32%37.0.0.1:PORT"},
		{name: "a zone", url: "https://[fe80::1%25lo]:PORT"},
		{name: "two ports", url: "https://127.0.0.1:PORT:443"},
		{name: "port 0", url: "https://127.0.0.1:0"},
		{name: "no port", url: "https://127.0.0.1:"},
		{name: "in the clear", url: "http://127.0.0.1:PORT"},
		{name: "a file", url: "file:///etc/passwd"},
		{name: "Gopher", url: "gopher://127.0.0.1:PORT/_GET"},
		{name: "no scheme", url: "//127.0.0.1:PORT"},
		{name: "a line break", url: "https://127.0.0.1:PORT/\r\nHost: app.sysdigcloud.com"},
	}
}

// insideCluster are the addresses of the cluster of waysIn.
func insideCluster() *egress.Addresses {
	a := egress.NewAddresses("https://192.0.2.80:6443")
	a.OnAdd(&corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}}, true)
	a.OnAdd(&corev1.Pod{Status: corev1.PodStatus{PodIP: "10.244.1.7", HostIP: "192.0.2.50"}}, true)
	return a
}

// TestEndpointsLeadNowhereInside: neither a connection nor a token arrives, and the message says what allows the address. The control is
// a client that permits every address: the connection arrives, or would be made to the address.
func TestEndpointsLeadNowhereInside(t *testing.T) {
	answers := map[string]string{}
	for _, way := range waysIn() {
		if u, err := url.Parse(strings.ReplaceAll(way.url, "PORT", "1")); err == nil && way.answers != "" {
			answers[u.Hostname()] = way.answers
		}
	}
	resolver := newNameServer(t, answers).resolver()
	policy := egress.Policy{Cluster: insideCluster()}
	for _, way := range waysIn() {
		t.Run(way.name, func(t *testing.T) {
			tr := newTrap(t) // a connection that is noticed late is one of its own control
			text := strings.ReplaceAll(way.url, "PORT", tr.port)
			address, err := sysdig.QueryURL("", text, "/prometheus")
			if way.what == "" {
				if err == nil {
					t.Errorf("%s is taken for an address", text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			failure := dial(t, address, resolver, policy.Check)
			if failure.Reason != metric.Unavailable || !strings.Contains(failure.Full(), way.what) || !strings.Contains(failure.Full(), "--allow-endpoint-networks") {
				t.Errorf("got %v, want it to tell of %s", failure, way.what)
			}
			if n := tr.connections(); n != 0 {
				t.Errorf("%d connections have been made", n)
			}
			var aimed []string
			dial(t, address, resolver, func(at netip.Addr) error {
				aimed = append(aimed, at.String())
				if way.aims != "" {
					return errors.New("no further")
				}
				return nil
			})
			if way.aims != "" && (len(aimed) == 0 || aimed[0] != way.aims && netip.MustParseAddr(aimed[0]).Unmap() != netip.MustParseAddr(way.aims).Unmap()) {
				t.Errorf("without the check the client connects to %s, want %s", aimed, way.aims)
			}
			if way.aims == "" && tr.connections() == 0 {
				t.Errorf("without the check nothing arrives either; the client connects to %s", aimed)
			}
		})
	}
}

// dial asks an address and expects that to fail: nobody has a certificate for it.
func dial(t *testing.T, address *url.URL, resolver *net.Resolver, permit func(netip.Addr) error) *metric.Failure {
	t.Helper()
	client, err := sysdig.NewClient(sysdig.Config{QueryURL: address, Token: token, UserAgent: "test", Timeout: ample, Permit: permit, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Query(t.Context(), "x", noon)
	if err == nil {
		t.Fatal("it was answered")
	}
	return metric.AsFailure(err)
}

// TestANameThatChangesItsAddressIsCheckedEachTime: the first answer is allowed and the second is not.
func TestANameThatChangesItsAddressIsCheckedEachTime(t *testing.T) {
	tr := newTrap(t)
	allowed := egress.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}
	for name, check := range map[string]func(netip.Addr) error{"checked": allowed.Check, "not checked": nil} {
		t.Run(name, func(t *testing.T) {
			const name = "rebinding.example.com"
			names := newNameServer(t, map[string]string{name: "127.0.0.2"})
			address, err := sysdig.QueryURL("", "https://"+name+":"+tr.port, "/prometheus")
			if err != nil {
				t.Fatal(err)
			}
			client, err := sysdig.NewClient(sysdig.Config{QueryURL: address, Token: token, UserAgent: "test", Timeout: ample, Permit: check, Resolver: names.resolver()})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for i, connects := range []bool{true, check == nil, check == nil} {
				before := tr.connections()
				_, err := client.Query(t.Context(), "x", noon)
				if connected := tr.connections() > before; connected != connects || err == nil {
					t.Errorf("question %d has connected: %t, want %t; the error is %v", i, connected, connects, err)
				}
				names.tell(name, "127.0.0.1")
			}
		})
	}
}

// TestARedirectLeadsNowhereInside: it is not followed at all. The control is a client that follows it.
func TestARedirectLeadsNowhereInside(t *testing.T) {
	for _, target := range []string{"https://127.0.0.1:PORT", "https://localhost:PORT/x", "//127.0.0.1:PORT", "https://169.254.169.254/latest/meta-data"} {
		tr := newTrap(t) // a connection that is noticed late is one of its own control
		target = strings.ReplaceAll(target, "PORT", tr.port)
		site := answering(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		})
		client := site.client(t, func(c *sysdig.Config) {
			c.Permit = egress.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}.Check
		})
		_, err := client.Query(t.Context(), "x", noon)
		wantFailure(t, err, metric.Unavailable, "redirects to another address")
		if tr.connections() != 0 {
			t.Errorf("%s was followed", target)
		}
		if strings.Contains(target, "169.254") {
			continue
		}
		follows := site.Client()
		if response, err := follows.Get(site.URL); err == nil {
			_ = response.Body.Close()
		}
		if tr.connections() == 0 {
			t.Errorf("%s leads nowhere", target)
		}
	}
}

// TestAnAllowedNetworkIsAsked is what the operator's flag is for.
func TestAnAllowedNetworkIsAsked(t *testing.T) {
	site := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	})
	client := site.client(t, func(c *sysdig.Config) {
		c.Permit = egress.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Cluster: insideCluster()}.Check
	})
	if _, err := client.Query(t.Context(), "x", noon); err != nil {
		t.Error(err)
	}
}

// TestIAMIsCheckedToo: the API key is a secret as well.
func TestIAMIsCheckedToo(t *testing.T) {
	c := newCloud(t)
	client := c.client(t, func(config *sysdig.Config) { config.Permit = egress.Policy{}.Check })
	err := ask(t, client)
	wantSecretFailure(t, err, metric.Unavailable, "nothing was sent to IBM Cloud IAM", "--allow-endpoint-networks")
	if n := len(c.asked()); n != 0 {
		t.Errorf("%d requests have been sent", n)
	}
}
