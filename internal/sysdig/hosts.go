package sysdig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

const (
	// maxHosts is how many hosts a list may name: Sysdig has 10 regions, and IBM Cloud adds IAM.
	maxHosts = 16
	// maxHostsLength bounds a list, in bytes: so many names of 253 bytes, the most that DNS allows.
	maxHostsLength = 4 << 10
	// maxLabel bounds a part of a name of DNS, in bytes: RFC 1035, section 2.3.4.
	maxLabel = 63
	// httpsPort is meant where none is written.
	httpsPort = "443"
)

// Hosts are where requests with the credential go: those of the API, and with IAM also that of the exchange. Each is there once, in the
// spelling of ParseHosts. The error names the field of a SysdigConnection.
func (c Config) Hosts() (hosts []string, err error) {
	type target struct {
		field string
		url   *url.URL
	}
	targets := []target{{"spec.endpoint.url", c.QueryURL}, {"spec.endpoint.url", c.DataURL}}
	if c.IAM != nil {
		targets = append(targets, target{"spec.endpoint.iam.url", c.IAM.URL})
	}
	for _, t := range targets {
		host, err := hostOf(t.url)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.field, err)
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// ParseHosts reads a list of hosts that a credential may be sent to. They are exact, since a pattern would one day match somebody
// else's. The error does not repeat what is wrong: it may be a credential in the wrong place.
func ParseHosts(list string) (hosts []string, err error) {
	if len(list) > maxHostsLength {
		return nil, fmt.Errorf("is longer than %d bytes", maxHostsLength)
	}
	for i, entry := range strings.Split(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		host, err := parseHost(entry)
		if err != nil {
			return nil, fmt.Errorf("has an entry, number %d, that is no host such as app.sysdigcloud.com or sysdig.example.com:8443", i+1)
		}
		if hosts = append(hosts, host); len(hosts) > maxHosts {
			return nil, fmt.Errorf("names more than %d hosts", maxHosts)
		}
	}
	return hosts, nil
}

func parseHost(entry string) (string, error) {
	if address, err := netip.ParseAddr(entry); err == nil && address.Is6() {
		entry = "[" + entry + "]"
	}
	u, err := ParseURL("https://" + entry)
	if err != nil {
		return "", err
	}
	if u.Path != "" {
		return "", errors.New("there is a path")
	}
	return hostOf(u)
}

// hostOf is the one spelling of a host, and of its port if that is another than 443, of all that lead to the same place. u is of ParseURL.
func hostOf(u *url.URL) (string, error) {
	host, port := strings.TrimSuffix(u.Hostname(), "."), strings.TrimLeft(u.Port(), "0")
	if address, err := netip.ParseAddr(host); err == nil {
		host = address.Unmap().String()
	} else if slices.ContainsFunc(strings.Split(host, "."), notLabel) {
		return "", errors.New("must have a host of letters, digits, dashes and dots; a name in other letters has a form that begins with xn--")
	}
	if port == "" {
		port = httpsPort
	}
	return strings.TrimSuffix(net.JoinHostPort(strings.ToLower(host), port), ":"+httpsPort), nil
}

// notLabel tells whether a text is no part of a host name. People do write underscores.
func notLabel(text string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return text == "" || len(text) > maxLabel || strings.Trim(text, letters+"0123456789-_") != ""
}
