package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// availableTimeout is how long WaitAPIServiceAvailable waits at most. The aggregation layer looks at an APIService
// that failed again after a back-off of up to 30 s.
const availableTimeout = 5 * time.Minute

// ExposeHostProcess makes a process on this machine, which serves HTTPS on a loopback port, the backend of the
// APIServices that refer to a Service. Call it after the manifests were applied, and again when they were applied anew
// or when the port changes.
//
// It turns the Service into one of type ExternalName with the name localhost, or creates it, in a namespace that must
// exist. The aggregation layer then connects to localhost at the port that the APIService names, so every
// APIService that refers to the Service gets this port.
//
// The process needs the same certificate as in a pod: for any type of Service the aggregation layer verifies the name
// SERVICE.NAMESPACE.svc, not localhost, against the APIService's caBundle (BuildTransportConfig in kube-aggregator's
// pkg/controllers/status/remote, which its proxy uses too).
func (c *Cluster) ExposeHostProcess(ctx context.Context, service types.NamespacedName, port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("expose a process as %s: %d is not a port", service, port)
	}
	if err := c.routeService(ctx, service, int32(port)); err != nil {
		return fmt.Errorf("make the service %s an alias of localhost: %w", service, err)
	}
	apiServices, err := c.aggregator.ApiregistrationV1().APIServices().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the API services: %w", err)
	}
	for _, s := range apiServices.Items {
		if ref := s.Spec.Service; ref == nil || ref.Namespace != service.Namespace || ref.Name != service.Name {
			continue
		}
		patch := fmt.Appendf(nil, `{"spec":{"service":{"port":%d}}}`, port)
		_, err := c.aggregator.ApiregistrationV1().APIServices().Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("set the port of the API service %s: %w", s.Name, err)
		}
	}
	return nil
}

// routeService creates the Service or replaces what it says. Its labels stay.
func (c *Cluster) routeService(ctx context.Context, name types.NamespacedName, port int32) error {
	services := c.client.CoreV1().Services(name.Namespace)
	spec := corev1.ServiceSpec{
		Type:         corev1.ServiceTypeExternalName,
		ExternalName: "localhost",
		Ports:        []corev1.ServicePort{{Name: "https", Port: port}},
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		existing, err := services.Get(ctx, name.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			created := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, Spec: spec}
			_, err = services.Create(ctx, created, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		existing.Spec = spec
		_, err = services.Update(ctx, existing, metav1.UpdateOptions{})
		return err
	})
}

// WaitAPIServiceAvailable waits until an APIService, for example "v1beta2.custom.metrics.k8s.io", has the condition
// Available and the API server answers its discovery from the backend, for two minutes at most. It may be called
// before the APIService exists. The error tells the last condition or answer.
func (c *Cluster) WaitAPIServiceAvailable(ctx context.Context, name string) error {
	last := errors.New("no answer")
	err := wait.PollUntilContextTimeout(ctx, pollInterval, availableTimeout, true, func(ctx context.Context) (bool, error) {
		err := c.checkAPIService(ctx, name)
		if err != nil && ctx.Err() == nil {
			last = err // What fails because the time is over explains nothing.
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API service %s: %w: %w", name, err, last)
	}
	return nil
}

// checkAPIService also asks for the discovery, since the condition may be that of the backend before.
func (c *Cluster) checkAPIService(ctx context.Context, name string) error {
	service, err := c.aggregator.ApiregistrationV1().APIServices().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	available := errors.New("it has no condition Available yet")
	for _, condition := range service.Status.Conditions {
		if condition.Type == apiregistrationv1.Available {
			available = nil
			if condition.Status != apiregistrationv1.ConditionTrue {
				available = fmt.Errorf("it is not available: %s: %s", condition.Reason, condition.Message)
			}
		}
	}
	if available != nil {
		return available
	}
	path := fmt.Sprintf("/apis/%s/%s", service.Spec.Group, service.Spec.Version)
	if err := c.client.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Error(); err != nil {
		return fmt.Errorf("its discovery at %s fails: %w", path, err)
	}
	return nil
}
