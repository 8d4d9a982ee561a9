package manifests_test

import (
	"context"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

func TestColumnsOfBindings(t *testing.T) {
	served := parse(t, rightBinding)
	served.SetName("served")
	keep(t, objects.Resource(bindings).Namespace("default"), served, `
metricName: net.http.request.count
target: Service/web
observed: {value: 12500m, time: "`+time.Now().Add(-10*time.Minute).UTC().Format(time.RFC3339)+`"}
conditions:
- {type: Accepted, status: "True", reason: Accepted, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
- {type: Ready, status: "True", reason: Serving, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
`)
	match(t, kubectl(t, "get", "smb", "-n", "default"), `
NAME +METRIC +TARGET +VALUE +OBSERVED +READY +REASON +AGE
served +net[.]http[.]request[.]count +Service/web +12500m +10m +True +Serving +[0-9]+s
`)
}

func TestColumnsOfConnections(t *testing.T) {
	resource := objects.Resource(connections)
	region := parse(t, rightConnection)
	region.SetName("a-region")
	keep(t, resource, region, `
conditions:
- {type: Accepted, status: "True", reason: Accepted, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
- {type: Ready, status: "False", reason: Unauthorized, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
`)
	address := changed(t, rightConnection, url("https://sysdig.example.com"))
	address.SetName("b-url")
	keep(t, resource, address, `observedGeneration: 1`)
	match(t, kubectl(t, "get", "sconn"), `
NAME +REGION +URL +CLUSTER +INTERVAL +READY +REASON +AGE
a-region +us2 +my-cluster +30s +False +Unauthorized +[0-9]+s
b-url +https://sysdig[.]example[.]com +my-cluster +30s +[0-9]+s
`)
}

// keep stores an object with a status, as YAML, until the test's end.
func keep(t *testing.T, resource dynamic.ResourceInterface, object *unstructured.Unstructured, status string) {
	t.Helper()
	stored, err := resource.Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := resource.Delete(context.WithoutCancel(t.Context()), object.GetName(), metav1.DeleteOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	stored.Object["status"] = parse(t, status).Object
	if _, err := resource.UpdateStatus(t.Context(), stored, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
		t.Fatal(err)
	}
}

// match compares a table with one pattern per line; blanks at the ends do not count.
func match(t *testing.T, got, want string) {
	t.Helper()
	pattern := regexp.MustCompile(`^\s*` + regexp.MustCompile(`\n`).ReplaceAllString(want[1:len(want)-1], ` *\n`) + `\s*$`)
	if !pattern.MatchString(got) {
		t.Errorf("kubectl prints\n%swant\n%s", got, want)
	}
}
