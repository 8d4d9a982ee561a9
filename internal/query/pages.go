package query

import (
	"fmt"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// pages asks for all segments of a question. A page that is not full is the last one; of several pages that is believed when the one
// behind it is empty.
func (l Line) pages(question sysdig.DataRequest) ([]sysdig.DataRow, error) {
	var rows []sysdig.DataRow
	seen := map[string]bool{}
	for last := false; ; question.From += l.Segments {
		question.To = question.From + l.Segments - 1
		asked := question
		reply, err := l.Send(Call{At: question.End, Data: &asked})
		if err != nil {
			return nil, err
		}
		answer := reply.Data
		// Buckets tell their time. A value is of the window that was answered for.
		if question.Sampling == 0 && !(answer.Start.Equal(question.Start) && answer.End.Equal(question.End)) {
			return nil, metric.Failf(metric.Stale, "Sysdig was asked about %s and answered about %s: it does not hold points of 10 seconds of all of that",
				span(question.Start, question.End), span(answer.Start, answer.End))
		}
		page, again := count(answer.Rows, seen)
		switch {
		case again:
			return nil, metric.Failf(metric.Truncated, "segments moved from page to page while they were read")
		case page > l.Segments:
			return nil, metric.Failf(metric.Truncated, "a page has %d segments, %d were asked for", page, l.Segments)
		case page > 0 && last:
			return nil, metric.Failf(metric.Truncated, "the answer is not complete: there are segments behind a page that was not full")
		case len(seen) >= maxSegments:
			return nil, metric.Failf(metric.Truncated, "the answer has %d segments or more, which is too many", maxSegments)
		}
		rows = append(rows, answer.Rows...)
		if page < l.Segments && (last || question.From == 0) {
			return rows, nil
		}
		last = page < l.Segments
	}
}

// count counts the segments of a page, and tells whether one of them was on a page before.
func count(rows []sysdig.DataRow, seen map[string]bool) (page int, again bool) {
	own := map[string]bool{}
	for _, row := range rows {
		key := segment(row.Keys)
		if own[key] {
			continue
		}
		again = again || seen[key]
		own[key], seen[key] = true, true
	}
	return len(own), again
}

func span(start, end time.Time) string {
	return fmt.Sprintf("%s to %s", start.UTC().Format(time.TimeOnly), end.UTC().Format(time.TimeOnly))
}
