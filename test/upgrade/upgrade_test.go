// Package upgrade_test installs the first version that there was, lets users work with it, upgrades to this one as the README
// says, and uninstalls it.
package upgrade_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	token = "11111111-2222-3333-4444-555555555555"
	// deadline ends the whole story, and patience each wait in it. They tell of what never happens.
	deadline, patience = 20 * time.Minute, 5 * time.Minute
)

// story is one installation from its first day to its last.
type story struct {
	*testing.T
	ctx    context.Context
	stage  *stage.Stage
	sysdig *sysdigtest.Server
	audit  audit
}

func TestAnInstallationFromTheFirstVersionToItsEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	s := &story{T: t, ctx: ctx, sysdig: sysdigtest.New(sysdigtest.Options{Tokens: []string{token}})}
	if err := s.sysdig.StartTLS(); err != nil {
		t.Fatal(err)
	}
	defer s.sysdig.Close()
	var err error
	if s.audit, err = newAudit(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if s.stage, err = stage.Start(ctx, stage.Options{NoInstall: true, Log: os.Stderr, Cluster: s.audit.options()}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stage.Cluster.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	s.workload()
	s.installFirst()
	before, had := s.specs(), s.everything()
	s.upgrade()
	s.keeps(before)
	s.marksTheToken()
	s.serves()
	s.keepsTheCertificate()
	s.stillValid()
	s.showsMetricsToWhoMay()
	s.looksAtNoOtherSecret()
	s.uninstall(had)
}

// kubectl runs kubectl and fails the test when that does.
func (s *story) kubectl(args ...string) string {
	s.Helper()
	output, err := s.stage.Cluster.Kubectl(s.ctx, args...)
	if err != nil {
		s.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return output
}

func (s *story) eventually(what string, condition func(context.Context) error) {
	s.Helper()
	if err := stage.Wait(s.ctx, patience, condition); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// workload makes the flask of the samples, with its HPA and its load.
func (s *story) workload() {
	s.Helper()
	for _, file := range []string{"flask.yaml", "hpa.yaml"} {
		s.kubectl("apply", "-f", filepath.Join(s.stage.Root, "config/samples", file))
	}
	var pods []string
	s.eventually("pods of flask", func(ctx context.Context) error {
		var list corev1.PodList
		if err := s.stage.Client.List(ctx, &list, client.InNamespace("default"), client.MatchingLabels{"app": "flask"}); err != nil {
			return err
		}
		pods = nil
		for _, pod := range list.Items {
			pods = append(pods, pod.Name)
		}
		if len(pods) < 2 {
			return fmt.Errorf("there are %d", len(pods))
		}
		return nil
	})
	load := sysdigtest.NewLoad(s.sysdig.Store(), clock.RealClock{}, time.Now().Add(-5*time.Minute), sysdigtest.Workload{
		Cluster: "upgrade", Namespace: "default", Kind: "deployment", Name: "flask", Service: "flask",
		Pods: func() []string { return pods }, RPS: func() float64 { return 200 },
	})
	load.Step(time.Now())
	ctx, stop := context.WithCancel(s.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = load.Run(ctx) }()
	s.Cleanup(func() { stop(); <-ended })
}

// installFirst applies the first version as its README said, with what its users had.
func (s *story) installFirst() {
	s.Helper()
	s.kubectl("apply", "--server-side", "--field-manager=sysdig-metrics", "-f", "testdata/first.yaml")
	s.kubectl("wait", "--for=condition=Established", "--timeout="+patience.String(), "crd/sysdigconnections.autoscaling.sysdigmetrics.dev", "crd/sysdigmetricbindings.autoscaling.sysdigmetrics.dev")
	raw, err := os.ReadFile("testdata/objects.yaml")
	if err != nil {
		s.Fatal(err)
	}
	path := filepath.Join(s.stage.Cluster.Dir(), "objects.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, string(raw), s.sysdig.URL, s.sysdig.CABundle()), 0o600); err != nil {
		s.Fatal(err)
	}
	s.kubectl("apply", "-f", path)
}

// specs are the specs of all objects of users, by name, with the UIDs.
func (s *story) specs() map[string]map[string]any {
	s.Helper()
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct {
				Name string
				UID  types.UID
			}
			Spec map[string]any
		}
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "sysdigconnections,sysdigmetricbindings", "-A", "-o", "json")), &list); err != nil {
		s.Fatal(err)
	}
	all := map[string]map[string]any{}
	for _, item := range list.Items {
		item.Spec["uid"] = string(item.Metadata.UID)
		all[item.Kind+" "+item.Metadata.Name] = item.Spec
	}
	return all
}

