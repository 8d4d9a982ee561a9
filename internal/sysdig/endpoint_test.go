package sysdig_test

import (
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

func TestQueryURLAndDataURL(t *testing.T) {
	const path = "/prometheus/api/v1/query"
	tests := map[string]struct{ region, base, path, want string }{
		"region us1":                                   {region: "us1", want: "https://app.sysdigcloud.com" + path},
		"region us2":                                   {region: "us2", want: "https://us2.app.sysdig.com" + path},
		"region us3":                                   {region: "us3", want: "https://app.us3.sysdig.com" + path},
		"region us4":                                   {region: "us4", want: "https://app.us4.sysdig.com" + path},
		"region eu1":                                   {region: "eu1", want: "https://eu1.app.sysdig.com" + path},
		"region eu2":                                   {region: "eu2", want: "https://app.eu2.sysdig.com" + path},
		"region au1":                                   {region: "au1", want: "https://app.au1.sysdig.com" + path},
		"region me2":                                   {region: "me2", want: "https://app.me2.sysdig.com" + path},
		"region in1":                                   {region: "in1", want: "https://app.in1.sysdig.com" + path},
		"region jp1":                                   {region: "jp1", want: "https://app.jp1.sysdig.com" + path},
		"a plain address":                              {base: "https://sysdig.example.com", want: "https://sysdig.example.com" + path},
		"an address with a port":                       {base: "https://sysdig.example.com:8443", want: "https://sysdig.example.com:8443" + path},
		"an IPv6 address":                              {base: "https://[2001:db8::1]", want: "https://[2001:db8::1]" + path},
		"a trailing slash":                             {base: "https://sysdig.example.com/", want: "https://sysdig.example.com" + path},
		"several trailing slashes":                     {base: "https://sysdig.example.com///", want: "https://sysdig.example.com" + path},
		"a trailing /api":                              {base: "https://sysdig.example.com/api", want: "https://sysdig.example.com" + path},
		"a trailing /api/":                             {base: "https://sysdig.example.com/api/", want: "https://sysdig.example.com" + path},
		"a path prefix":                                {base: "https://example.com/sysdig/", want: "https://example.com/sysdig" + path},
		"a path prefix before /api":                    {base: "https://example.com/sysdig/api", want: "https://example.com/sysdig" + path},
		"a path prefix that ends like /api":            {base: "https://example.com/myapi", want: "https://example.com/myapi" + path},
		"the path of IBM":                              {base: "https://eu-de.monitoring.cloud.ibm.com", path: "/api/prometheus", want: "https://eu-de.monitoring.cloud.ibm.com/api/prometheus/api/v1/query"},
		"the path of IBM and its /api":                 {base: "https://eu-de.monitoring.cloud.ibm.com/api", path: "/api/prometheus", want: "https://eu-de.monitoring.cloud.ibm.com/api/prometheus/api/v1/query"},
		"the path of the Prometheus API":               {base: "https://app.sysdigcloud.com/prometheus", want: "https://app.sysdigcloud.com" + path},
		"that path and a slash":                        {base: "https://app.sysdigcloud.com/prometheus/", want: "https://app.sysdigcloud.com" + path},
		"that path with its version":                   {base: "https://app.sysdigcloud.com/prometheus/api/v1", want: "https://app.sysdigcloud.com" + path},
		"the whole path of a query":                    {base: "https://app.sysdigcloud.com/prometheus/api/v1/query", want: "https://app.sysdigcloud.com" + path},
		"the whole path, behind a prefix":              {base: "https://example.com/sysdig/prometheus/api/v1/query/", want: "https://example.com/sysdig" + path},
		"the path of the data API":                     {base: "https://app.sysdigcloud.com/api/data", want: "https://app.sysdigcloud.com" + path},
		"the path of IBM in the address":               {base: "https://eu-de.monitoring.cloud.ibm.com/api/prometheus", want: "https://eu-de.monitoring.cloud.ibm.com/api/prometheus/api/v1/query"},
		"the path of IBM in both":                      {base: "https://eu-de.monitoring.cloud.ibm.com/api/prometheus", path: "/api/prometheus", want: "https://eu-de.monitoring.cloud.ibm.com/api/prometheus/api/v1/query"},
		"a path that was chosen":                       {base: "https://example.com/prometheus", path: "/metrics", want: "https://example.com/metrics/api/v1/query"},
		"a prefix that ends like prometheus":           {base: "https://example.com/myprometheus", want: "https://example.com/myprometheus" + path},
		"many slashes":                                 {base: "https://sysdig.example.com//prometheus//", want: "https://sysdig.example.com" + path},
		"the path of a range query":                    {base: "https://app.sysdigcloud.com/prometheus/api/v1/query_range", want: "https://app.sysdigcloud.com" + path},
		"a version alone":                              {base: "https://app.sysdigcloud.com/api/v1", want: "https://app.sysdigcloud.com" + path},
		"a slash behind the path of the data API":      {base: "https://app.sysdigcloud.com/api/data/", want: "https://app.sysdigcloud.com" + path},
		"the path of the data API behind a prefix":     {base: "https://example.com/monitor/api/data", want: "https://example.com/monitor" + path},
		"a private address of IBM and its /api":        {base: "https://private.us-south.monitoring.cloud.ibm.com/api/", path: "/api/prometheus", want: "https://private.us-south.monitoring.cloud.ibm.com/api/prometheus/api/v1/query"},
		"an install below /prometheus":                 {base: "https://example.com/prometheus/prometheus", want: "https://example.com/prometheus" + path},
		"a prefix that ends in query":                  {base: "https://example.com/query", want: "https://example.com/query" + path},
		"a Prometheus path with its version":           {base: "https://example.com", path: "/prometheus/api/v1", want: "https://example.com" + path},
		"a Prometheus path of a whole query":           {base: "https://example.com", path: "/prometheus/api/v1/query", want: "https://example.com" + path},
		"a page with a fragment is refused":            {base: "https://app.sysdigcloud.com/#/dashboards"},
		"a page is refused":                            {base: "https://app.sysdigcloud.com/default.html"},
		"a page of an install is refused":              {base: "https://sysdig.example.com/monitor/default.html"},
		"the reference of the API is refused":          {base: "https://app.sysdigcloud.com/apidocs"},
		"the reference of the API of today is refused": {base: "https://app.sysdigcloud.com/api/public/docs/index.html"},
		"a login is refused":                           {base: "https://sysdig.example.com/login/"},
		"a product's page is refused":                  {base: "https://us2.app.sysdig.com/secure/"},
		"another API is refused":                       {base: "https://app.sysdigcloud.com/api/v3/dashboards"},
		"an upper-case scheme":                         {base: "HTTPS://sysdig.example.com", want: "https://sysdig.example.com" + path},
		"plain HTTP is refused":                        {base: "http://sysdig.example.com"},
		"no scheme is refused":                         {base: "sysdig.example.com"},
		"another scheme is refused":                    {base: "file:///etc/passwd"},
		"no host is refused":                           {base: "https://"},
		"an opaque address is refused":                 {base: "https:sysdig.example.com"},
		"credentials are refused":                      {base: "https://user:secret@sysdig.example.com"},
		"a user is refused":                            {base: "https://user@sysdig.example.com"},
		"a query is refused":                           {base: "https://sysdig.example.com?token=secret"},
		"a fragment is refused":                        {base: "https://sysdig.example.com#secret"},
		"an address with a blank is refused":           {base: "https://sysdig example.com"},
		"an unknown region is refused":                 {region: "us9"},
		"neither region nor address":                   {},
		"a region in upper case is refused":            {region: "US1"},
		"a control character is refused":               {base: "https://sysdig.example.com/\x7f"},
		"a host of nothing but a port refused":         {base: "https://:8443"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			prometheusPath := test.path
			if prometheusPath == "" {
				prometheusPath = "/prometheus"
			}
			got, err := sysdig.QueryURL(test.region, test.base, prometheusPath)
			if test.want == "" {
				if err == nil || !strings.Contains(err.Error(), "spec.endpoint.") || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, %v; want an error that names the field", got, err)
				}
				if got, dataErr := sysdig.DataURL(test.region, test.base); got != nil || dataErr == nil || dataErr.Error() != err.Error() {
					t.Errorf("of the data API got %v, %v; want %v", got, dataErr, err)
				}
				return
			}
			if err != nil || got.String() != test.want {
				t.Errorf("got %v, %v; want %s", got, err, test.want)
			}
			want := strings.TrimSuffix(test.want, "/api/v1/query")
			for _, path := range []string{"/api/prometheus", "/prometheus", prometheusPath} {
				if before, ok := strings.CutSuffix(want, path); ok {
					want = before
					break
				}
			}
			want += "/api/data"
			if got, err := sysdig.DataURL(test.region, test.base); err != nil || got.String() != want {
				t.Errorf("of the data API got %v, %v; want %s", got, err, want)
			}
		})
	}
}

