package e2e_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	certutil "k8s.io/client-go/util/cert"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	v1beta1Custom   = "v1beta1.custom.metrics.k8s.io"
	v1beta2Custom   = "v1beta2.custom.metrics.k8s.io"
	v1beta1External = "v1beta1.external.metrics.k8s.io"
	ourLabel        = "app.kubernetes.io/part-of=sysdig-metrics"
)

// TestLivingTogether installs the operator beside another adapter that owns both API groups, or one of them, and takes the
// adapter away and brings it back. Real HPAs of both sides look on: what installing, running and uninstalling the operator
// does must not change what the others read. It has a control plane of its own.
func TestLivingTogether(t *testing.T) {
	t.Parallel()
	s, err := stage.Start(t.Context(), stage.Options{
		Cluster:   cluster.Options{HPASyncPeriod: 2 * time.Second, HPADownscaleStabilization: 20 * time.Second},
		NoInstall: true, Race: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Cluster.Stop(context.Background()) })
	c := &neighbours{scene: &scene{t: t, stage: s, namespace: "theirs"}, theirs: newForeign(t, s)}
	c.moveIn()

	c.step("the other adapter was there before us, with both groups", c.installBesideBoth)
	c.step("control: a v1beta2 of ours with a high priority takes its HPAs away", c.hijack)
	c.step("it gives up custom metrics, and we get them without a restart", c.getCustomMetrics)
	c.step("it comes after us: refused, then by force", c.loseCustomMetrics)
	c.step("it keeps custom metrics only, and we serve external ones only", c.serveExternalOnly)
	c.step("it keeps external metrics only, and we serve custom ones only", c.serveCustomOnly)
	c.step("it takes custom metrics while our certificates come from elsewhere", c.loseWithoutCertificates)
	c.step("we are uninstalled", c.uninstall)
}

// neighbours is a cluster with HPAs on the other adapter's metrics, in namespace theirs, and on ours, in namespace ours.
type neighbours struct {
	*scene
	theirs *foreign
	ours   *scene
}

func (c *neighbours) step(name string, play func()) {
	c.t.Helper()
	started := time.Now()
	play()
	c.t.Logf("%s: %s", time.Since(started).Round(100*time.Millisecond), name)
}

// moveIn installs the other adapter, client-side as many are, and workloads that scale on it.
func (c *neighbours) moveIn() {
	c.theirs.must("apply", v1beta1Custom)
	c.theirs.must("apply", v1beta1External)
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}})
	c.scaleOn(c.namespace, "custom", autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "custom"},
		Metric:          autoscalingv2.MetricIdentifier{Name: theirMetric}, Target: perPod("10"),
	}})
	c.scaleOn(c.namespace, "external", externally(theirMetric, "10"))
	c.eventuallyKept("custom", "external")
}

func externally(name, target string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: perPod(target),
	}}
}

func perPod(target string) autoscalingv2.MetricTarget {
	value := resource.MustParse(target)
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &value}
}

// scaleOn makes a Deployment of one pod and an HPA for it.
func (c *neighbours) scaleOn(namespace, name string, spec autoscalingv2.MetricSpec) {
	labels := map[string]string{"app": name}
	c.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "none"}}},
			},
		},
	})
	c.create(&autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MaxReplicas:    10, Metrics: []autoscalingv2.MetricSpec{spec},
		},
	})
}

// installBesideBoth is refused the APIServices of the other adapter, installs the rest, and changes nothing for its HPAs.
func (c *neighbours) installBesideBoth() {
	_, err := c.stage.Apply(c.t.Context(), "default")
	c.wantRefused(err, 2, "kubectl-client-side-apply")
	if err := c.stage.StartOperator(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.ours = newScene(c.t, c.stage, "ours", "ours")
	c.ours.deploy("flask", 2, 200)
	c.ours.bind("flask", served)
	c.ours.scale("flask", 2, 10, "100")
	c.ours.bind("queue", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target, s.MetricName, s.Source.Metric.GroupAggregation, s.MaxAge.Duration = nil, "queue", v1alpha1.GroupSum, lasting
	})
	c.scaleOn(c.ours.namespace, "workers", externally("queue", "50"))
	c.eventuallyRouted(metric.CustomMetrics, false)
	c.eventuallyRouted(metric.ExternalMetrics, false)
	c.wantLogged("HPAs that ask custom.metrics.k8s.io reach the Service monitoring/foreign-adapter, by the APIService v1beta1.custom.metrics.k8s.io")
	// By its path the value is there, for people; HPAs ask the other adapter, which does not know it.
	c.ours.eventuallyValue(c.ours.servicePath("flask"), 100)
	c.wantOurs(map[string]bool{"flask": false, "queue": false})
	c.alwaysKept("custom", "external")
	c.wantPreferred("v1beta1")
}

