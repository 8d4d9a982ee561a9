package controllers

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

func TestCompileConnection(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.SysdigConnectionSpec)
		data   map[string]string
		reason metric.Reason
		text   string
	}{
		"a region and a token are enough":    {data: map[string]string{"token": canary}},
		"a newline behind the token is fine": {data: map[string]string{"token": canary + "\n"}},
		"a missing Secret is named":          {reason: metric.Unauthorized, text: "no Secret sysdig-metrics/sysdig-api of type"},
		"a missing key is named":             {data: map[string]string{"other": canary}, reason: metric.Unauthorized, text: "no key token"},
		"an empty token is refused":          {data: map[string]string{"token": " \n"}, reason: metric.Unauthorized, text: "empty"},
		"a token of two lines is refused":    {data: map[string]string{"token": canary + "\n" + canary}, reason: metric.Unauthorized, text: "characters"},
		"a host that is not listed is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.Endpoint.Region = "us3" },
			data:   map[string]string{"token": canary}, reason: metric.Unauthorized, text: "does not list app.us3.sysdig.com",
		},
		"a host in other letters is refused": {
			change: func(s *v1alpha1.SysdigConnectionSpec) {
				s.Endpoint.Region, s.Endpoint.URL = "", "https://us2.app.ſysdig.com"
			},
			data: map[string]string{"token": canary}, reason: metric.Rejected, text: "spec.endpoint.url: must have a host of letters",
		},
		"a bad CA is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.Endpoint.CABundle = "nonsense" },
			data:   map[string]string{"token": canary}, reason: metric.Rejected, text: "spec.endpoint.caBundle",
		},
		"a header for others is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) {
				s.Endpoint.Headers = []v1alpha1.Header{{Name: "SysdigTeamID", Value: "1"}, {Name: "Upgrade", Value: "h2c"}}
			},
			data: map[string]string{"token": canary}, reason: metric.Rejected, text: "spec.endpoint.headers[1].name: Upgrade is not sent",
		},
		"a heartbeat in dotted spelling is fine": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.HeartbeatMetric = "memory.bytes.used" }, data: map[string]string{"token": canary},
		},
		"a heartbeat that is no name is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.HeartbeatMetric = `up{a="b"} or x` },
			data:   map[string]string{"token": canary}, reason: metric.Rejected, text: "spec.heartbeatMetric: must be a metric name such as",
		},
		"a heartbeat that Prometheus does not have is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.HeartbeatMetric = "memory.pageFault.minor" },
			data:   map[string]string{"token": canary}, reason: metric.Rejected, text: "spec.heartbeatMetric: Sysdig's Prometheus API has no memory.pageFault.minor; use another metric",
		},
		"an unknown region is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.Endpoint.Region = "moon" },
			data:   map[string]string{"token": canary}, reason: metric.Rejected, text: "spec.endpoint.region",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.SysdigConnectionSpec{
				Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
				TokenSecretRef: v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"},
			}}
			if test.change != nil {
				test.change(&c.Spec)
			}
			secret := &corev1.Secret{}
			if test.data != nil {
				secret = tokenSecret("us2.app.sysdig.com", test.data)
			}
			got := (&ConnectionReconciler{Namespace: "sysdig-metrics", UserAgent: "test"}).compile(c, secret)
			if (got.Source == nil) != (test.reason != "") || (got.Refused == nil) != (test.reason == "") {
				t.Fatalf("got %+v", got)
			}
			if got.Refused != nil && (got.Refused.Reason != test.reason || !strings.Contains(got.Refused.Message, test.text) || strings.Contains(got.Refused.Error(), canary)) {
				t.Errorf("refused with %v", got.Refused)
			}
		})
	}
}