// upgrade applies this version. Somebody removes the Secret of the certificate; the operator asks for it and finds it by itself.
func (s *story) upgrade() {
	s.Helper()
	s.apply()
	s.kubectl("-n", stage.Namespace, "delete", "secret", certificate)
	if err := s.stage.LaunchOperator(s.ctx); err != nil {
		s.Fatal(err)
	}
	const absent = "there is no Secret sysdig-metrics/sysdig-metrics-serving-cert"
	s.eventually("what readiness says without a Secret", func(ctx context.Context) error { return s.unready(ctx, "certificate", absent) })
	s.eventually("what the log says without a Secret", func(context.Context) error {
		if log := s.stage.OperatorLog(); !strings.Contains(log, absent) {
			return errors.New(log)
		}
		return nil
	})
	s.apply()
	if err := s.stage.WaitAvailable(s.ctx); err != nil {
		s.Fatal(err)
	}
}

func (s *story) apply() {
	s.Helper()
	if output, err := s.stage.Apply(s.ctx, "default"); err != nil {
		s.Fatalf("%v\n%s", err, output)
	}
}

// keeps compares what users had with what they have. Fields may have come, by defaults; none may have gone or changed.
func (s *story) keeps(before map[string]map[string]any) {
	s.Helper()
	after := s.specs()
	if len(before) != 6 || len(after) != len(before) {
		s.Errorf("there were %d objects, and are %d; want 6", len(before), len(after))
	}
	for name, spec := range before {
		if lost := missing(spec, after[name]); lost != "" {
			s.Errorf("%s has lost or changed %s", name, lost)
		}
	}
}

// missing is the path of what is in one value and not, or not so, in another.
func missing(before, after any) string {
	fields, isMap := before.(map[string]any)
	if !isMap {
		b, _ := json.Marshal(before)
		if a, _ := json.Marshal(after); string(a) != string(b) {
			return fmt.Sprintf(": %s, now %s", b, a)
		}
		return ""
	}
	now, _ := after.(map[string]any)
	for name, value := range fields {
		if lost := missing(value, now[name]); lost != "" {
			return "." + name + lost
		}
	}
	return ""
}

// serves reads what the first version's bindings say through the aggregation layer.
func (s *story) serves() {
	s.Helper()
	const api = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/"
	for path, want := range map[string]string{
		"services/flask/net.http.request.count":         `"value":"100"`,
		"deployments.apps/flask/net.http.request.count": `"value":"200"`, // a multiplier of 2
		"metrics/net.http.request.count":                `"value":"200"`,
		"services/flask/raw":                            `"value":"200"`,
	} {
		s.eventually(path, func(ctx context.Context) error {
			output, err := s.stage.Cluster.Kubectl(ctx, "get", "--raw", api+path)
			if err == nil && !strings.Contains(output, want) {
				err = fmt.Errorf("it is %s, want %s", output, want)
			}
			return err
		})
	}
	s.eventually("a suspended binding", func(ctx context.Context) error {
		output, err := s.stage.Cluster.Kubectl(ctx, "get", "--raw", api+"services/flask/suspended")
		if err == nil {
			return fmt.Errorf("it answers %s", output)
		}
		if !strings.Contains(err.Error(), "Suspended") {
			return err
		}
		return nil
	})
}

// stillValid sends every stored object back as it is, which the API server validates as a whole.
func (s *story) stillValid() {
	s.Helper()
	var all []client.Object
	var connections v1alpha1.SysdigConnectionList
	var bindings v1alpha1.SysdigMetricBindingList
	for _, list := range []client.ObjectList{&connections, &bindings} {
		if err := s.stage.Client.List(s.ctx, list); err != nil {
			s.Fatal(err)
		}
	}
	for i := range connections.Items {
		all = append(all, &connections.Items[i])
	}
	for i := range bindings.Items {
		all = append(all, &bindings.Items[i])
	}
	for _, o := range all {
		o.SetManagedFields(nil)
		o.SetLabels(map[string]string{"touched": "yes"}) // equal objects are not written
		if err := s.stage.Client.Update(s.ctx, o, client.DryRunAll); err != nil && !strings.Contains(err.Error(), "the object has been modified") {
			s.Errorf("%s is no longer valid: %v", o.GetName(), err)
		}
	}
}

