// Package packages_test installs what is packaged beside config/default on real control planes: certificates of cert-manager, and
// the Helm chart.
package packages_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	operator = "sysdig-metrics-operator"
	// patience is the end of every wait, which tells of what never happens.
	patience = 5 * time.Minute
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(leaks.Run(m.Run))
}

// kinds stand for those of cert-manager, which is not there: the test does by hand what it and its cainjector do.
const kinds = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]ss.cert-manager.io}
spec:
  group: cert-manager.io
  scope: Namespaced
  names: {kind: %[2]s, plural: %[1]ss, singular: %[1]s}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// issued is a control plane with config/overlays/cert-manager, and the folder that its pods see.
type issued struct {
	t     *testing.T
	stage *stage.Stage
	names []string // in the serving certificate
	mount string   // where the kubelet would mount the Secret
	dir   string   // --cert-dir
	items []corev1.KeyToPath
	swaps int
}

func TestTheOperatorServesWithCertificatesOfCertManager(t *testing.T) {
	t.Parallel()
	i := start(t)
	first := newAuthority(t)
	i.deliver(first)
	i.inject(first.bundle())
	if err := i.stage.StartOperator(t.Context(), "--manage-certificates=false", "--cert-dir="+i.dir); err != nil {
		t.Fatal(err)
	}
	reads := i.read()

	i.run("a new certificate is served without a restart", func() { i.serves(first, i.deliver(first)) })
	i.run("an authority that is renewed with its key fails no read", func() {
		first.renew()
		i.inject(first.bundle())
		reads.goOn(100) // while the kubelet has yet to bring it
		i.serves(first, i.deliver(first))
		reads.goOn(20)
	})
	if n := reads.end(); n > 0 {
		t.Errorf("%d reads failed", n)
	}
	i.run("the operator has written nothing", func() { i.untouched(first) })
	i.run("the operator may write nothing", i.mayNotWrite)
	// Why rotationPolicy is Never: with another key the old certificate is worth nothing from the moment that the caBundle changes.
	i.run("an authority with another key would fail reads", func() {
		reads := i.read()
		i.inject(newAuthority(i.t).bundle())
		i.eventually("a read that fails", func(context.Context) error {
			if reads.failed.Load() == 0 {
				return fmt.Errorf("none of %d has failed", reads.sent.Load())
			}
			return nil
		})
		reads.end()
	})
	if err := i.stage.OperatorFailure(); err != nil {
		t.Error(err)
	}
}

// run is a part of the test by itself.
func (i *issued) run(name string, part func()) {
	all := i.t
	defer func() { i.t = all }()
	all.Run(name, func(t *testing.T) {
		i.t = t
		part()
	})
}

