package sysdig

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// regionURL is the Monitor address of a SaaS region. Two shapes of host names are in use, so it is a table. Source:
// Sysdig's charts, and "SaaS Regions and IP Ranges" in its documentation.
func regionURL(region string) (string, bool) {
	switch region {
	case "us1":
		return "https://app.sysdigcloud.com", true
	case "us2", "eu1":
		return "https://" + region + ".app.sysdig.com", true
	case "us3", "us4", "eu2", "au1", "me2", "in1", "jp1":
		return "https://app." + region + ".sysdig.com", true
	}
	return "", false
}

// regionOf is the region of a host of Sysdig's or of IBM Cloud; empty for other hosts.
func regionOf(host string) string {
	for _, region := range []string{"us1", "us2", "us3", "us4", "eu1", "eu2", "au1", "me2", "in1", "jp1"} {
		if base, _ := regionURL(region); base == "https://"+host {
			return region
		}
	}
	if region, ok := strings.CutSuffix(host, ".monitoring.cloud.ibm.com"); ok {
		return strings.TrimPrefix(region, "private.")
	}
	return ""
}

// usualPath is the path in front of /api/v1/query at Sysdig, and the default of spec.endpoint.prometheusPath.
const usualPath = "/prometheus"

// QueryURL is the address of the instant query. Of region and base one is set; base may end in a slash, in /api, or in the path of
// either API, as people copy it from other tools. The error names the field of a SysdigConnection.
func QueryURL(region, base, prometheusPath string) (*url.URL, error) {
	u, own, err := address(region, base)
	if err != nil {
		return nil, err
	}
	if own != "" && (prometheusPath == usualPath || prometheusPath == "") { // an address that says it knows better than a default
		prometheusPath = own
	}
	u.Path += cutVersion(prometheusPath) + "/api/v1/query"
	return u, nil
}

// DataURL is the address of the data API, for the region and base of QueryURL.
func DataURL(region, base string) (*url.URL, error) {
	u, _, err := address(region, base)
	if err != nil {
		return nil, err
	}
	u.Path += "/api/data"
	return u, nil
}

// address is that of a Monitor, without the paths of its APIs, and the path of the Prometheus API that it was written with.
func address(region, base string) (u *url.URL, prometheusPath string, err error) {
	if base == "" {
		known, ok := regionURL(region)
		if !ok {
			return nil, "", fmt.Errorf("spec.endpoint.region: %q is no region of Sysdig's; use spec.endpoint.url", region)
		}
		base = known
	}
	if u, err = ParseURL(base); err != nil {
		return nil, "", fmt.Errorf("spec.endpoint.url: %w", err)
	}
	u.Path, prometheusPath = cutAPI(strings.TrimRight(u.Path, "/"))
	u.RawPath = ""
	if isPage(u.Path) || u.Path != "" && regionOf(u.Host) != "" { // Sysdig's own regions have no other paths
		return nil, "", fmt.Errorf("spec.endpoint.url: must be the address of Sysdig's API, not of a page: leave out %s and write what is in front of it, such as https://app.sysdigcloud.com", u.Path)
	}
	return u, prometheusPath, nil
}

// isPage tells whether a path is one of those that people see in a browser.
func isPage(path string) bool {
	page := path[strings.LastIndex(path, "/")+1:]
	return strings.HasSuffix(page, ".html") || page == "apidocs" || page == "login"
}

// cutAPI takes the paths of Sysdig's APIs from the end of a path, and returns that of the Prometheus API.
func cutAPI(path string) (prefix, prometheusPath string) {
	path = cutVersion(path)
	for _, tail := range []string{"/api/prometheus", usualPath} {
		if before, ok := strings.CutSuffix(path, tail); ok {
			return strings.TrimRight(before, "/"), tail
		}
	}
	for _, tail := range []string{"/api/data", "/api"} {
		if before, ok := strings.CutSuffix(path, tail); ok {
			return strings.TrimRight(before, "/"), ""
		}
	}
	return path, ""
}

// cutVersion takes what is below the path of the Prometheus API from the end of a path.
func cutVersion(path string) string {
	for _, tail := range []string{"/api/v1/query", "/api/v1/query_range", "/api/v1"} {
		if before, ok := strings.CutSuffix(path, tail); ok {
			return strings.TrimRight(before, "/")
		}
	}
	return path
}

// ParseURL reads an address of Sysdig or of IBM Cloud IAM. What people and programs read differently is refused: a host that ends in a
// number is an IPv4 address of four decimal parts, and no other way to write one.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") {
		return nil, errors.New("must be an https:// address without credentials, query or fragment: leave out what begins with ? or #")
	}
	if port := u.Port(); strings.HasSuffix(u.Host, ":") || port != "" && !isPort(port) {
		return nil, errors.New("must have a port from 1 to 65535, or none")
	}
	host := u.Hostname()
	if strings.Contains(host, "%") {
		return nil, errors.New("must not hold a zone of IPv6")
	}
	_, err = netip.ParseAddr(host)
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if err != nil && numeric(labels[len(labels)-1]) {
		return nil, errors.New("must have a name as host, or an address in the usual form such as 192.0.2.10 or [2001:db8::1]")
	}
	return u, nil
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// numeric tells whether the last label of a host makes it an IPv4 address, as the URL standard of WHATWG has it.
func numeric(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok && strings.Trim(hex, "0123456789abcdef") == "" {
		return true
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

// HeaderAllowed reports whether a connection may have a header sent: those that choose a team or an instance, and Sysdig's own. Others
// would say to the server, or to what is on the way, where a request ends, who asks, or what it is.
func HeaderAllowed(name string) bool {
	switch name = strings.ToLower(name); name {
	case "ibminstanceid", "sysdigteamid", "teamid", "sysdigproduct":
		return true
	}
	rest, ok := strings.CutPrefix(name, "x-sysdig-")
	return ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