// showsMetricsToWhoMay reads the operator's own metrics and profiles as different people.
func (s *story) showsMetricsToWhoMay() {
	s.Helper()
	profiled, err := s.stage.StartReplica(s.ctx, "profiled", "--profiling")
	if err != nil {
		s.Fatal(err)
	}
	if err := profiled.WaitReady(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.kubectl("-n", stage.Namespace, "create", "serviceaccount", "nobody")
	s.kubectl("-n", stage.Namespace, "create", "serviceaccount", "profiler")
	s.kubectl("create", "clusterrole", "profiler", "--verb=get", "--non-resource-url=/metrics,/debug/pprof/*")
	s.kubectl("create", "clusterrolebinding", "profiler", "--clusterrole=profiler", "--serviceaccount="+stage.Namespace+":profiler")
	scraper, err := s.stage.Scraper(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	nobody, profiler, anonymous := scraper.As(""), scraper.As(""), scraper.As("")
	for account, reader := range map[string]**stage.Scraper{"nobody": &nobody, "profiler": &profiler} {
		*reader = scraper.As(strings.TrimSpace(s.kubectl("-n", stage.Namespace, "create", "token", account)))
	}
	pprofOf := func(metrics string) string { return strings.TrimSuffix(metrics, "metrics") + "debug/pprof/" }
	for name, test := range map[string]struct {
		reader *stage.Scraper
		url    string
		want   int
	}{
		"metrics, by who may":                          {scraper, s.stage.MetricsURL(), http.StatusOK},
		"metrics, by somebody":                         {nobody, s.stage.MetricsURL(), http.StatusForbidden},
		"metrics, by who shows no token":               {anonymous, s.stage.MetricsURL(), http.StatusUnauthorized},
		"metrics, by a token of nobody":                {scraper.As("x.y.z"), s.stage.MetricsURL(), http.StatusInternalServerError},
		"profiles without the flag":                    {profiler, pprofOf(s.stage.MetricsURL()), http.StatusNotFound},
		"profiles with the flag":                       {profiler, pprofOf(profiled.MetricsURL()), http.StatusOK},
		"profiles, by who may read metrics":            {scraper, pprofOf(profiled.MetricsURL()), http.StatusForbidden},
		"profiles, by who shows no token":              {anonymous, pprofOf(profiled.MetricsURL()), http.StatusUnauthorized},
		"profiles at a path that is written otherwise": {scraper, strings.TrimSuffix(profiled.MetricsURL(), "metrics") + "metrics/../debug/pprof/", http.StatusForbidden},
	} { // controller-runtime's filter answers a token that is none with 500
		s.eventually(name, func(ctx context.Context) error { // the API server learns of roles after it has answered
			status, err := test.reader.Status(ctx, test.url)
			if err == nil && status != test.want {
				err = fmt.Errorf("%d, want %d", status, test.want)
			}
			return err
		})
	}
	if err := profiled.Terminate(); err != nil {
		s.Error(err)
	}
	<-profiled.Done()
	s.kubectl("delete", "clusterrolebinding", "profiler", "scraper")
	s.kubectl("delete", "clusterrole", "profiler")
}

// kinds are those of everything that an installation may leave behind.
const kinds = "apiservices,crds,clusterroles,clusterrolebindings,namespaces,validatingwebhookconfigurations,mutatingwebhookconfigurations," +
	"roles,rolebindings,secrets,configmaps,leases,services,deployments,serviceaccounts,hpa,networkpolicies,pdb"

// everything is the names of all objects of these kinds, without what Kubernetes makes by itself all the time.
func (s *story) everything() map[string]bool {
	s.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(s.kubectl("get", kinds, "-A", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}`)) {
		all[strings.TrimSpace(line)] = true
	}
	return all
}

// uninstall does what the README says and looks for what is left.
func (s *story) uninstall(had map[string]bool) {
	s.Helper()
	replicas := s.kubectl("get", "deployment", "flask", "-o", "jsonpath={.spec.replicas}")
	s.kubectl("delete", "apiservices", "-l", "app.kubernetes.io/part-of=sysdig-metrics")
	// In a cluster the Deployment goes with the rest; here the operator is a process.
	if err := s.stage.StopOperator(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.kubectl("delete", "-k", filepath.Join(s.stage.Root, "config/operator"), "--timeout="+patience.String())
	for name := range s.everything() {
		if strings.Contains(name, "sysdig") || strings.Contains(name, "metrics.k8s.io") {
			s.Errorf("%s is left", name)
		}
	}
	if !had["CustomResourceDefinition /sysdigconnections.autoscaling.sysdigmetrics.dev"] || !had["APIService /v1beta2.custom.metrics.k8s.io"] {
		s.Errorf("the look for what is left sees nothing: %v", had)
	}
	var flask appsv1.Deployment
	if err := s.stage.Client.Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "flask"}, &flask); err != nil {
		s.Fatal(err)
	}
	if now := fmt.Sprint(*flask.Spec.Replicas); now != replicas {
		s.Errorf("flask had %s replicas and has %s", replicas, now)
	}
	s.kubectl("get", "hpa", "flask")
	s.kubectl("api-resources", "--cached=false")
	s.kubectl("create", "namespace", "bystander")
	s.kubectl("delete", "namespace", "bystander", "--timeout="+patience.String())
}
