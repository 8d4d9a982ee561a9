package sysdigtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// truncated is the warning of an answer that was cut, whichever limit cut it.
const truncated = "results truncated due to limit"

// prepared is a query that passed the checks before evaluation.
type prepared struct {
	text string
	view view
	opts promql.QueryOpts
	// cap is how many series the answer may have, and warn whether cutting it to that is announced.
	cap  int
	warn bool
}

// viewOf returns what a call sees of the store.
func (s *Server) viewOf(c *call) view {
	v := s.store.view()
	v.visible = c.team.visible
	switch c.fault.Kind {
	case FaultNaN:
		v.nan = true
	case FaultOldPoints:
		v.newest = min(v.newest, c.fault.frozen)
	}
	return v
}

func (s *Server) instantQuery(c *call) answer {
	at, err := parseTime(c.params.Get("time"), s.clk.Now())
	if err != nil {
		return badData(fmt.Errorf("invalid parameter %q: %w", "time", err))
	}
	p, refusal := s.prepare(c)
	if refusal != nil {
		return *refusal
	}
	if c.fault.Kind == FaultEmpty {
		return c.success(queryData{Type: parser.ValueTypeVector, Result: []any{}}, nil, nil)
	}
	q, err := s.engine.NewInstantQuery(c.Context(), p.view, p.opts, p.text, at)
	if err != nil {
		return badData(err)
	}
	return s.run(c, p, q)
}

func (s *Server) rangeQuery(c *call) answer {
	start, errStart := parseTime(c.params.Get("start"), time.Time{})
	end, errEnd := parseTime(c.params.Get("end"), time.Time{})
	step, errStep := parseDuration(c.params.Get("step"))
	switch {
	case errors.Join(errStart, errEnd, errStep) != nil:
		return badData(fmt.Errorf("invalid parameters: %w", errors.Join(errStart, errEnd, errStep)))
	case start.IsZero() || end.IsZero() || step <= 0:
		return badData(errors.New("start, end and a step above 0 are required"))
	case end.Before(start):
		return execution("Invalid time range")
	case int(end.Sub(start)/step)+1 > s.limits.SamplesPerSeries:
		return c.reject(fmt.Sprintf("more than %d samples per series", s.limits.SamplesPerSeries))
	}
	p, refusal := s.prepare(c)
	if refusal != nil {
		return *refusal
	}
	if c.fault.Kind == FaultEmpty {
		return c.success(queryData{Type: parser.ValueTypeMatrix, Result: []any{}}, nil, nil)
	}
	q, err := s.engine.NewRangeQuery(c.Context(), p.view, p.opts, p.text, start, end, step)
	if err != nil {
		return badData(err)
	}
	return s.run(c, p, q)
}

// prepare parses and checks the query of a call. A query that is refused has an answer as second result.
func (s *Server) prepare(c *call) (prepared, *answer) {
	refuse := func(a answer) (prepared, *answer) { return prepared{}, &a }

	p := prepared{text: c.params.Get("query"), view: s.viewOf(c)}
	if n := len([]rune(p.text)); n > s.limits.QueryCharacters {
		return refuse(badData(fmt.Errorf("query has %d characters, more than %d", n, s.limits.QueryCharacters)))
	}
	expr, err := s.parser.ParseExpr(p.text)
	if err != nil {
		return refuse(badData(err))
	}
	if _, err := parseLimit(c.params.Get("limit")); err != nil {
		return refuse(badData(err))
	}
	if _, err := parseDuration(c.params.Get("timeout")); err != nil {
		return refuse(badData(fmt.Errorf("invalid parameter %q: %w", "timeout", err)))
	}
	if n := p.view.metricNames(expr); n > s.limits.MetricNames {
		return refuse(c.reject(fmt.Sprintf("query scans %d metric names, more than %d", n, s.limits.MetricNames)))
	}
	p.cap, p.warn = s.limits.PlainSeries, true
	if aggregates(expr) {
		p.cap, p.warn = s.limits.Segments, false
	}
	delta := lookback
	if c.switches.ClosedRanges {
		closeRanges(expr)
		p.text = expr.String()
		delta += time.Millisecond
	}
	p.opts = promql.NewPrometheusQueryOpts(false, delta, nil)
	return p, nil
}

// run evaluates a query and encodes its result.
func (s *Server) run(c *call, p prepared, q promql.Query) answer {
	defer q.Close()
	ctx, cancel := context.WithTimeout(c.Context(), s.timeout(c))
	defer cancel()
	res := q.Exec(ctx)

	if res.Err != nil {
		var timeout promql.ErrQueryTimeout
		var canceled promql.ErrQueryCanceled
		var broken promql.ErrStorage
		switch {
		case errors.As(res.Err, &timeout):
			return c.timedOut()
		case errors.As(res.Err, &canceled):
			return answer{cut: true}
		case errors.As(res.Err, &broken):
			return failure(http.StatusInternalServerError, "server_error", res.Err.Error())
		}
		return execution(res.Err.Error())
	}
	warnings, infos := res.Warnings.AsStrings(p.text, 0, 0)
	data := encodeValue(res.Value, c.switches.StringTimestamps)
	if len(data.Result) > p.cap && data.isList() {
		data.Result = data.Result[:p.cap]
		if p.warn {
			warnings = append(warnings, truncated)
		}
	}
	// prepare has checked the parameter.
	if limit, _ := parseLimit(c.params.Get("limit")); limit > 0 && len(data.Result) > limit && data.isList() {
		data.Result = data.Result[:limit]
		warnings = append(warnings, truncated)
	}
	return c.success(data, warnings, infos)
}

// timeout returns how long a call may take: what it asks for, but no more than the limit.
func (s *Server) timeout(c *call) time.Duration {
	if c.api == classicAPI {
		return s.limits.DataTimeout
	}
	if d, err := parseDuration(c.params.Get("timeout")); err == nil && d > 0 {
		return min(d, s.limits.Timeout)
	}
	return s.limits.Timeout
}

// reject is the answer to a query that exceeds a limit. Status and body are not documented.
func (c *call) reject(message string) answer {
	switch status := c.switches.RejectStatus; status {
	case http.StatusTooManyRequests:
		return tooManyRequests(c.switches.RetryAfter)
	case http.StatusBadRequest:
		return failure(status, "bad_data", message)
	default:
		return failure(status, "execution", message)
	}
}

// metricNames counts the different metric names that the expression scans. A selector without a fixed name scans all
// names that have series matching it.
func (v view) metricNames(expr parser.Expr) int {
	names := map[string]struct{}{}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		sel, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, m := range sel.LabelMatchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				names[m.Value] = struct{}{}
				return nil
			}
		}
		for _, found := range v.match(v.oldest, v.newest, sel.LabelMatchers) {
			names[found.lset.Get(model.MetricNameLabel)] = struct{}{}
		}
		return nil
	})
	return len(names)
}

func aggregates(expr parser.Expr) bool {
	var found bool
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if _, ok := node.(*parser.AggregateExpr); ok {
			found = true
		}
		return nil
	})
	return found
}

// closeRanges widens every range of the expression by a millisecond, so that the engine, whose ranges are open on the
// left, includes a sample on the left edge.
func closeRanges(expr parser.Expr) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			n.Range += time.Millisecond
		case *parser.SubqueryExpr:
			n.Range += time.Millisecond
		}
		return nil
	})
}

func parseLimit(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("invalid parameter %q: %q is not a count", "limit", s)
	}
	return n, nil
}
