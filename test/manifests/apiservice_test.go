package manifests_test

import (
	"context"
	"strings"
	"testing"
)

const foreignAPIService = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: other-adapter, namespace: monitoring, port: 443}
`

const apiService = "apiservice/v1beta1.custom.metrics.k8s.io"

// renewAPIService brings the APIService back at the test's end.
func renewAPIService(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		remove(t, apiService)
		if err := applyDefault(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestApplyingAgainKeepsWhatTheOperatorWrote(t *testing.T) {
	renewAPIService(t)
	path, err := testbed.ServiceAccountKubeconfig(t.Context(), namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	const authority = "LS0tLS1CRUdJTg=="
	kubectl(t, "--kubeconfig", path, "patch", apiService, "--type=merge", "-p", `{"spec":{"caBundle":"`+authority+`"}}`)
	for _, folder := range []string{"apiservice", "default", "overlays/production", "default"} {
		kubectl(t, install(folder)...)
		if got := kubectl(t, "get", apiService, "-o", "jsonpath={.spec.caBundle}"); got != authority {
			t.Errorf("after config/%s the caBundle is %q, want %q", folder, got, authority)
		}
	}
}

// Whatever way another adapter's APIService came into the cluster, installing this one does not take it over.
func TestServerSideApplyRefusesAForeignAPIService(t *testing.T) {
	renewAPIService(t)
	file := write(t, []byte(foreignAPIService))
	for name, command := range map[string][]string{
		"applied server-side": {"apply", "--server-side", "--field-manager=other"},
		"applied client-side": {"apply", "--field-manager=other"},
		"created with Update": {"create", "--field-manager=other"},
	} {
		t.Run(name, func(t *testing.T) {
			remove(t, apiService)
			kubectl(t, append(command, "-f", file)...)
			before := kubectl(t, "get", apiService, "-o", "jsonpath={.spec}")

			for _, folder := range []string{"apiservice", "default"} {
				_, err := try(t, install(folder)...)
				if err == nil {
					t.Fatalf("config/%s is applied, want a conflict", folder)
				}
				for _, want := range []string{"conflict", `"other"`, ".spec.service.name", ".spec.service.namespace"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("config/%s: the error is\n%v\nwant it to name %s", folder, err, want)
					}
				}
			}
			if after := kubectl(t, "get", apiService, "-o", "jsonpath={.spec}"); after != before {
				t.Errorf("the APIService is now %s, was %s", after, before)
			}
		})
	}
}
