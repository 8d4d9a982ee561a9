package sysdig

import (
	"fmt"
	"net/url"
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

// QueryURL is the address of the instant query. Of region and base one is set; base may end in a slash or in /api, as
// people copy it from other tools. The error names the field of a SysdigConnection.
func QueryURL(region, base, prometheusPath string) (*url.URL, error) {
	return address(region, base, prometheusPath+"/api/v1/query")
}

// DataURL is the address of the data API, for the region and base of QueryURL.
func DataURL(region, base string) (*url.URL, error) {
	return address(region, base, "/api/data")
}

func address(region, base, path string) (*url.URL, error) {
	if base == "" {
		known, ok := regionURL(region)
		if !ok {
			return nil, fmt.Errorf("spec.endpoint.region: %q is no region of Sysdig's; use spec.endpoint.url", region)
		}
		base = known
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("spec.endpoint.url: must be an https:// address without credentials, query or fragment")
	}
	trimmed := strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api")
	u.Path, u.RawPath = strings.TrimRight(trimmed, "/")+path, ""
	return u, nil
}
