package controllers

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Routes takes note of where API groups lead: nil is to us.
type Routes interface {
	SetRoute(api metric.API, notRouted *metric.Failure)
}

// RouteReconciler finds out whether HPAs that ask an API group reach us, and says so when that changes. It writes nothing.
type RouteReconciler struct {
	Client client.Client
	Routes Routes
	// Serve are the API groups that we serve.
	Serve []metric.API
	// Service is our own Service.
	Service types.NamespacedName

	told map[metric.API]string // why not, as the log was last told; there is one worker
}

// SetupWithManager watches the APIServices of the API groups on every replica. The key of a request is an API group. One
// that we do not serve is not routed to us from the start, whatever its APIServices say.
func (r *RouteReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.told = map[metric.API]string{}
	for _, api := range metric.APIs() {
		if !slices.Contains(r.Serve, api) {
			r.Routes.SetRoute(api, notServed(api))
			r.log(mgr.GetLogger(), api, notServed(api))
		}
	}
	served := predicate.NewPredicateFuncs(func(o client.Object) bool { return slices.Contains(r.Serve, apiOf(o)) })
	toGroup := func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{requestFor(apiOf(o))}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("route").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		Watches(&apiregistrationv1.APIService{}, handler.EnqueueRequestsFromMapFunc(toGroup), builder.WithPredicates(served)).
		WatchesRawSource(source.Func(r.once)).
		Complete(r)
}

// once asks for each API group at the start: a group without any APIService has no other event.
func (r *RouteReconciler) once(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	for _, api := range r.Serve {
		queue.Add(requestFor(api))
	}
	return nil
}

func requestFor(api metric.API) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: string(api)}}
}

// apiOf is the API group of an APIService.
func apiOf(o client.Object) metric.API {
	service, ok := o.(*apiregistrationv1.APIService)
	if !ok {
		return ""
	}
	return metric.API(service.Spec.Group)
}

// Reconcile decides about one API group.
func (r *RouteReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var list apiregistrationv1.APIServiceList
	if err := r.Client.List(ctx, &list); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing APIServices: %w", err)
	}
	api := metric.API(request.Name)
	notRouted := decideRoute(api, r.Service, list.Items)
	r.Routes.SetRoute(api, notRouted)
	r.log(ctrl.LoggerFrom(ctx), api, notRouted)
	return reconcile.Result{}, nil
}

// log tells of a change. It is nothing that the operator could mend, so not an error.
func (r *RouteReconciler) log(logger logr.Logger, api metric.API, notRouted *metric.Failure) {
	message, why := "HPAs that ask this API reach this operator", ""
	if notRouted != nil {
		message, why = "HPAs that ask this API do not reach this operator", notRouted.Error()
	}
	if told, known := r.told[api]; known && told == why {
		return
	}
	r.told[api] = why
	logger.WithValues("api", api, "why", why).Info(message)
}

// asked are the versions that HPAs know, of each API group. An APIService of another version changes nothing for them.
func asked(api metric.API) []string {
	if api == metric.ExternalMetrics {
		return []string{"v1beta1"}
	}
	return []string{"v1beta1", "v1beta2"}
}

// decideRoute is why HPAs that ask an API group do not reach our Service; nil when they do. HPAs ask the version that the
// API server prefers: that with the highest versionPriority, whoever serves it.
func decideRoute(api metric.API, ours types.NamespacedName, all []apiregistrationv1.APIService) *metric.Failure {
	var candidates []*apiregistrationv1.APIService
	for i := range all {
		if s := &all[i]; s.Spec.Group == string(api) && slices.Contains(asked(api), s.Spec.Version) {
			candidates = append(candidates, s)
		}
	}
	if len(candidates) == 0 {
		return metric.Failf(metric.NotRouted, "there is no APIService of %s, so no HPA reaches this operator; apply the operator's manifests again to add it", api)
	}
	sort.Sort(helper.ByVersionPriority(candidates)) // the API server's own order
	preferred := candidates[0]
	if pointsTo(preferred, ours) {
		return nil
	}
	return metric.Failf(metric.NotRouted, "HPAs that ask %s reach %s, by the APIService %s, and not this operator; remove that adapter and apply the operator's manifests again, or see docs/coexistence.md",
		api, backend(preferred), preferred.Name)
}

// backend says whose an APIService is.
func backend(s *apiregistrationv1.APIService) string {
	if s.Spec.Service == nil {
		return "the API server itself"
	}
	return "the Service " + s.Spec.Service.Namespace + "/" + s.Spec.Service.Name
}

// pointsTo tells whether an APIService leads to a Service.
func pointsTo(s *apiregistrationv1.APIService, service types.NamespacedName) bool {
	ref := s.Spec.Service
	return ref != nil && ref.Namespace == service.Namespace && ref.Name == service.Name
}

// notServed is the route of an API group that --serve leaves out.
func notServed(api metric.API) *metric.Failure {
	return metric.Failf(metric.NotRouted, "this operator does not serve %s: its --serve leaves it out, for another adapter; if there is none, apply config/default", api)
}