// hijack is the control run: why our v1beta2 has a priority below everybody's v1beta1.
func (c *neighbours) hijack() {
	c.prioritize(200)
	c.wantPreferred("v1beta2")
	c.eventuallyActive(false, c.scene, "custom")
	c.eventuallyRouted(metric.CustomMetrics, true)
	c.prioritize(1)
	c.wantPreferred("v1beta1")
	c.eventuallyKept("custom", "external")
	c.eventuallyRouted(metric.CustomMetrics, false)
}

func (c *neighbours) getCustomMetrics() {
	c.kubectl("delete", "apiservice", v1beta1Custom)
	_, err := c.stage.Apply(c.t.Context(), "default")
	c.wantRefused(err, 1, "kubectl-client-side-apply")
	c.eventuallyRouted(metric.CustomMetrics, true)
	c.eventuallyRouted(metric.ExternalMetrics, false)
	c.wantOurs(map[string]bool{"flask": true, "queue": false})
	c.alwaysKept("external")
}

func (c *neighbours) loseCustomMetrics() {
	_, err := c.theirs.apply("apply --server-side --field-manager=foreign", v1beta1Custom)
	c.wantRefused(err, 1, "sysdig-metrics")
	c.alwaysActive(c.ours, "flask")

	c.theirs.must("apply --server-side --field-manager=foreign --force-conflicts", v1beta1Custom)
	c.eventuallyRouted(metric.CustomMetrics, false)
	c.wantLogged("HPAs that ask this API do not reach this operator")
	c.eventuallyKept("custom", "external")
	c.wantOurs(map[string]bool{"flask": false, "queue": false})
	c.ours.alwaysReplicas(2*time.Second, "flask", 2, 2)
	c.theirs.wantUntouched(v1beta1Custom)
	c.takeLabelOff(v1beta1Custom)
}

// takeLabelOff is for an APIService that was taken from us: it still carries the label that an uninstallation goes by.
func (c *neighbours) takeLabelOff(name string) {
	c.t.Helper()
	if listed := c.kubectl("get", "apiservices", "-l", ourLabel); !strings.Contains(listed, name) {
		c.t.Errorf("%s has no label of ours to take off:\n%s", name, listed)
	}
	c.kubectl("label", "apiservice", name, "app.kubernetes.io/part-of-")
}

// serveExternalOnly gets external metrics beside custom ones of the other adapter, loses them by force and gets them back;
// then it installs for them alone.
func (c *neighbours) serveExternalOnly() {
	c.kubectl("delete", "apiservice", v1beta1External)
	_, err := c.stage.Apply(c.t.Context(), "default")
	c.wantRefused(err, 1, "foreign")
	c.eventuallyRouted(metric.ExternalMetrics, true)
	c.wantOurs(map[string]bool{"flask": false, "queue": true})
	c.theirs.must("apply --server-side --field-manager=foreign --force-conflicts", v1beta1External)
	c.eventuallyRouted(metric.ExternalMetrics, false)
	c.eventuallyKept("custom", "external")
	c.wantOurs(map[string]bool{"flask": false, "queue": false})
	c.kubectl("delete", "apiservice", v1beta1External)

	c.reinstall("overlays/external-only", "--serve=external")
	c.eventuallyRouted(metric.ExternalMetrics, true)
	c.eventuallyRouted(metric.CustomMetrics, false)
	c.wantLogged("--serve leaves it out")
	c.wantOurs(map[string]bool{"flask": false, "queue": true})
	c.alwaysKept("custom")
	c.theirs.wantUntouched(v1beta1Custom)
	c.wantCleanDiscovery()
}

func (c *neighbours) serveCustomOnly() {
	c.kubectl("delete", "apiservices", "-l", ourLabel)
	c.kubectl("delete", "apiservice", v1beta1Custom)
	c.theirs.must("apply --server-side --field-manager=foreign", v1beta1External)
	c.reinstall("overlays/custom-only", "--serve=custom")
	c.eventuallyRouted(metric.CustomMetrics, true)
	c.eventuallyRouted(metric.ExternalMetrics, false)
	c.wantOurs(map[string]bool{"flask": true, "queue": false})
	c.eventuallyKept("external")
	c.alwaysKept("external")
	c.wantCleanDiscovery()
}

