package controllers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// requestTimeout bounds one request to Sysdig with its answer. It is below the shortest interval of a connection.
const requestTimeout = 8 * time.Second

// Connections is where compiled connections go.
type Connections interface {
	PutConnection(registry.Connection)
	DeleteConnection(name string)
}

// ConnectionReconciler keeps the registry's connections in step with the SysdigConnections and their Secrets.
type ConnectionReconciler struct {
	Client client.Reader
	// Namespace is the operator's own, the only one whose Secrets are read.
	Namespace   string
	Connections Connections
	UserAgent   string
	// Permit is why nothing may be sent to an address; nil permits all.
	Permit func(netip.Addr) error
	// Memory is what the answers to all connections may take.
	Memory *sysdig.Memory

	// clients are those of the connections, by name. They outlive the change of a token. Only Reconcile touches them, which has one
	// worker.
	clients  map[string]reused
	accesses int64
	// compiled is what the connections in the registry were made from, by name.
	compiled map[string]origin
}

// origin is what a connection is made from. Of equal ones nothing is put again: not all events of a Secret are about its token.
type origin struct {
	uid        types.UID
	generation int64
	secret     [sha256.Size]byte // of digestOf
}

func originOf(c *v1alpha1.SysdigConnection, secret *corev1.Secret) origin {
	return origin{uid: c.UID, generation: c.Generation, secret: digestOf(secret, c.Spec.TokenSecretRef.Key)}
}

// fingerprint stands for a token. White space around that is not sent.
func fingerprint(token []byte) [sha256.Size]byte { return sha256.Sum256(bytes.TrimSpace(token)) }

// reused is a client, what it was made from but for the token, a digest of the last token that could be sent, and
// registry.Connection.Access. A token that goes and comes back is the same one.
type reused struct {
	made   string
	token  [sha256.Size]byte
	access int64
	client *sysdig.Client
}

// +kubebuilder:rbac:groups=autoscaling.sysdigmetrics.dev,resources=sysdigconnections,verbs=list;watch
// +kubebuilder:rbac:groups="",namespace=sysdig-metrics,resources=secrets,verbs=list;watch

// SetupWithManager watches connections and Secrets on every replica.
func (r *ConnectionReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("connection").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		For(&v1alpha1.SysdigConnection{}, builder.WithPredicates(specChanged())).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.connectionsOf)).
		Complete(r)
}

// connectionsOf lists the connections that take their token from a Secret.
func (r *ConnectionReconciler) connectionsOf(ctx context.Context, secret client.Object) []reconcile.Request {
	var list v1alpha1.SysdigConnectionList
	if secret.GetNamespace() != r.Namespace || r.Client.List(ctx, &list) != nil {
		return nil
	}
	var requests []reconcile.Request
	for _, c := range list.Items {
		if c.Spec.TokenSecretRef.Name == secret.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: c.Name}})
		}
	}
	return requests
}

// Reconcile puts one connection into the registry.
func (r *ConnectionReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var c v1alpha1.SysdigConnection
	if err := r.Client.Get(ctx, request.NamespacedName, &c); err != nil {
		if apierrors.IsNotFound(err) {
			r.Connections.DeleteConnection(request.Name)
			delete(r.clients, request.Name)
			delete(r.compiled, request.Name)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading the connection: %w", err)
	}
	var secret corev1.Secret
	key := types.NamespacedName{Namespace: r.Namespace, Name: c.Spec.TokenSecretRef.Name}
	if err := r.Client.Get(ctx, key, &secret); err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, fmt.Errorf("reading the Secret of the connection: %w", err)
	}
	from := originOf(&c, &secret)
	if was, ok := r.compiled[c.Name]; ok && was == from {
		return reconcile.Result{}, nil
	}
	compiled := r.compile(&c, &secret)
	if compiled.Refused != nil { // it names Secrets and hosts, and tenants read it, too
		compiled.Refused = compiled.Refused.Withhold("the SysdigConnection cannot be used as it is; ask the platform team: its condition Accepted says why")
	}
	r.Connections.PutConnection(compiled)
	if r.compiled == nil {
		r.compiled = map[string]origin{}
	}
	r.compiled[c.Name] = from
	return reconcile.Result{}, nil
}

