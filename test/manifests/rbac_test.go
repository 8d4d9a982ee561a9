package manifests_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

const rbacPage = "../../docs/rbac.md"

// rbacIntroduction is what docs/rbac.md says before its tables.
const rbacIntroduction = `# Who may do what

What Kubernetes answered when it was asked, with ` + "`config/default`" + ` applied and nothing else. A test asks a real API server and compares;
` + "`make update-docs`" + ` writes this page. **read** is get, list and watch; **write** is create, update, patch, delete and deletecollection;
**–** is nothing. How to let others read metrics is in [who may read metrics](authorization.md).

## By user

` + "`viewer`, `editor` and `admin`" + ` have Kubernetes' own roles view, edit and admin in namespace team-a; ` + "`neighbour`" + ` has admin in
team-b. ` + "`signed in`" + ` is any user or ServiceAccount without a role. Where there is a *, an operator with certificates of cert-manager may
list and watch only.

`

// somebody is a column of the table.
type somebody struct {
	title string
	user  user
}

// question is a row of the table: what is allowed of the verbs.
type question struct {
	what, verbs, group, resource, namespace, name string
}

const everything = reads + " " + writes

// rbacQuestions are what people ask who decide whether to let the operator in.
func rbacQuestions() []question {
	const aggregation, workloads, rbac = "apiregistration.k8s.io", "apps", "rbac.authorization.k8s.io"
	return []question{
		{"bindings in team-a", everything, group, "sysdigmetricbindings", "team-a", ""},
		{"status of bindings in team-a", everything, group, "sysdigmetricbindings/status", "team-a", ""},
		{"connections", everything, group, "sysdigconnections", "", ""},
		{"status of connections", everything, group, "sysdigconnections/status", "", ""},
		{"values of objects in team-a", everything, custom, "services/requests", "team-a", ""},
		{"values of team-a itself", everything, custom, "metrics/requests", "team-a", ""},
		{"external values in team-a", everything, external, "queue-depth", "team-a", ""},
		{"values in every namespace", everything, custom, "services/requests", "", ""},
		{"external values in every namespace", everything, external, "queue-depth", "", ""},
		{"Secrets in sysdig-metrics *", everything, "", "secrets", namespace, ""},
		{"Secret sysdig-metrics-serving-cert *", everything, "", "secrets", namespace, "sysdig-metrics-serving-cert"},
		{"Secrets in team-a", everything, "", "secrets", "team-a", ""},
		{"Secrets in kube-system", everything, "", "secrets", "kube-system", ""},
		{"ConfigMaps in sysdig-metrics", everything, "", "configmaps", namespace, ""},
		{"leases in sysdig-metrics", everything, "coordination.k8s.io", "leases", namespace, ""},
		{"leases in kube-system", everything, "coordination.k8s.io", "leases", "kube-system", ""},
		{"HorizontalPodAutoscalers in team-a", everything, "autoscaling", "horizontalpodautoscalers", "team-a", ""},
		{"Deployments in team-a", everything, workloads, "deployments", "team-a", ""},
		{"scale of Deployments in team-a", everything, workloads, "deployments/scale", "team-a", ""},
		{"the operator's Deployment", everything, workloads, "deployments", namespace, account},
		{"pods in team-a", everything, "", "pods", "team-a", ""},
		{"shells in pods of team-a", "create", "", "pods/exec", "team-a", ""},
		{"Services in team-a", everything, "", "services", "team-a", ""},
		{"namespaces", everything, "", "namespaces", "", ""},
		{"nodes", everything, "", "nodes", "", ""},
		{"Events in team-a", everything, "events.k8s.io", "events", "team-a", ""},
		{"APIServices of the operator *", everything, aggregation, "apiservices", "", v1beta1Custom},
		{"other APIServices", everything, aggregation, "apiservices", "", "v1beta1.metrics.k8s.io"},
		{"kinds (CustomResourceDefinitions)", everything, "apiextensions.k8s.io", "customresourcedefinitions", "", ""},
		{"webhooks", everything, "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", ""},
		{"roles in team-a", everything + " bind escalate", rbac, "roles", "team-a", ""},
		{"roles of the cluster", everything + " bind escalate", rbac, "clusterroles", "", ""},
		{"acting as another user", "impersonate", "", "users", "", ""},
		{"tokens of the operator's ServiceAccount", "create", "", "serviceaccounts/token", namespace, account},
		{"asking whose a token is", "create", "authentication.k8s.io", "tokenreviews", "", ""},
		{"asking what another user may", "create", "authorization.k8s.io", "subjectaccessreviews", "", ""},
	}
}