// wantOurs waits until our bindings are served to HPAs, or say that they are not because of the route, and until the HPAs on
// them see the same.
func (c *neighbours) wantOurs(served map[string]bool) {
	c.t.Helper()
	hpas := map[string]string{"flask": "flask", "queue": "workers"}
	values := map[string]string{"flask": "100", "queue": "50"}
	for binding, want := range served {
		c.ours.eventuallyReady(binding, map[bool]string{true: "Serving", false: "NotRouted"}[want])
		c.eventuallyActive(want, c.ours, hpas[binding])
		if want {
			c.wantCurrent(hpas[binding], values[binding])
		}
	}
	c.ours.eventuallyReplicas("flask", 2, 2)
}

// reinstall deletes our APIServices, then applies another folder and starts the operator anew.
func (c *neighbours) reinstall(folder string, flags ...string) {
	c.t.Helper()
	c.kubectl("delete", "apiservices", "-l", ourLabel)
	c.stopOperator()
	if _, err := c.stage.Apply(c.t.Context(), folder); err != nil {
		c.t.Fatal(err)
	}
	if err := c.stage.StartOperator(c.t.Context(), flags...); err != nil {
		c.t.Fatal(err)
	}
}

// loseWithoutCertificates makes sure that routes are watched although nobody writes a caBundle.
func (c *neighbours) loseWithoutCertificates() {
	c.stopOperator()
	if err := c.stage.StartOperator(c.t.Context(), "--serve=custom", "--manage-certificates=false"); err != nil {
		c.t.Fatal(err)
	}
	c.eventuallyRouted(metric.CustomMetrics, true)
	c.theirs.must("apply --server-side --field-manager=foreign --force-conflicts", v1beta1Custom)
	c.eventuallyRouted(metric.CustomMetrics, false)
	c.takeLabelOff(v1beta1Custom)
	c.eventuallyKept("custom", "external")
}

func (c *neighbours) uninstall() {
	c.kubectl("delete", "apiservices", "-l", ourLabel)
	folder, err := c.stage.Hosted("operator")
	if err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("delete", "-k", folder)
	c.stopOperator()
	c.alwaysKept("custom", "external")
	c.theirs.wantUntouched(v1beta1Custom)
	c.theirs.wantUntouched(v1beta1External)
	c.ours.alwaysReplicas(time.Second, "flask", 2, 2)
	c.wantCleanDiscovery()
}

func (c *neighbours) stopOperator() {
	c.t.Helper()
	if race := ownRace(c.stage.OperatorLog()); race != "" {
		c.t.Error(race)
	}
	if err := c.stage.StopOperator(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *neighbours) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.stage.Cluster.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// wantRefused expects a number of conflicts with a field manager about whose the APIService is.
func (c *neighbours) wantRefused(err error, conflicts int, manager string) {
	c.t.Helper()
	if err == nil {
		c.t.Fatal("it is applied, want a conflict")
	}
	if got := strings.Count(err.Error(), "Apply failed with "); got != conflicts {
		c.t.Errorf("%d objects are refused, want %d:\n%v", got, conflicts, err)
	}
	for _, want := range []string{fmt.Sprintf("conflicts with %q", manager), ".spec.service.name"} {
		if !strings.Contains(err.Error(), want) {
			c.t.Errorf("the refusal is\n%v\nwant it to say %s", err, want)
		}
	}
}

// theirReplicas is what the other adapter's numbers make, at 10 for each replica.
var theirReplicas = map[string]int32{"custom": theirCustom / 10, "external": theirExternal / 10}

// kept tells whether an HPA on the other adapter's metrics reads them now and has the replicas that they make.
func (c *neighbours) kept(ctx context.Context, name string) error {
	h, err := c.hpa(ctx, c.scene, name)
	if err != nil {
		return err
	}
	if err := active(h, true); err != nil {
		return err
	}
	want := theirReplicas[name]
	if h.Status.CurrentReplicas != want || h.Status.DesiredReplicas != want || current(h) != "10" {
		return fmt.Errorf("%s has %d of %d replicas and reads %s per pod, want %d and 10", name, h.Status.CurrentReplicas, h.Status.DesiredReplicas, current(h), want)
	}
	return nil
}

func (c *neighbours) eventuallyKept(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.eventually("the HPA "+name, func(ctx context.Context) error { return c.kept(ctx, name) })
	}
}

// alwaysKept looks on for longer than two periods of the HPA controller, and until it has looked after that.
func (c *neighbours) alwaysKept(names ...string) {
	c.t.Helper()
	kept := func() error {
		var all []error
		for _, name := range names {
			all = append(all, c.kept(c.t.Context(), name))
		}
		return errors.Join(all...)
	}
	c.always(4500*time.Millisecond, "what other HPAs read", kept)
	for _, name := range names {
		c.looked(name)
	}
	if err := kept(); err != nil {
		c.t.Fatalf("what other HPAs read: %v", err)
	}
}