// compile builds the client of a connection, or says why there is none. secret is empty when there is none.
func (r *ConnectionReconciler) compile(c *v1alpha1.SysdigConnection, secret *corev1.Secret) registry.Connection {
	compiled := registry.Connection{
		Name: c.Name, Generation: c.Generation, Interval: c.Spec.Interval.Duration, IngestionLag: c.Spec.IngestionLag.Duration,
		RequestsPerMinute: int(c.Spec.Quota.RequestsPerMinute), QueriesPerNamespace: int(c.Spec.Quota.QueriesPerNamespace),
		Segments: int(c.Spec.DataAPI.SegmentsPerRequest),
		AnomalyLimits: registry.AnomalyLimits{
			Bindings: int(c.Spec.MassAnomaly.Bindings), Share: float64(c.Spec.MassAnomaly.Percent) / 100, Hold: c.Spec.MassAnomaly.Hold.Duration,
		},
		Heartbeat: query.Heartbeat{
			Metric: cmp.Or(c.Spec.HeartbeatMetric, query.UsualHeartbeat), Scope: query.ScopeOf(c), Coverage: int(ptr.Deref(c.Spec.Coverage.Minimum, 0)),
		},
	}
	if compiled.Refused = compiled.Heartbeat.Check(); compiled.Refused != nil {
		return compiled
	}
	config, err := addresses(c.Spec.Endpoint)
	if err != nil {
		compiled.Refused = metric.Failf(metric.Rejected, "%s", err)
		return compiled
	}
	hosts, err := config.Hosts()
	if err != nil {
		compiled.Refused = metric.Failf(metric.Rejected, "%s", err)
		return compiled
	}
	config.CABundle, config.UserAgent, config.Timeout, config.Permit = []byte(c.Spec.Endpoint.CABundle), r.UserAgent, requestTimeout, r.Permit
	config.Memory = r.Memory
	config.Headers = http.Header{}
	for i, h := range c.Spec.Endpoint.Headers {
		if !sysdig.HeaderAllowed(h.Name) {
			compiled.Refused = metric.Failf(metric.Rejected, "spec.endpoint.headers[%d].name: %s is not sent; only IBMInstanceID, SysdigTeamID, TeamID, SysdigProduct and X-Sysdig-… are: leave it out", i, h.Name)
			return compiled
		}
		config.Headers.Set(h.Name, h.Value)
	}
	token, refused := tokenOf(secret, tokenRef{r.Namespace, c.Spec.TokenSecretRef}, hosts)
	config.Token = token // empty when it is refused, so that a client that has the one before forgets it
	client, err := r.client(c.Name, config)
	compiled.Access = r.clients[c.Name].access
	if err != nil {
		compiled.Refused = metric.AsFailure(err)
		if refused != nil && compiled.Refused.Reason == metric.Unauthorized {
			compiled.Refused = refused
		}
		return compiled
	}
	compiled.Source, compiled.Lister = client, client
	return compiled
}

// client is that of a connection. When nothing but the token is new it is the same one, so that rounds under way use the new token from
// their next request on.
func (r *ConnectionReconciler) client(connection string, config sysdig.Config) (*sysdig.Client, error) {
	made := fmt.Sprint(config.QueryURL, config.DataURL, config.Headers, string(config.CABundle))
	if config.IAM != nil {
		made += config.IAM.URL.String()
	}
	token := fingerprint([]byte(config.Token))
	held := r.clients[connection]
	if held.client != nil && held.made == made { // a token is never sent to where it does not belong
		err := held.client.Rotate(config.Token)
		if err == nil && held.token != token {
			held.token, held.access = token, r.nextAccess()
			r.clients[connection] = held
		}
		return held.client, err
	}
	delete(r.clients, connection)
	client, err := sysdig.NewClient(config)
	if err != nil {
		return nil, err
	}
	if r.clients == nil {
		r.clients = map[string]reused{}
	}
	r.clients[connection] = reused{made: made, token: token, access: r.nextAccess(), client: client}
	return client, nil
}

func (r *ConnectionReconciler) nextAccess() int64 {
	r.accesses++
	return r.accesses
}

// addresses are those that a client asks. The error names the field.
func addresses(e v1alpha1.Endpoint) (c sysdig.Config, err error) {
	if c.QueryURL, err = sysdig.QueryURL(e.Region, e.URL, e.PrometheusPath); err != nil {
		return c, err
	}
	if c.DataURL, err = sysdig.DataURL(e.Region, e.URL); err != nil {
		return c, err
	}
	if e.IAM == nil {
		return c, nil
	}
	address, err := sysdig.ParseURL(e.IAM.URL)
	if err != nil {
		return c, fmt.Errorf("spec.endpoint.iam.url: %w", err)
	}
	c.IAM = &sysdig.IAM{URL: address}
	return c, nil
}