// start sets the stage and finds out from the manifests which names the certificate has and where it is mounted.
func start(t *testing.T) *issued {
	t.Helper()
	s, err := stage.Start(t.Context(), stage.Options{NoInstall: true, Race: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Cluster.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	i := &issued{t: t, stage: s, mount: t.TempDir()}
	for _, kind := range []string{"Issuer", "Certificate"} {
		file := filepath.Join(t.TempDir(), kind)
		if err := os.WriteFile(file, fmt.Appendf(nil, kinds, strings.ToLower(kind), kind), 0o600); err != nil {
			t.Fatal(err)
		}
		i.kubectl("apply", "-f", file)
		i.kubectl("wait", "--for=condition=Established", "--timeout="+patience.String(), "crd/"+strings.ToLower(kind)+"s.cert-manager.io")
	}
	if _, err := s.Apply(t.Context(), "overlays/cert-manager"); err != nil {
		t.Fatal(err)
	}
	i.look()
	return i
}

func (i *issued) kubectl(args ...string) string {
	i.t.Helper()
	out, err := i.stage.Cluster.Kubectl(i.t.Context(), args...)
	if err != nil {
		i.t.Fatal(err)
	}
	return out
}

func (i *issued) get(object client.Object, name string) {
	i.t.Helper()
	if err := i.stage.Client.Get(i.t.Context(), client.ObjectKey{Namespace: stage.Namespace, Name: name}, object); err != nil {
		i.t.Fatal(err)
	}
}

func (i *issued) look() {
	i.t.Helper()
	var deployment appsv1.Deployment
	i.get(&deployment, operator)
	pod := deployment.Spec.Template.Spec
	source, mount := pod.Volumes[0].Secret, pod.Containers[0].VolumeMounts[0]
	certDir := ""
	for _, arg := range pod.Containers[0].Args {
		if value, ok := strings.CutPrefix(arg, "--cert-dir="); ok {
			certDir = value
		}
	}
	if source == nil || !mount.ReadOnly || !strings.HasPrefix(certDir, mount.MountPath+"/") || !slices.Contains(pod.Containers[0].Args, "--manage-certificates=false") {
		i.t.Fatalf("the volume is %+v, mounted as %+v, and the arguments are %q", pod.Volumes[0], mount, pod.Containers[0].Args)
	}
	i.items, i.dir = source.Items, filepath.Join(i.mount, strings.TrimPrefix(certDir, mount.MountPath))
	serving := &unstructured.Unstructured{}
	serving.SetAPIVersion("cert-manager.io/v1")
	serving.SetKind("Certificate")
	i.get(serving, "sysdig-metrics-serving")
	i.names, _, _ = unstructured.NestedStringSlice(serving.Object, "spec", "dnsNames")
	if secret, _, _ := unstructured.NestedString(serving.Object, "spec", "secretName"); secret != source.SecretName {
		i.t.Fatalf("the certificate is in %s, and %s is mounted", secret, source.SecretName)
	}
	for _, service := range i.apiServices() {
		if got := service.Annotations["cert-manager.io/inject-ca-from"]; got != stage.Namespace+"/"+serving.GetName() {
			i.t.Errorf("the authority of %s comes from %q", service.Name, got)
		}
	}
}

// deliver issues a certificate, writes it into its Secret and brings that to the pods as the kubelet does: whole, by a link that
// changes.
func (i *issued) deliver(from *authority) *x509.Certificate {
	i.t.Helper()
	certificate, key := from.issue(i.names)
	data := map[string][]byte{"tls.crt": pemOf("CERTIFICATE", certificate.Raw), "tls.key": key, "ca.crt": from.bundle()}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: "sysdig-metrics-serving-tls"}, Type: corev1.SecretTypeTLS, Data: data,
	}
	write := i.stage.Client.Update
	if i.swaps == 0 {
		write = func(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
			return i.stage.Client.Create(ctx, o)
		}
	}
	if err := write(i.t.Context(), secret); err != nil {
		i.t.Fatal(err)
	}
	i.swaps++
	version := fmt.Sprintf("..%d", i.swaps)
	folders := map[string]bool{}
	for _, item := range i.items {
		path := filepath.Join(i.mount, version, item.Path)
		folders[strings.Split(item.Path, "/")[0]] = true
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			i.t.Fatal(err)
		}
		if err := os.WriteFile(path, data[item.Key], 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	link := filepath.Join(i.mount, "..data")
	if err := os.Symlink(version, link+"_tmp"); err != nil {
		i.t.Fatal(err)
	}
	old, _ := os.Readlink(link) // none at first
	if err := os.Rename(link+"_tmp", link); err != nil {
		i.t.Fatal(err)
	}
	for folder := range maps.Keys(folders) {
		if err := os.Symlink(filepath.Join("..data", folder), filepath.Join(i.mount, folder)); err != nil && !os.IsExist(err) {
			i.t.Fatal(err)
		}
	}
	// The kubelet removes what nobody sees any more. That is what a watch of the files notices.
	if old != "" {
		if err := os.RemoveAll(filepath.Join(i.mount, old)); err != nil {
			i.t.Fatal(err)
		}
	}
	return certificate
}

// inject writes the authority into the APIServices, as cainjector does.
func (i *issued) inject(bundle []byte) {
	i.t.Helper()
	for _, service := range i.apiServices() {
		changed := service.DeepCopy()
		changed.Spec.CABundle = bundle
		if err := i.stage.Client.Patch(i.t.Context(), changed, client.MergeFrom(&service), client.FieldOwner("cert-manager-cainjector")); err != nil {
			i.t.Fatal(err)
		}
	}
}

func (i *issued) apiServices() []apiregistrationv1.APIService {
	i.t.Helper()
	var list apiregistrationv1.APIServiceList
	if err := i.stage.Client.List(i.t.Context(), &list, client.MatchingLabels{"app.kubernetes.io/part-of": "sysdig-metrics"}); err != nil {
		i.t.Fatal(err)
	}
	if len(list.Items) != 3 {
		i.t.Fatalf("there are %d APIServices, want 3", len(list.Items))
	}
	return list.Items
}

// serves waits until new connections get a certificate.
func (i *issued) serves(from *authority, want *x509.Certificate) {
	i.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(from.root)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: i.names[0], MinVersion: tls.VersionTLS13}}
	i.eventually("the certificate that is served", func(ctx context.Context) error {
		connection, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(i.stage.Port()))
		if err != nil {
			return err
		}
		defer connection.Close()
		secure, _ := connection.(*tls.Conn)
		if got := secure.ConnectionState().PeerCertificates[0]; !got.Equal(want) {
			return fmt.Errorf("it serves the certificate %s, want %s", got.SerialNumber, want.SerialNumber)
		}
		return nil
	})
}