func (c *neighbours) hpa(ctx context.Context, in *scene, name string) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	h := &autoscalingv2.HorizontalPodAutoscaler{}
	return h, c.stage.Client.Get(ctx, client.ObjectKey{Namespace: in.namespace, Name: name}, h)
}

// active tells whether an HPA reads its metric, or does not.
func active(h *autoscalingv2.HorizontalPodAutoscaler, want bool) error {
	for _, condition := range h.Status.Conditions {
		if condition.Type == autoscalingv2.ScalingActive {
			if (condition.Status == corev1.ConditionTrue) != want {
				return fmt.Errorf("ScalingActive of %s is %s: %s: %s", h.Name, condition.Status, condition.Reason, condition.Message)
			}
			return nil
		}
	}
	return fmt.Errorf("%s has no condition ScalingActive", h.Name)
}

// current is the number that an HPA shows.
func current(h *autoscalingv2.HorizontalPodAutoscaler) string {
	if len(h.Status.CurrentMetrics) != 1 {
		return "nothing"
	}
	var status autoscalingv2.MetricValueStatus
	if m := h.Status.CurrentMetrics[0]; m.Object != nil {
		status = m.Object.Current
	} else if m.External != nil {
		status = m.External.Current
	}
	for _, value := range []*resource.Quantity{status.AverageValue, status.Value} {
		if value != nil && !value.IsZero() {
			return value.String()
		}
	}
	return "nothing"
}

func (c *neighbours) wantCurrent(name, want string) {
	c.t.Helper()
	c.eventually("what "+name+" reads", func(ctx context.Context) error {
		h, err := c.hpa(ctx, c.ours, name)
		if err == nil && current(h) != want {
			err = fmt.Errorf("it reads %s, want %s", current(h), want)
		}
		return err
	})
}

func (c *neighbours) eventuallyActive(want bool, in *scene, name string) {
	c.t.Helper()
	c.eventually("the HPA "+name, func(ctx context.Context) error {
		h, err := c.hpa(ctx, in, name)
		if err != nil {
			return err
		}
		return active(h, want)
	})
}

func (c *neighbours) alwaysActive(in *scene, name string) {
	c.t.Helper()
	reads := func() error {
		h, err := c.hpa(c.t.Context(), in, name)
		if err != nil {
			return err
		}
		return active(h, true)
	}
	c.always(3*time.Second, "the HPA "+name, reads)
	in.looked(name)
	if err := reads(); err != nil {
		c.t.Fatal(err)
	}
}

