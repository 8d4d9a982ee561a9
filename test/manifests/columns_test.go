package manifests_test

import (
	"context"
	"maps"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

func TestColumnsOfBindings(t *testing.T) {
	const serving = `
conditions:
- {type: Accepted, status: "True", reason: Accepted, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
- {type: Ready, status: "True", reason: Serving, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
`
	observed := time.Now().Add(-36*time.Hour - 30*time.Minute).UTC().Format(time.RFC3339)
	resource := objects.Resource(bindings).Namespace("default")
	for _, row := range []struct{ name, change, status string }{
		{"a-service", `{}`, `{metricName: net.http.request.count, target: Service/web, observed: {value: 12500m, time: "` + observed + `"}}`},
		{"b-pods", selecting("Pod", `{matchLabels: {app: web}}`), `{metricName: b-pods, target: "Pod[app=web]", objects: 4/5, observed: {value: "7", time: "` + observed + `"}}`},
		{"c-services", selecting("Service", `{}`), `{metricName: c-services, target: "Service[]", objects: 0/0}`},
		{"d-external", `{target: null}`, `{metricName: d-external, target: external, observed: {value: "30", time: "` + observed + `"}}`},
	} {
		object := changed(t, rightBinding, row.change)
		object.SetName(row.name)
		status := parse(t, serving)
		maps.Copy(status.Object, parse(t, row.status).Object)
		keep(t, resource, object, status)
	}
	match(t, kubectl(t, "get", "smb", "-n", "default"), `
NAME +METRIC +TARGET +VALUE +OBJECTS +OBSERVED +READY +REASON +AGE
a-service +net[.]http[.]request[.]count +Service/web +12500m +36h +True +Serving +[0-9ms]+
b-pods +b-pods +Pod[[]app=web[]] +7 +4/5 +36h +True +Serving +[0-9ms]+
c-services +c-services +Service[[][]] +0/0 +True +Serving +[0-9ms]+
d-external +d-external +external +30 +36h +True +Serving +[0-9ms]+
`)
}

func TestColumnsOfConnections(t *testing.T) {
	resource := objects.Resource(connections)
	region := parse(t, rightConnection)
	region.SetName("a-region")
	keep(t, resource, region, parse(t, `
requests: {wanted: 42, allowed: 10, used: 9, refused: 26, replicas: 1, effectiveInterval: 2m13s, ingestionLag: 30s}
conditions:
- {type: Accepted, status: "True", reason: Accepted, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
- {type: Ready, status: "False", reason: Unauthorized, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
`))
	address := changed(t, rightConnection, url("https://sysdig.example.com"))
	address.SetName("b-url")
	keep(t, resource, address, parse(t, `observedGeneration: 1`))
	match(t, kubectl(t, "get", "sconn"), `
NAME +REGION +URL +CLUSTER +INTERVAL +EFFECTIVE +READY +REASON +AGE
a-region +us2 +my-cluster +30s +2m13s +False +Unauthorized +[0-9ms]+
b-url +https://sysdig[.]example[.]com +my-cluster +30s +[0-9ms]+
`)
}

// keep stores an object with a status until the test's end.
func keep(t *testing.T, resource dynamic.ResourceInterface, object, status *unstructured.Unstructured) {
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
	stored.Object["status"] = status.Object
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
