package stage

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

// readyLimit is when another replica has to be ready.
const readyLimit = 5 * time.Minute

// KillOperator ends the operator as a crash does.
func (s *Stage) KillOperator() error { return s.operator.Kill() }

// StartStandby starts a second replica of the operator, which nobody asks yet, and waits until it is ready.
func (s *Stage) StartStandby(ctx context.Context, flags ...string) (err error) {
	if s.standbyPorts, err = cluster.FreePorts(3); err != nil {
		return err
	}
	if s.standby, err = s.launch(ctx, name+"-standby", filepath.Join(s.Cluster.Dir(), "serving-standby"), s.standbyPorts, flags); err != nil {
		return err
	}
	return Wait(ctx, readyLimit, func(ctx context.Context) error {
		if err := s.standby.Failure(); err != nil {
			return err
		}
		return ready(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", s.standbyPorts[2]))
	})
}

func ready(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// FailOver kills the operator and sends its readers to the second replica, as an EndpointSlice does that loses one of two pods.
func (s *Stage) FailOver(ctx context.Context) error {
	if err := s.KillOperator(); err != nil {
		return err
	}
	s.operator, s.ports = s.standby, s.standbyPorts
	port := int32(s.ports[0])
	var service corev1.Service
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, &service); err != nil {
		return fmt.Errorf("reading the Service: %w", err)
	}
	service.Spec.Ports[0].Port = port
	if err := s.Client.Update(ctx, &service); err != nil {
		return fmt.Errorf("writing the Service: %w", err)
	}
	return s.eachAPIService(ctx, func(a *apiregistrationv1.APIService) error {
		patched := a.DeepCopy()
		patched.Spec.Service.Port = &port
		if err := s.Client.Patch(ctx, patched, client.MergeFrom(a)); err != nil {
			return fmt.Errorf("writing an APIService: %w", err)
		}
		return nil
	})
}