// prioritize sets the priority of our v1beta2.
func (c *neighbours) prioritize(priority int) {
	c.t.Helper()
	c.kubectl("patch", "apiservice", v1beta2Custom, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"versionPriority":%d}}`, priority))
}

// wantPreferred waits until discovery prefers a version of custom.metrics.k8s.io. HPAs ask that.
func (c *neighbours) wantPreferred(want string) {
	c.t.Helper()
	c.eventually("the preferred version", func(context.Context) error {
		groups, err := discovery.NewDiscoveryClientForConfigOrDie(c.stage.Cluster.AdminConfig()).ServerGroups()
		if err != nil {
			return err
		}
		for _, g := range groups.Groups {
			if g.Name == string(metric.CustomMetrics) {
				if g.PreferredVersion.Version != want {
					return fmt.Errorf("it is %s, want %s", g.PreferredVersion.Version, want)
				}
				return nil
			}
		}
		return errors.New("the group is not listed")
	})
}

// wantCleanDiscovery expects that every APIService is available and described, and that kubectl has nothing to complain about.
func (c *neighbours) wantCleanDiscovery() {
	c.t.Helper()
	c.eventually("discovery", func(ctx context.Context) error {
		_, err := c.stage.Cluster.Kubectl(ctx, "api-resources")
		return err
	})
	c.eventually("every APIService is available", func(ctx context.Context) error {
		out, err := c.stage.Cluster.Kubectl(ctx, "get", "apiservices")
		if err == nil && strings.Contains(out, "False") {
			err = errors.New(out)
		}
		return err
	})
	for name, schema := range map[string]string{
		v1beta1Custom: "v1beta1.MetricValueList", v1beta2Custom: "v1beta2.MetricValueList", v1beta1External: "v1beta1.ExternalMetricValueList",
	} {
		version, group, _ := strings.Cut(name, ".")
		err := c.stage.Client.Get(c.t.Context(), client.ObjectKey{Name: name}, &apiregistrationv1.APIService{})
		if apierrors.IsNotFound(err) {
			continue
		}
		c.eventually("OpenAPI of "+name, func(ctx context.Context) error {
			out, err := c.stage.Cluster.Kubectl(ctx, "get", "--raw", "/openapi/v3/apis/"+group+"/"+version)
			if err == nil && !strings.Contains(out, schema) {
				err = fmt.Errorf("it does not describe %s", schema)
			}
			return err
		})
	}
}

// eventuallyRouted waits until the operator's gauge says whether an API is routed to it.
func (c *neighbours) eventuallyRouted(api metric.API, want bool) {
	c.t.Helper()
	line := fmt.Sprintf("sysdig_metrics_api_routed{api=%q} %d", api, map[bool]int{true: 1}[want])
	c.eventually(line, func(ctx context.Context) error {
		body, err := c.stage.Metrics(ctx)
		if err == nil && !strings.Contains(body, line+"\n") {
			err = errors.New("the operator does not say so")
		}
		return err
	})
}

func (c *neighbours) wantLogged(text string) {
	c.t.Helper()
	c.eventually("the log", func(context.Context) error {
		if log := c.stage.OperatorLog(); !strings.Contains(log, text) {
			return fmt.Errorf("the log is\n%s\nwant it to say %q", log, text)
		}
		return nil
	})
}

// What the other adapter serves.
const (
	theirMetric   = "requests"
	theirCustom   = 30
	theirExternal = 40
)

// foreign is another adapter: a process, a Service and a certificate.
type foreign struct {
	t         *testing.T
	stage     *stage.Stage
	dir       string
	port      int
	authority []byte
}

// newForeign starts the adapter. Its APIServices are applied by those who want them.
func newForeign(t *testing.T, s *stage.Stage) *foreign {
	t.Helper()
	f := &foreign{t: t, stage: s, dir: t.TempDir()}
	service := types.NamespacedName{Namespace: "monitoring", Name: "foreign-adapter"}
	cert, key, err := certutil.GenerateSelfSignedCertKey(service.Name+"."+service.Namespace+".svc", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.authority = cert
	for name, content := range map[string][]byte{serving.CertFile: cert, serving.KeyFile: key} {
		if err := os.WriteFile(filepath.Join(f.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ports, err := cluster.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	f.port = ports[0]
	if _, err := s.Cluster.Kubectl(t.Context(), "create", "namespace", service.Namespace); err != nil {
		t.Fatal(err)
	}
	if err := s.Cluster.ExposeHostProcess(t.Context(), service, f.port); err != nil {
		t.Fatal(err)
	}
	binary, err := s.Build(t.Context(), "./test/e2e/foreign")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cluster.StartHostProcess("foreign", binary,
		"--kubeconfig="+s.Cluster.AdminKubeconfig(), "--cert-dir="+f.dir, "--port="+strconv.Itoa(f.port), "--metric="+theirMetric,
		"--custom="+strconv.Itoa(theirCustom), "--external="+strconv.Itoa(theirExternal)); err != nil {
		t.Fatal(err)
	}
	return f
}

// apply applies one of the adapter's APIServices with a kubectl command.
func (f *foreign) apply(command, name string) (string, error) {
	version, group, _ := strings.Cut(name, ".")
	manifest := fmt.Sprintf(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %s}
spec:
  group: %s
  version: %s
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: %s
  service: {name: foreign-adapter, namespace: monitoring, port: %d}
`, name, group, version, base64.StdEncoding.EncodeToString(f.authority), f.port)
	file := filepath.Join(f.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return "", err
	}
	return f.stage.Cluster.Kubectl(f.t.Context(), append(strings.Fields(command), "-f", file)...)
}

// must is apply for what has to work.
func (f *foreign) must(command, name string) {
	f.t.Helper()
	if _, err := f.apply(command, name); err != nil {
		f.t.Fatal(err)
	}
	if err := f.stage.Cluster.WaitAPIServiceAvailable(f.t.Context(), name); err != nil {
		f.t.Fatal(err)
	}
}

// wantUntouched expects an APIService as the adapter has applied it.
func (f *foreign) wantUntouched(name string) {
	f.t.Helper()
	var s apiregistrationv1.APIService
	if err := f.stage.Client.Get(f.t.Context(), client.ObjectKey{Name: name}, &s); err != nil {
		f.t.Fatal(err)
	}
	if s.Spec.Service.Name != "foreign-adapter" || string(s.Spec.CABundle) != string(f.authority) || s.Spec.VersionPriority != 100 {
		f.t.Errorf("somebody has written to %s: %+v", name, s.Spec)
	}
}
