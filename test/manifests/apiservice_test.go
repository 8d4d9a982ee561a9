package manifests_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// The APIServices that config holds, and the label that they go by.
const (
	v1beta1Custom   = "v1beta1.custom.metrics.k8s.io"
	v1beta2Custom   = "v1beta2.custom.metrics.k8s.io"
	v1beta1External = "v1beta1.external.metrics.k8s.io"
	partOf          = "app.kubernetes.io/part-of"
	product         = "sysdig-metrics"
)

// foreign is another adapter's APIService, as most of them ship it: without verification.
func foreign(name string) []byte {
	version, group, _ := strings.Cut(name, ".")
	return []byte(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: ` + name + `}
spec:
  group: ` + group + `
  version: ` + version + `
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: other-adapter, namespace: monitoring, port: 443}
`)
}

// The ways in which another adapter's APIService may have come into the cluster.
var ways = map[string][]string{
	"applied server-side": {"apply", "--server-side", "--field-manager=other"},
	"applied client-side": {"apply", "--field-manager=other"},
	"created with Update": {"create", "--field-manager=other"},
}

// renewAPIServices brings ours back at the test's end.
func renewAPIServices(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		remove(t, "apiservice", v1beta1Custom, v1beta2Custom, v1beta1External)
		if err := applyDefault(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func specOf(t *testing.T, apiService string) string {
	t.Helper()
	return kubectl(t, "get", "apiservice", apiService, "-o", "jsonpath={.spec}")
}

func backendOf(t *testing.T, apiService string) string {
	t.Helper()
	return kubectl(t, "get", "apiservice", apiService, "-o", "jsonpath={.spec.service.namespace}/{.spec.service.name}")
}

func wantBackend(t *testing.T, apiService, want string) {
	t.Helper()
	if got := backendOf(t, apiService); got != want {
		t.Errorf("%s is of %s, want %s", apiService, got, want)
	}
}

const (
	us   = namespace + "/" + account
	them = "monitoring/other-adapter"
)

// asOperator writes a caBundle as the operator does: without reading, which is not among its rights.
func asOperator(t *testing.T, apiService, authority string) {
	t.Helper()
	patch := []byte(`{"spec":{"caBundle":"` + authority + `"}}`)
	err := clientOf(t, namespace, account).Discovery().RESTClient().Patch(types.MergePatchType).
		AbsPath("/apis/apiregistration.k8s.io/v1/apiservices/" + apiService).Body(patch).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
}

const authority = "LS0tLS1CRUdJTg=="

func TestApplyingAgainKeepsWhatTheOperatorWrote(t *testing.T) {
	renewAPIServices(t)
	all := []string{v1beta1Custom, v1beta2Custom, v1beta1External}
	for _, name := range all {
		asOperator(t, name, authority)
	}
	for _, folder := range []string{"default", "overlays/production", "overlays/custom-only", "overlays/external-only", "default"} {
		kubectl(t, install(folder)...)
		for _, name := range all {
			if got := kubectl(t, "get", "apiservice", name, "-o", "jsonpath={.spec.caBundle}"); got != authority {
				t.Errorf("after config/%s the caBundle of %s is %q, want %q", folder, name, got, authority)
			}
		}
	}
}

// Whatever way another adapter's APIService came into the cluster, installing this operator does not take it over. Everything
// else of ours is applied.
func TestServerSideApplyRefusesAForeignAPIService(t *testing.T) {
	renewAPIServices(t)
	for name, overlay := range map[string]string{v1beta1Custom: "overlays/custom-only", v1beta1External: "overlays/external-only"} {
		for way, command := range ways {
			t.Run(name+" "+way, func(t *testing.T) {
				remove(t, "apiservice", v1beta1Custom, v1beta2Custom, v1beta1External)
				kubectl(t, append(command, "-f", write(t, foreign(name)))...)
				before := specOf(t, name)
				for _, folder := range []string{overlay, "default"} {
					remove(t, "clusterrole/sysdig-metrics-binding-viewer")
					remove(t, "-n", namespace, "deployment/"+account)
					_, err := try(t, install(folder)...)
					if err == nil {
						t.Fatalf("config/%s is applied, want a conflict", folder)
					}
					for _, want := range []string{"conflict", `"other"`, ".spec.service.name", ".spec.service.namespace"} {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("config/%s: the error is\n%v\nwant it to name %s", folder, err, want)
						}
					}
					kubectl(t, "get", "clusterrole/sysdig-metrics-binding-viewer")
					kubectl(t, "get", "-n", namespace, "deployment/"+account)
				}
				if after := specOf(t, name); after != before {
					t.Errorf("the APIService is now %s, was %s", after, before)
				}
				for _, ours := range []string{v1beta1Custom, v1beta2Custom, v1beta1External} {
					if ours != name {
						wantBackend(t, ours, us)
					}
				}
			})
		}
	}
}

// An overlay for one API group does not collide with whoever serves the other.
func TestTheOtherGroupIsLeftAlone(t *testing.T) {
	renewAPIServices(t)
	for overlay, name := range map[string]string{"overlays/custom-only": v1beta1External, "overlays/external-only": v1beta1Custom} {
		t.Run(overlay, func(t *testing.T) {
			remove(t, "apiservice", v1beta1Custom, v1beta2Custom, v1beta1External)
			kubectl(t, "apply", "-f", write(t, foreign(name)))
			before := specOf(t, name)
			kubectl(t, install(overlay)...)
			if after := specOf(t, name); after != before {
				t.Errorf("the APIService is now %s, was %s", after, before)
			}
		})
	}
}

// Whoever takes an APIService over on purpose gets it as config says it: verified, and ready for the operator's authority.
func TestTakingOverOnPurpose(t *testing.T) {
	renewAPIServices(t)
	for way, command := range ways {
		t.Run("what was "+way, func(t *testing.T) {
			remove(t, "apiservice", v1beta1Custom)
			kubectl(t, append(command, "-f", write(t, foreign(v1beta1Custom)))...)
			kubectl(t, install("default", "--force-conflicts")...)
			wantBackend(t, v1beta1Custom, us)
			if spec := specOf(t, v1beta1Custom); strings.Contains(spec, "insecureSkipTLSVerify") {
				t.Errorf("nobody verifies the operator's certificate: %s", spec)
			}
			asOperator(t, v1beta1Custom, authority)
			kubectl(t, install("default")...)
		})
	}
}

// An uninstallation deletes what is ours and leaves the rest, also what was ours once.
func TestUninstallingLeavesForeignAPIServices(t *testing.T) {
	renewAPIServices(t)
	remove(t, "apiservice", v1beta1Custom)
	kubectl(t, "apply", "-f", write(t, foreign(v1beta1Custom)))
	// Taken from us by force, it still carries our label.
	kubectl(t, "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", write(t, foreign(v1beta1External)))
	wantBackend(t, v1beta1External, them)

	listed := kubectl(t, "get", "apiservices", "-l", partOf+"="+product)
	for name, want := range map[string]string{v1beta2Custom: us, v1beta1External: them} {
		if !regexp.MustCompile(regexp.QuoteMeta(name) + ` +` + want).MatchString(listed) {
			t.Errorf("the list is\n%s\nwant it to show that %s is of %s", listed, name, want)
		}
	}
	kubectl(t, "label", "apiservice", v1beta1External, partOf+"-")
	kubectl(t, "delete", "apiservices", "-l", partOf+"="+product)
	wantBackend(t, v1beta1Custom, them)
	wantBackend(t, v1beta1External, them)
	if _, err := try(t, "get", "apiservice", v1beta2Custom); err == nil {
		t.Error("our v1beta2 is still there")
	}
}

// Without the label an uninstallation by folder takes away what belongs to others: why the documents warn of it.
func TestDeletingTheFolderTakesForeignAPIServicesAway(t *testing.T) {
	renewAPIServices(t)
	remove(t, "apiservice", v1beta1Custom)
	kubectl(t, "apply", "-f", write(t, foreign(v1beta1Custom)))
	out := kubectl(t, "delete", "--dry-run=server", "-k", config+"/default")
	if !strings.Contains(out, v1beta1Custom) {
		t.Errorf("kubectl would delete\n%s\nwhich is no reason to warn any more", out)
	}
	if out := kubectl(t, "delete", "--dry-run=server", "-k", config+"/operator"); strings.Contains(out, "apiservice") {
		t.Errorf("kubectl would delete\n%s\nwant no APIService", out)
	}
}
