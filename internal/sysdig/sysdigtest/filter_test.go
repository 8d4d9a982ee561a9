package sysdigtest_test

import (
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// filtered is a server with one entity for each pod, and the question which of them pass a filter.
func filtered(t *testing.T, sw sysdigtest.ClassicSwitches) func(filter string) told {
	t.Helper()
	h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Classic: sw}})
	for name, namespace := range map[string]string{"web-1": "shop", "web-2": "shop", "api-1": "back office", "job": "", `odd"\'`: "odd"} {
		labels := map[string]string{sysdigtest.LabelPod: name}
		if namespace != "" {
			labels[sysdigtest.LabelNamespace] = namespace
		}
		h.fill(requests, labels, 1)
	}
	return func(filter string) told {
		t.Helper()
		return h.tryData(minute(podKey).with("filter", filter))
	}
}

// D14.
func TestAFilterConfinesTheEntities(t *testing.T) {
	ask := filtered(t, sysdigtest.ClassicSwitches{})
	const all = `api-1 job odd"\' web-1 web-2`
	for filter, want := range map[string]string{
		``:                                                                               all,
		`kubernetes.namespace.name = "shop"`:                                             "web-1 web-2",
		`kubernetes.namespace.name='shop'`:                                               "web-1 web-2",
		`kubernetes.namespace.name = shop`:                                               "web-1 web-2",
		`kube_namespace_name = "shop"`:                                                   "web-1 web-2",
		`kubernetes.namespace.name != "shop"`:                                            `api-1 job odd"\'`,
		`not kubernetes.namespace.name="shop"`:                                           `api-1 job odd"\'`,
		`not kubernetes.namespace.name!="shop"`:                                          "web-1 web-2",
		`kubernetes.namespace.name = "back office"`:                                      "api-1",
		`kubernetes.pod.name in ("web-1", "api-1")`:                                      "api-1 web-1",
		`kubernetes.pod.name in ('job')`:                                                 "job",
		`not kubernetes.pod.name in ("web-1","api-1")`:                                   `job odd"\' web-2`,
		`kubernetes.pod.name contains "-1"`:                                              "api-1 web-1",
		`not kubernetes.pod.name contains "-1"`:                                          `job odd"\' web-2`,
		`kubernetes.pod.name starts with "web"`:                                          "web-1 web-2",
		`not kubernetes.pod.name starts with "web"`:                                      `api-1 job odd"\'`,
		`kubernetes.namespace.name = null`:                                               "job",
		`kubernetes.namespace.name != null`:                                              `api-1 odd"\' web-1 web-2`,
		`not kubernetes.namespace.name = null`:                                           `api-1 odd"\' web-1 web-2`,
		`kubernetes.namespace.name = "null"`:                                             "",
		`kubernetes.namespace.name = "shop" and kubernetes.pod.name != "web-1"`:          "web-2",
		`kubernetes.pod.name = "odd\"\\'"`:                                               `odd"\'`,
		`kubernetes.pod.name = 'odd"\\\''`:                                               `odd"\'`,
		"kubernetes.pod.name in (\"job\",\n\t\"web-1\") and kubernetes.node.name = null": "job web-1",
	} {
		t.Run(filter, func(t *testing.T) {
			res := ask(filter)
			if got := strings.Join(res.rows(), " "); res.status != 200 || got != want {
				t.Errorf("pods %q, want %q: %s", got, want, res.body)
			}
		})
	}
}

// D14.
func TestAFilterThatCannotBeReadIsRefused(t *testing.T) {
	ask := filtered(t, sysdigtest.ClassicSwitches{})
	for _, filter := range []string{
		`kubernetes.pod.name == "web-1"`,
		`kubernetes.pod.name = "web-1`,
		`kubernetes.pod.name = "web-1'`,
		`kubernetes.pod.name = `,
		`kubernetes.pod.name`,
		`= "web-1"`,
		`"kubernetes.pod.name" = "web-1"`,
		`kubernetes.pod.name in "web-1"`,
		`kubernetes.pod.name in ("web-1"`,
		`kubernetes.pod.name in ("web-1" "web-2")`,
		`kubernetes.pod.name in ()`,
		`kubernetes.pod.name in ["web-1"]`,
		`kubernetes.pod.name not in ("web-1")`,
		`kubernetes.pod.name is "web-1"`,
		`kubernetes.pod.name does not contain "web-1"`,
		`kubernetes.pod.name starts "web"`,
		`kubernetes.pod.name ~ "web"`,
		`kubernetes.pod.name = "a" and`,
		`kubernetes.pod.name = "a", kubernetes.pod.name = "b"`,
		`(kubernetes.pod.name = "a")`,
		`kubernetes.pod.name = "a" or kubernetes.pod.name = "b"`,
		`kubernetes.pod.name = "a" kubernetes.pod.name = "b"`,
	} {
		t.Run(filter, func(t *testing.T) { wantRefused(t, ask(filter), "filter", "cannot be read") })
	}
	wantRefused(t, ask(`no.such.label = "x"`), "filter", "'no.such.label' is not a Sysdig Cloud metric")
}

// D14.
func TestSwitchesDecideAboutOrAndQuotes(t *testing.T) {
	either := filtered(t, sysdigtest.ClassicSwitches{FilterOr: true})
	wantRows(t, either(`kubernetes.pod.name = "job" or kubernetes.namespace.name = "shop" and kubernetes.pod.name = "web-2"`), "job", "web-2")
	strict := filtered(t, sysdigtest.ClassicSwitches{FilterQuotedOnly: true})
	wantRefused(t, strict(`kubernetes.pod.name = job`), "filter", "not quoted")
	wantRefused(t, strict(`kubernetes.pod.name in (job)`), "filter", "not quoted")
	wantRows(t, strict(`kubernetes.pod.name = "job" and kubernetes.namespace.name = null`), "job")
}