// TestTheAPIOfAConnectionIsCompiled looks at what the poller and the client get.
func TestTheAPIOfAConnectionIsCompiled(t *testing.T) {
	for name, test := range map[string]struct {
		spec     v1alpha1.SysdigConnectionSpec
		api      v1alpha1.API
		rateFrom v1alpha1.RateFrom
		pod      string
		segments int
	}{
		"Prometheus": {
			v1alpha1.SysdigConnectionSpec{API: v1alpha1.APIPrometheus, DataAPI: v1alpha1.DataAPI{SegmentsPerRequest: 500, RateFrom: v1alpha1.RateFromTimeAvg}},
			v1alpha1.APIPrometheus, "", "kube_pod_name", 500,
		},
		"Data": {
			v1alpha1.SysdigConnectionSpec{API: v1alpha1.APIData, DataAPI: v1alpha1.DataAPI{SegmentsPerRequest: 70, RateFrom: v1alpha1.RateFromSum}},
			v1alpha1.APIData, v1alpha1.RateFromSum, "kubernetes.pod.name", 70,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.spec.Endpoint, test.spec.ClusterName = v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, "c"
			test.spec.TokenSecretRef = v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"}
			c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: test.spec}
			got := (&ConnectionReconciler{UserAgent: "test"}).compile(c, tokenSecret("us2.app.sysdig.com", map[string]string{"token": "t"}))
			if got.Refused != nil {
				t.Fatal(got.Refused)
			}
			scope := got.Heartbeat.Scope
			if scope.API != test.api || scope.RateFrom != test.rateFrom || scope.Labels.Pod != test.pod || got.Segments != test.segments {
				t.Errorf("compiled to %+v and %d segments", scope, got.Segments)
			}
			if got.Lister == nil {
				t.Error("nothing lists what there is")
			}
		})
	}
}

func TestAddressesOfAnEndpoint(t *testing.T) {
	iam := func(url string) *v1alpha1.IAM { return &v1alpha1.IAM{URL: url} }
	for name, test := range map[string]struct {
		endpoint         v1alpha1.Endpoint
		query, data, iam string
		failure          string
	}{
		"a region": {
			endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"},
			query:    "https://us2.app.sysdig.com/prometheus/api/v1/query", data: "https://us2.app.sysdig.com/api/data",
		},
		"IBM Cloud": {
			endpoint: v1alpha1.Endpoint{URL: "https://eu-de.monitoring.cloud.ibm.com", PrometheusPath: "/api/prometheus", IAM: iam("https://iam.cloud.ibm.com/identity/token")},
			query:    "https://eu-de.monitoring.cloud.ibm.com/api/prometheus/api/v1/query", data: "https://eu-de.monitoring.cloud.ibm.com/api/data",
			iam: "https://iam.cloud.ibm.com/identity/token",
		},
		"IAM without TLS":  {endpoint: v1alpha1.Endpoint{Region: "us2", IAM: iam("http://iam.cloud.ibm.com/identity/token")}, failure: "spec.endpoint.iam.url"},
		"IAM without host": {endpoint: v1alpha1.Endpoint{Region: "us2", IAM: iam("https:///identity/token")}, failure: "spec.endpoint.iam.url"},
		"IAM nowhere":      {endpoint: v1alpha1.Endpoint{Region: "us2", IAM: iam("")}, failure: "spec.endpoint.iam.url"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := addresses(test.endpoint)
			if test.failure != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.failure) {
					t.Errorf("got %v, want an error of %s", err, test.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			exchange := ""
			if got.IAM != nil {
				exchange = got.IAM.URL.String()
			}
			if got.QueryURL.String() != test.query || got.DataURL.String() != test.data || exchange != test.iam {
				t.Errorf("got %s, %s and %q", got.QueryURL, got.DataURL, exchange)
			}
		})
	}
}

func TestConnectionConditions(t *testing.T) {
	failure := metric.Failf(metric.Unavailable, "HTTP 500")
	tests := map[string]struct {
		connection      registry.Connection
		accepted, ready metav1.ConditionStatus
		reason          string
	}{
		"nobody has asked yet":   {registry.Connection{}, metav1.ConditionTrue, metav1.ConditionUnknown, "Pending"},
		"the last round worked":  {registry.Connection{Attempted: now}, metav1.ConditionTrue, metav1.ConditionTrue, "Connected"},
		"the last round failed":  {registry.Connection{Attempted: now, Health: failure}, metav1.ConditionTrue, metav1.ConditionFalse, "Unavailable"},
		"it cannot be used":      {registry.Connection{Refused: metric.Failf(metric.Unauthorized, "no Secret")}, metav1.ConditionFalse, metav1.ConditionFalse, "Unauthorized"},
		"it can't be used since": {registry.Connection{Attempted: now, Refused: metric.Failf(metric.Unauthorized, "no Secret")}, metav1.ConditionFalse, metav1.ConditionFalse, "Unauthorized"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			conditions := connectionConditions(test.connection)
			accepted, ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionAccepted), meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
			if accepted.Status != test.accepted || ready.Status != test.ready || ready.Reason != test.reason {
				t.Errorf("got %+v and %+v", accepted, ready)
			}
		})
	}
}