// TestAPageIsToldWithWhatToWrite has the message for an address from a browser.
func TestAPageIsToldWithWhatToWrite(t *testing.T) {
	for base, want := range map[string]string{
		"https://app.sysdigcloud.com/default.html": "spec.endpoint.url: must be the address of Sysdig's API, not of a page: leave out /default.html and write what is in front of it, such as https://app.sysdigcloud.com",
		"https://app.sysdigcloud.com/#/dashboards": "spec.endpoint.url: must be an https:// address without credentials, query or fragment: leave out what begins with ? or #",
	} {
		if _, err := sysdig.QueryURL("", base, "/prometheus"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", base, err, want)
		}
	}
}

func TestOnlyHeadersOfSysdigsAreSent(t *testing.T) {
	for name, allowed := range map[string]bool{
		"IBMInstanceID": true, "sysdigteamid": true, "TeamID": true, "SysdigProduct": true, "X-Sysdig-Product": true, "x-sysdig-public-notation": true,
		"": false, "X-Sysdig-": false, "X-Sysdig-a b": false, "X-Sysdig-a:": false, "Authorization": false, "Host": false, "Cookie": false, "Connection": false,
		"Transfer-Encoding": false, "Content-Length": false, "Upgrade": false, "Expect": false, "TE": false, "Trailer": false, "Proxy-Authorization": false,
		"Proxy-Connection": false, "Keep-Alive": false, "Upgrade-Insecure-Requests": false, "X-Original-URL": false, "X-Rewrite-URL": false, "X-Real-IP": false, "X-Accel-Redirect": false, "Forwarded": false, "Via": false, "Range": false, "If-Match": false, "Set-Cookie": false, "HTTP2-Settings": false, "Sec-WebSocket-Key": false, "X-Forwarded-For": false, "X-HTTP-Method-Override": false, "Accept-Encoding": false, "Content-Encoding": false,
	} {
		if sysdig.HeaderAllowed(name) != allowed {
			t.Errorf("%q is allowed: %t", name, !allowed)
		}
	}
}