// TestThePageAboutRBAC asks for everything and everybody on docs/rbac.md.
func TestThePageAboutRBAC(t *testing.T) {
	if _, err := try(t, "get", "namespace", "team-b"); err != nil {
		kubectl(t, "create", "namespace", "team-b")
	}
	temporary(t, "rolebinding", "nora", "-n", "team-b", "--clusterrole=admin", "--user=nora")
	signedIn := []string{"system:authenticated"}
	everybody := []somebody{
		{"operator", operator},
		{"viewer", member(t, "vera", "view")},
		{"editor", member(t, "eric", "edit")},
		{"admin", member(t, "alma", "admin")},
		{"neighbour", user{"nora", signedIn}},
		{"signed in", user{"sam", signedIn}},
		{"anonymous", user{"system:anonymous", []string{"system:unauthenticated"}}},
	}
	var got bytes.Buffer
	got.WriteString(rbacIntroduction)
	askEverything(t, &got, everybody)
	got.WriteString("\n## Everything that the operator may do\n\nBeyond what every ServiceAccount may, as Kubernetes lists it.\n\n")
	listRules(t, &got)
	page := got.String()
	if *oldest { // its roles view, edit and admin are about Events of the core group only
		page = strings.Replace(page, "| Events in team-a | create patch | – | – | – |",
			"| Events in team-a | create patch | **read** | **read** **write** | **read** **write** |", 1)
	}
	golden(t, rbacPage, []byte(page))
}

// askEverything writes a row for each question.
func askEverything(t *testing.T, out *bytes.Buffer, everybody []somebody) {
	t.Helper()
	out.WriteString("| |")
	for _, who := range everybody {
		fmt.Fprintf(out, " %s |", who.title)
	}
	fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", len(everybody)))
	for _, q := range rbacQuestions() {
		fmt.Fprintf(out, "| %s |", q.what)
		for _, who := range everybody {
			answer, err := q.answer(t.Context(), who.user)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(out, " %s |", answer)
		}
		out.WriteString("\n")
	}
}

// answer is which of the verbs are allowed, in few words.
func (q question) answer(ctx context.Context, u user) (string, error) {
	var allowed []string
	for verb := range strings.FieldsSeq(q.verbs) {
		ok, err := u.may(ctx, verb, q.group, q.resource, q.namespace, q.name)
		if err != nil {
			return "", err
		}
		if ok {
			allowed = append(allowed, verb)
		}
	}
	words := " " + strings.Join(allowed, " ") + " "
	words = strings.Replace(words, " "+reads+" ", " **read** ", 1)
	words = strings.Replace(words, " "+writes+" ", " **write** ", 1)
	if words = strings.TrimSpace(words); words == "" {
		return "–", nil
	}
	return words, nil
}

// listRules writes all rights of the operator that nobody without a role has.
func listRules(t *testing.T, out *bytes.Buffer) {
	t.Helper()
	temporary(t, "serviceaccount", "nobody", "-n", "default")
	nobody, operator := clientOf(t, "default", "nobody"), clientOf(t, namespace, account)
	out.WriteString("| where | what | verbs |\n|---|---|---|\n")
	everywhere := without(rules(t, operator, "default"), rules(t, nobody, "default"))
	writeRules(out, "everywhere", everywhere)
	for _, name := range namespaces(t) {
		writeRules(out, name, without(rules(t, operator, name), rules(t, nobody, name), everywhere))
	}
}

func writeRules(out *bytes.Buffer, where string, a allowed) {
	for _, resource := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(out, "| %s | %s | %s |\n", where, resource, strings.Join(slices.Sorted(maps.Keys(a[resource])), " "))
	}
}

// golden compares with a file, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s should be\n%s\nRun \"make update-docs\" if that is meant.", path, got)
	}
}

// What no golden file may bless: tenants, strangers and neighbours do not reach what is not theirs.
func TestNobodyReachesWhatIsNotTheirs(t *testing.T) {
	for name, u := range map[string]user{
		"an admin of another namespace": member(t, "nick", "admin"),
		"somebody without a role":       {"sue", []string{"system:authenticated"}},
		"somebody anonymous":            {"system:anonymous", []string{"system:unauthenticated"}},
	} {
		t.Run(name, func(t *testing.T) {
			u.check(t, false, []access{
				{name: "read or write their bindings", verbs: everything, group: group, resources: "sysdigmetricbindings", namespace: "default"},
				{name: "write their status", verbs: writes, group: group, resources: "sysdigmetricbindings/status", namespace: "default"},
				{name: "read their values", verbs: reads, group: custom, resources: "services/requests pods/requests metrics/requests deployments.apps/requests", namespace: "default"},
				{name: "read their external values", verbs: reads, group: external, resources: "queue-depth", namespace: "default"},
				{name: "read values of all namespaces", verbs: reads, group: custom, resources: "services/requests * */*"},
				{name: "read external values of all namespaces", verbs: reads, group: external, resources: "queue-depth *"},
				{name: "read or write connections", verbs: everything, group: group, resources: "sysdigconnections sysdigconnections/status"},
				{name: "read or write the operator's Secrets", verbs: everything, resources: "secrets", namespace: namespace, object: "sysdig-api"},
				{name: "read or write the operator's leases", verbs: everything, group: "coordination.k8s.io", resources: "leases", namespace: namespace},
				{name: "enter the operator's pods", verbs: "get create", resources: "pods/exec pods/portforward pods/proxy pods/log", namespace: namespace},
				{name: "write APIServices", verbs: writes, group: "apiregistration.k8s.io", resources: "apiservices", object: v1beta1Custom},
				{name: "act as the operator", verbs: "impersonate", resources: "serviceaccounts", namespace: namespace, object: account},
				{name: "get the operator's token", verbs: "create", resources: "serviceaccounts/token", namespace: namespace, object: account},
			})
		})
	}
}