// TestAClientOutlivesItsTokenButNotItsAddress: a rotated token goes to the same client, and never to where it does not belong.
func TestAClientOutlivesItsTokenButNotItsAddress(t *testing.T) {
	r := &ConnectionReconciler{UserAgent: "test"}
	compile := func(name, token string, change func(*v1alpha1.Endpoint)) registry.Connection {
		c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.SysdigConnectionSpec{
			Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
			TokenSecretRef: v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"},
		}}
		if change != nil {
			change(&c.Spec.Endpoint)
		}
		data := map[string]string{}
		if token != "" {
			data["token"] = token
		}
		return r.compile(c, tokenSecret("us2.app.sysdig.com, app.us3.sysdig.com, iam.cloud.ibm.com", data))
	}
	first := compile("one", "a", nil)
	if again := compile("one", "b", nil); again.Source != first.Source || again.Refused != nil {
		t.Errorf("a new token makes another client: %v", again.Refused)
	}
	gone := compile("one", "", nil)
	if gone.Source != nil || gone.Refused == nil || sysdig.FaultOf(gone.Refused) != sysdig.CredentialMissing {
		t.Errorf("without a token: %+v", gone)
	}
	if _, err := first.Source.Query(t.Context(), "x", now); sysdig.FaultOf(err) != sysdig.CredentialMissing {
		t.Errorf("a round under way goes on with the token that is gone: %v", err)
	}
	if back := compile("one", "c", nil); back.Source != first.Source || back.Refused != nil {
		t.Errorf("a token that is back makes another client: %v", back.Refused)
	}
	if other := compile("two", "c", nil); other.Source == first.Source {
		t.Error("two connections share a client")
	}
	for name, change := range map[string]func(*v1alpha1.Endpoint){
		"the region":   func(e *v1alpha1.Endpoint) { e.Region = "us3" },
		"a header":     func(e *v1alpha1.Endpoint) { e.Headers = []v1alpha1.Header{{Name: "SysdigTeamID", Value: "1"}} },
		"the exchange": func(e *v1alpha1.Endpoint) { e.IAM = &v1alpha1.IAM{URL: "https://iam.cloud.ibm.com/identity/token"} },
		"the path":     func(e *v1alpha1.Endpoint) { e.PrometheusPath = "/api/prometheus" },
	} {
		before := compile("one", "c", nil)
		if after := compile("one", "d", change); after.Source == before.Source || after.Refused != nil {
			t.Errorf("%s is new, and the client is the same: %v", name, after.Refused)
		}
	}
}

