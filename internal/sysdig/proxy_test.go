package sysdig

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestAProxyIsConnectedToWhereverItIs, since whoever runs the operator has chosen it. What it is asked for is judged when that is an
// address.
func TestAProxyIsConnectedToWhereverItIs(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.Host) }))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(netip.Addr) error { return errors.New("it is not permitted") }
	for host, through := range map[string]bool{"sysdig.example.com": true, "169.254.169.254": false, "[::1]:8443": false} {
		for _, proxied := range []bool{true, false} {
			asked = nil
			transport := newTransport(Config{Timeout: 2 * time.Minute, Permit: refuse}, nil, func(*http.Request) (*url.URL, error) {
				if proxied {
					return address, nil
				}
				return nil, nil
			})
			client := &http.Client{Transport: transport}
			response, err := client.Get("http://" + host + "/")
			if err == nil {
				_ = response.Body.Close()
			}
			client.CloseIdleConnections()
			if want := through && proxied; (err == nil) != want || (len(asked) == 1) != want {
				t.Errorf("%s, by a proxy: %t: %v, the proxy was asked for %s", host, proxied, err, strings.Join(asked, " "))
			}
		}
	}
}
