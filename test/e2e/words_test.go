package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

func containsWord(text, word string) bool { return strings.Contains(text, word+":") }

// events counts the Events of a binding by reason; a series of equal Events counts as often as it says.
func (c *scene) events(ctx context.Context, name string) (map[string]int32, error) {
	var list eventsv1.EventList
	if err := c.stage.Client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		return nil, err
	}
	counts := map[string]int32{}
	for _, e := range list.Items {
		if e.Regarding.Kind != "SysdigMetricBinding" || e.Regarding.Name != name {
			continue
		}
		counts[e.Reason]++
		if e.Series != nil {
			counts[e.Reason] += e.Series.Count - 1
		}
	}
	return counts, nil
}

// exactlyOneEvent waits for the Event, which comes after the statuses of all tests that change at that time, and makes sure that
// there is no second one.
func (c *scene) exactlyOneEvent(name, reason string) {
	c.t.Helper()
	c.exactlyOneMoreEvent(name, reason, 0)
}

// exactlyOneMoreEvent is exactlyOneEvent when there were some before: a machine that is too busy to poll in time may have made some.
func (c *scene) exactlyOneMoreEvent(name, reason string, before int32) {
	c.t.Helper()
	c.eventually("Event "+reason, func(ctx context.Context) error {
		counts, err := c.events(ctx, name)
		if err == nil && counts[reason] != before+1 {
			err = fmt.Errorf("Events by reason are %v, want %d %s", counts, before+1, reason)
		}
		return err
	})
}

// notFound is nil for a 404.
func notFound(err error) error {
	if apierrors.IsNotFound(errors.Unwrap(err)) {
		return nil
	}
	return err
}

// shown waits until a status shows a value.
func (c *scene) shown(name, value string) func(context.Context) error {
	return func(ctx context.Context) error {
		var b v1alpha1.SysdigMetricBinding
		if err := c.stage.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &b); err != nil {
			return err
		}
		if b.Status.Observed == nil || b.Status.Observed.Value != value {
			return fmt.Errorf("it shows %+v, want %s", b.Status.Observed, value)
		}
		return nil
	}
}

// objects waits until a status shows how many objects have a value.
func (c *scene) objects(name, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		var b v1alpha1.SysdigMetricBinding
		if err := c.stage.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &b); err != nil {
			return err
		}
		if b.Status.Objects != want {
			return fmt.Errorf("it shows %q objects, want %s", b.Status.Objects, want)
		}
		return nil
	}
}
