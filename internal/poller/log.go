package poller

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// log writes how a round ended, in full, when that is of another kind than the last one. Details differ from round to round, such as the
// port of a connection.
func (l *lane) log(ctx context.Context, health *metric.Failure) {
	is := ""
	if health != nil {
		is = health.Error()
	}
	l.mu.Lock()
	connection, changed := l.connection.Name, is != l.logged
	l.logged = is
	l.mu.Unlock()
	switch {
	case !changed:
	case health == nil:
		log.FromContext(ctx).Info("Sysdig answers again", "connection", connection)
	default:
		log.FromContext(ctx).Info("Asking Sysdig failed", "connection", connection, "reason", string(health.Reason), "detail", health.Full())
	}
}

// logRefusal writes what Sysdig says of a query when its tenants are not told all of it. Refused queries are left alone for a minute and
// longer, so that they do not fill the log; other failures of single queries are for debugging.
func logRefusal(ctx context.Context, connection string, failure *metric.Failure) {
	if failure.Detail == "" {
		return
	}
	level := 1
	if failure.Reason == metric.Rejected {
		level = 0
	}
	log.FromContext(ctx).V(level).Info("A query failed", "connection", connection, "reason", string(failure.Reason), "detail", failure.Detail)
}