func TestTheCredentialConditionSaysWhatIsKnown(t *testing.T) {
	because := func(reason metric.Reason, fault sysdig.CredentialFault) *metric.Failure {
		f := metric.Failf(reason, "because")
		if fault != "" {
			f.Err = &sysdig.CredentialError{Fault: fault}
		}
		return f
	}
	for name, test := range map[string]struct {
		connection registry.Connection
		status     metav1.ConditionStatus // empty: there is none, and what was known stands
		reason     string
	}{
		"never used":        {registry.Connection{}, metav1.ConditionUnknown, "Pending"},
		"used":              {registry.Connection{Attempted: now}, metav1.ConditionTrue, "Valid"},
		"no pod reports":    {registry.Connection{Attempted: now, Health: because(metric.Stale, "")}, metav1.ConditionTrue, "Valid"},
		"refused":           {registry.Connection{Attempted: now, Health: because(metric.Unauthorized, sysdig.CredentialRefused)}, metav1.ConditionFalse, "Refused"},
		"expired":           {registry.Connection{Attempted: now, Health: because(metric.Unauthorized, sysdig.CredentialExpired)}, metav1.ConditionFalse, "Expired"},
		"another region":    {registry.Connection{Attempted: now, Health: because(metric.Unavailable, sysdig.CredentialWrongRegion)}, metav1.ConditionFalse, "WrongRegion"},
		"Sysdig is away":    {registry.Connection{Attempted: now, Health: because(metric.Unavailable, "")}, "", ""},
		"Sysdig has enough": {registry.Connection{Attempted: now, Health: because(metric.RateLimited, "")}, "", ""},
		"no Secret":         {registry.Connection{Attempted: now, Refused: because(metric.Unauthorized, sysdig.CredentialMissing)}, metav1.ConditionFalse, "Missing"},
		"not for this host": {registry.Connection{Refused: because(metric.Unauthorized, sysdig.CredentialHostNotListed)}, metav1.ConditionFalse, "HostNotListed"},
		"no usable spec":    {registry.Connection{Attempted: now, Refused: because(metric.Rejected, "")}, metav1.ConditionUnknown, "Pending"},
	} {
		t.Run(name, func(t *testing.T) {
			got := meta.FindStatusCondition(connectionConditions(test.connection), v1alpha1.ConditionCredentialReady)
			switch {
			case test.status == "" && got == nil:
			case got == nil || got.Status != test.status || got.Reason != test.reason || got.Message == "":
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestTheClusterConditionListsWhatThereIs(t *testing.T) {
	stale := metric.Failf(metric.Stale, "no pod")
	many := registry.Clusters{All: true}
	for i := range 30 {
		many.Names = append(many.Names, fmt.Sprintf("prod-%02d", i))
	}
	for name, test := range map[string]struct {
		health  *metric.Failure
		seen    *registry.Clusters
		cluster string
		status  metav1.ConditionStatus
		text    string
	}{
		"seen":                    {cluster: "prod-07", status: metav1.ConditionTrue, text: "pods of cluster prod-07 report"},
		"nobody has looked":       {health: stale, cluster: "prod-07"},
		"all clusters":            {health: stale, seen: &many},
		"known, and silent":       {health: stale, seen: &many, cluster: "prod-07", status: metav1.ConditionTrue, text: "none of its pods has reported up"},
		"none":                    {health: stale, seen: &registry.Clusters{All: true}, cluster: "prod-07", status: metav1.ConditionFalse, text: "sees no cluster at all"},
		"others":                  {health: stale, seen: &registry.Clusters{Names: []string{"a", "b"}, All: true}, cluster: "c", status: metav1.ConditionFalse, text: "but of a, b: correct spec.clusterName"},
		"the nearest of many":     {health: stale, seen: &many, cluster: "prod-077", status: metav1.ConditionFalse, text: "prod-07, "},
		"some of many":            {health: stale, seen: &many, cluster: "prod-077", status: metav1.ConditionFalse, text: " and 20 more: correct"},
		"so many that no one can": {health: stale, seen: &registry.Clusters{Names: many.Names}, cluster: "x", status: metav1.ConditionFalse, text: " and many more: correct"},
	} {
		t.Run(name, func(t *testing.T) {
			c := registry.Connection{Attempted: now, Health: test.health, Clusters: test.seen, Heartbeat: query.Heartbeat{Metric: "up", Scope: query.Scope{Cluster: test.cluster}}}
			got := meta.FindStatusCondition(connectionConditions(c), v1alpha1.ConditionClusterSeen)
			switch {
			case test.status == "" && got == nil:
			case got == nil || got.Status != test.status || !strings.Contains(got.Message, test.text) || len(got.Message) > 4096:
				t.Errorf("got %+v, want %s and %q", got, test.status, test.text)
			}
		})
	}
}

// puts remembers the connections that were put.
type puts []registry.Connection

func (p *puts) PutConnection(c registry.Connection) { *p = append(*p, c) }
func (p *puts) DeleteConnection(string)             {}

// TestOnlyWhatAConnectionIsMadeFromPutsItAgain reconciles a connection for many reasons.
func TestOnlyWhatAConnectionIsMadeFromPutsItAgain(t *testing.T) {
	c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 1}, Spec: v1alpha1.SysdigConnectionSpec{
		Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
		TokenSecretRef: v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"},
	}}
	const hosts = "us2.app.sysdig.com,eu1.app.sysdig.com"
	secret := tokenSecret(hosts, map[string]string{"token": "one"})
	secret.Namespace, secret.Name = "sysdig-metrics", "sysdig-api"
	var put puts
	r := &ConnectionReconciler{Client: reader{objects: []client.Object{c, secret}}, Namespace: "sysdig-metrics", Connections: &put}
	for _, step := range []struct {
		why  string
		edit func()
		puts int
		// access: Sysdig is asked elsewhere or with another token.
		access bool
	}{
		{"it is new", func() {}, 1, true},
		{"somebody annotates the Secret", func() { secret.Annotations["a"] = "b" }, 1, false},
		{"the Secret holds more", func() { secret.Data["other"] = []byte("x") }, 1, false},
		{"the quota is edited", func() { c.Generation, c.Spec.Quota.RequestsPerMinute = 2, 90 }, 2, false},
		{"the token is replaced", func() { secret.Data["token"] = []byte("two") }, 3, true},
		{"the same token is written with a line break", func() { secret.Data["token"] = []byte("two\n") }, 3, false},
		{"the token goes", func() { delete(secret.Data, "token") }, 4, false},
		{"the same token is back", func() { secret.Data["token"] = []byte("two") }, 5, false},
		{"the token is spoiled", func() { secret.Data["token"] = []byte("t w o") }, 6, false},
		{"another token is in its place", func() { secret.Data["token"] = []byte("three") }, 7, true},
		{"the region is edited", func() { c.Generation, c.Spec.Endpoint.Region = 3, "eu1" }, 8, true},
		{"the host is listed no more", func() { secret.Annotations[v1alpha1.AnnotationHosts] = "b.example" }, 9, false},
		{"the host is listed again", func() { secret.Annotations[v1alpha1.AnnotationHosts] = hosts }, 10, false},
		{"another host is listed, too", func() { secret.Annotations[v1alpha1.AnnotationHosts] = hosts + ",b.example" }, 11, false},
		{"a watch begins anew", func() { c.ResourceVersion, secret.ResourceVersion = "7", "8" }, 11, false},
	} {
		before := int64(0)
		if len(put) > 0 {
			before = put[len(put)-1].Access
		}
		step.edit()
		if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "default"}}); err != nil {
			t.Fatal(err)
		}
		if after := put[len(put)-1].Access; len(put) != step.puts || (after != before) != step.access {
			t.Errorf("%s: it was put %d times, want %d; its access was %d and is %d", step.why, len(put), step.puts, before, after)
		}
	}
}