// eventually waits for a condition.
func (i *issued) eventually(what string, condition func(context.Context) error) {
	i.t.Helper()
	if err := stage.Wait(i.t.Context(), patience, condition); err != nil {
		i.t.Fatalf("%s: %v", what, err)
	}
}

// reading asks all the time what the API has, through the API server.
type reading struct {
	issued       *issued
	sent, failed atomic.Int64
	stop         context.CancelFunc
	ended        chan struct{}
}

// read begins to read.
func (i *issued) read() *reading {
	i.t.Helper()
	t := i.t
	clients, err := kubernetes.NewForConfig(i.stage.Cluster.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &reading{issued: i, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for stage.Sleep(ctx, 20*time.Millisecond) == nil {
			err := clients.Discovery().RESTClient().Get().AbsPath("/apis/custom.metrics.k8s.io/v1beta2").Do(ctx).Error()
			if ctx.Err() != nil {
				return
			}
			r.sent.Add(1)
			if err != nil {
				r.failed.Add(1)
				t.Logf("a read failed: %v", err)
			}
		}
	}()
	return r
}

// goOn waits until so many more reads have ended.
func (r *reading) goOn(reads int64) {
	r.issued.t.Helper()
	end := r.sent.Load() + reads
	r.issued.eventually("reads", func(context.Context) error {
		if sent := r.sent.Load(); sent < end {
			return fmt.Errorf("%d of %d", sent, end)
		}
		return nil
	})
}

// end stops the reads and tells how many have failed.
func (r *reading) end() int64 {
	r.stop()
	<-r.ended
	return r.failed.Load()
}

// untouched checks that the caBundle is what was injected, that nobody else has written it, and that there are no other Secrets.
func (i *issued) untouched(from *authority) {
	for _, service := range i.apiServices() {
		if string(service.Spec.CABundle) != string(from.bundle()) {
			i.t.Errorf("the caBundle of %s has changed", service.Name)
		}
		for _, field := range service.ManagedFields {
			if strings.HasPrefix(field.Manager, operator) {
				i.t.Errorf("%s has written %s", field.Manager, service.Name)
			}
		}
	}
	var secrets corev1.SecretList
	if err := i.stage.Client.List(i.t.Context(), &secrets, client.InNamespace(stage.Namespace)); err != nil {
		i.t.Fatal(err)
	}
	for _, secret := range secrets.Items {
		if secret.Name != "sysdig-metrics-serving-tls" {
			i.t.Errorf("there is a Secret %s", secret.Name)
		}
		for _, field := range secret.ManagedFields {
			if strings.HasPrefix(field.Manager, operator) {
				i.t.Errorf("%s has written the Secret %s", field.Manager, secret.Name)
			}
		}
	}
}

// mayNotWrite asks the API server, as the operator.
func (i *issued) mayNotWrite() {
	config := i.stage.Cluster.AdminConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + stage.Namespace + ":" + operator}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		i.t.Fatal(err)
	}
	may := func(verb, group, resource, namespace, name string) bool {
		review, err := clients.AuthorizationV1().SelfSubjectAccessReviews().Create(i.t.Context(), &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name,
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			i.t.Fatal(err)
		}
		return review.Status.Allowed
	}
	for _, verb := range []string{"create", "update", "patch", "delete"} {
		for _, name := range []string{"", "sysdig-metrics-serving-cert", "sysdig-metrics-serving-tls", "sysdig-metrics-ca"} {
			if may(verb, "", "secrets", stage.Namespace, name) {
				i.t.Errorf("the operator may %s the Secret %q", verb, name)
			}
		}
		for _, service := range i.apiServices() {
			if may(verb, "apiregistration.k8s.io", "apiservices", "", service.Name) {
				i.t.Errorf("the operator may %s %s", verb, service.Name)
			}
		}
		if may(verb, "cert-manager.io", "certificates", stage.Namespace, "sysdig-metrics-serving") {
			i.t.Errorf("the operator may %s certificates", verb)
		}
	}
	if !may("list", "", "secrets", stage.Namespace, "") {
		i.t.Error("the operator may not list Secrets, so none of this tells anything")
	}
}
