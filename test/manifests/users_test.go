package manifests_test

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// member makes somebody who has one of Kubernetes' own roles in namespace team-a.
func member(t *testing.T, name, role string) user {
	t.Helper()
	if _, err := try(t, "get", "namespace", "team-a"); err != nil {
		kubectl(t, "create", "namespace", "team-a")
	}
	temporary(t, "rolebinding", name, "-n", "team-a", "--clusterrole="+role, "--user="+name)
	u := user{name, []string{"system:authenticated"}}
	// A controller adds our rules to the role, those of each API group when it finds them.
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		for _, value := range [][2]string{{custom, "services/requests"}, {external, "queue-depth"}} {
			if allowed, err := u.may(ctx, "get", value[0], value[1], "team-a", "web"); err != nil || !allowed {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("wait for the role %s to hold our rules: %v", role, err)
	}
	return u
}

func TestAnEditorOfANamespace(t *testing.T) {
	for name, role := range map[string]string{"eve": "edit", "ada": "admin"} {
		t.Run("with the role "+role, func(t *testing.T) {
			editor := member(t, name, role)
			editor.check(t, true, []access{
				{name: "may read and write bindings", verbs: reads + " " + writes, group: group, resources: "sysdigmetricbindings", namespace: "team-a"},
				{name: "may read values", verbs: "get list", group: custom, resources: "services/requests pods/requests metrics/requests", namespace: "team-a"},
				{name: "may read external values", verbs: "get list", group: external, resources: "queue-depth", namespace: "team-a"},
			})
			editor.check(t, false, []access{
				{name: "may not write bindings elsewhere", verbs: writes, group: group, resources: "sysdigmetricbindings", namespace: "default"},
				{name: "may not write a binding's status", verbs: "update patch", group: group, resources: "sysdigmetricbindings/status", namespace: "team-a"},
				{name: "may not touch connections", verbs: reads + " " + writes, group: group, resources: "sysdigconnections"},
				{name: "may not touch connections, asked with a namespace", verbs: writes, group: group, resources: "sysdigconnections", namespace: "team-a"},
				{name: "may not read the token", verbs: reads, resources: "secrets", namespace: namespace},
				{name: "may not write values", verbs: writes, group: custom, resources: "services/requests", namespace: "team-a"},
			})
		})
	}
}

func TestAViewerOfANamespace(t *testing.T) {
	viewer := member(t, "vic", "view")
	viewer.check(t, true, []access{
		{name: "may read bindings", verbs: reads, group: group, resources: "sysdigmetricbindings", namespace: "team-a"},
		{name: "may read values", verbs: "get list", group: custom, resources: "services/requests pods/requests metrics/requests", namespace: "team-a"},
		{name: "may read external values", verbs: "get list", group: external, resources: "queue-depth", namespace: "team-a"},
	})
	viewer.check(t, false, []access{
		{name: "may not write bindings", verbs: writes, group: group, resources: "sysdigmetricbindings", namespace: "team-a"},
		{name: "may not read bindings elsewhere", verbs: reads, group: group, resources: "sysdigmetricbindings", namespace: "default"},
		{name: "may not read values elsewhere", verbs: "get list", group: custom, resources: "services/requests pods/requests metrics/requests", namespace: "default"},
		{name: "may not read values of all namespaces", verbs: "get list", group: custom, resources: "services/requests pods/requests"},
		{name: "may not read values of the cluster's objects", verbs: "get list", group: custom, resources: "namespaces/requests nodes/requests"},
		{name: "may not read external values elsewhere", verbs: "get list", group: external, resources: "queue-depth", namespace: "default"},
		{name: "may not read external values of all namespaces", verbs: "get list", group: external, resources: "queue-depth"},
		{name: "may not touch connections", verbs: reads + " " + writes, group: group, resources: "sysdigconnections"},
	})
}

// No operator runs here, so that what is allowed gets as far as the aggregation layer, which finds nobody.
func TestPathsOfValues(t *testing.T) {
	member(t, "val", "view")
	config := testbed.AdminConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: "val"}
	viewer, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, path string, open bool) {
		t.Helper()
		err := read(t, viewer, "/apis/"+path)
		if open && !apierrors.IsServiceUnavailable(err) {
			t.Errorf("%s gives %v, want it to be allowed and nobody to answer", path, err)
		}
		if !open && !apierrors.IsForbidden(err) {
			t.Errorf("%s gives %v, want it to be forbidden", path, err)
		}
	}
	for _, version := range []string{"v1beta1", "v1beta2"} {
		for path, open := range map[string]bool{
			"/namespaces/team-a/services/web/requests":         true,
			"/namespaces/team-a/services/*/requests":           true,
			"/namespaces/team-a/deployments.apps/web/requests": true,
			"/namespaces/team-a/metrics/requests":              true,
			"/namespaces/default/services/web/requests":        false,
			"/namespaces/default/metrics/requests":             false,
			"/namespaces/sysdig-metrics/services/web/requests": false,
			"/nodes/node-1/requests":                           false,
		} {
			check(t, custom+"/"+version+path, open)
		}
	}
	check(t, external+"/v1beta1/namespaces/team-a/queue-depth", true)
	check(t, external+"/v1beta1/namespaces/default/queue-depth", false)
}

// read asks for a path, again while the aggregation layer has yet to learn of the APIService.
func read(t *testing.T, client kubernetes.Interface, path string) (err error) {
	t.Helper()
	_ = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err = client.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Error()
		return !apierrors.IsNotFound(err), nil
	})
	return err
}