// TestARefusedConnectionTellsTenantsNothingOfItself: the Secret, its namespace and what the spec says are the platform team's.
func TestARefusedConnectionTellsTenantsNothingOfItself(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.SysdigConnectionSpec)
		detail string
	}{
		"without a Secret":     {func(*v1alpha1.SysdigConnectionSpec) {}, "there is no Secret sysdig-metrics/hidden of type"},
		"of an unknown region": {func(s *v1alpha1.SysdigConnectionSpec) { s.Endpoint.Region = "hidden" }, `"hidden" is no region`},
		"with a header of one's own": {func(s *v1alpha1.SysdigConnectionSpec) {
			s.Endpoint.Headers = []v1alpha1.Header{{Name: "hidden", Value: "x"}}
		}, "hidden is not sent"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 1}, Spec: v1alpha1.SysdigConnectionSpec{
				Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
				TokenSecretRef: v1alpha1.SecretKeyReference{Name: "hidden", Key: "token"},
			}}
			test.change(&c.Spec)
			var put puts
			r := &ConnectionReconciler{Client: reader{objects: []client.Object{c}}, Namespace: "sysdig-metrics", Connections: &put}
			if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "default"}}); err != nil {
				t.Fatal(err)
			}
			refused := put[0].Refused
			if strings.Contains(refused.Error(), "hidden") || strings.Contains(refused.Error(), "sysdig-metrics") || !strings.Contains(refused.Message, "ask the platform team") {
				t.Errorf("tenants are told %q", refused.Error())
			}
			for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady} {
				if got := meta.FindStatusCondition(connectionConditions(put[0]), kind); !strings.Contains(got.Message, test.detail) {
					t.Errorf("%s says %q, want %q", kind, got.Message, test.detail)
				}
			}
		})
	}
}

// TestTheConditionsOfAConnectionSayAll that tenants are not told; its Events, which are in the namespace default, do not.
func TestTheConditionsOfAConnectionSayAll(t *testing.T) {
	f := metric.Failf(metric.Unauthorized, "everything").Withhold("a part")
	f.Err = &sysdig.CredentialError{Fault: sysdig.CredentialExpired}
	conditions := connectionConditions(registry.Connection{Attempted: now, Health: f})
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionCredentialReady} {
		if got := meta.FindStatusCondition(conditions, kind); got.Message != "everything" {
			t.Errorf("%s says %q", kind, got.Message)
		}
	}
	recorder := events.NewFakeRecorder(10)
	c := &v1alpha1.SysdigConnection{Status: v1alpha1.SysdigConnectionStatus{Conditions: conditions}}
	(&ConnectionStatusReconciler{Events: recorder}).send(c, nil, f)
	if event := <-recorder.Events; event != "Warning Unauthorized a part" {
		t.Errorf("the Event is %q", event)
	}
}
