package sysdig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// maxNames bounds a list of metrics.
	maxNames = 200_000
	// maxNamesText bounds the names of a list, in bytes: 40 for each of that many.
	maxNamesText = 8 << 20
	// nameBytes is what a name takes in a list that grows, in bytes, beside itself.
	nameBytes = 64
	// maxValues bounds a list of values of a label.
	maxValues = 1_000
	// roundNames is a number that lists are cut to, or a multiple of it: Sysdig stops there listing values of a label unless a limit is
	// given. Source: its OpenAPI document.
	roundNames = 5_000
	// descriptorsPage is how many descriptors are asked for at once; about a kilobyte each. Sysdig may return fewer.
	descriptorsPage = 5_000
	// maxPages bounds the requests for one list.
	maxPages = 200
	// askedLabels is how many labels are asked for, as Sysdig's Terraform provider does.
	askedLabels = 6_000
)

// MetricNames lists the metrics that PromQL can name, in order: all of them, or an error. take is called before each request; its error
// ends the call. Other errors are a *metric.Failure.
func (c *Client) MetricNames(ctx context.Context, take func() error) ([]string, error) {
	list, warnings, err := c.labelValues(ctx, "__name__", maxNames, nil, take)
	switch {
	case err != nil:
		return nil, err
	case len(warnings) > 0:
		return nil, metric.Failf(metric.Truncated, "the list of metrics is incomplete: %s", c.clean(warnings[0]))
	case list.cut:
		return nil, tooManyMetrics()
	}
	// A server that does not heed the limit stops at its own, and does not say so.
	if n := len(list.names); n >= maxNames || n > 0 && n%roundNames == 0 {
		return nil, metric.Failf(metric.Truncated, "the list of metrics ends after %d, which is a limit", n)
	}
	return ordered(list.names), nil
}

func tooManyMetrics() *metric.Failure {
	return metric.Failf(metric.Truncated, "Sysdig's list of metrics is too long to hold: more than %d names, %d MiB of them, or %d bytes in one; no metric is said to be missing; let the token be of a team that sees less",
		maxNames, maxNamesText>>20, maxName)
}

// LabelValues lists values of a label that PromQL can name, in order, and tells whether those are all. take is that of MetricNames, and
// so are the errors.
func (c *Client) LabelValues(ctx context.Context, label string, take func() error) (values []string, all bool, err error) {
	list, warnings, err := c.labelValues(ctx, label, maxValues, nil, take)
	if err != nil {
		return nil, false, err
	}
	return ordered(list.names), len(warnings) == 0 && len(list.names) < maxValues && !list.cut, nil
}

// nameList is a list of names within bounds: what goes beyond them is left out, and it is cut.
type nameList struct {
	names []string
	text  int
	most  int
	cut   bool
}

// add takes in a name that does or does not fit.
func (l *nameList) add(s *stream, name []byte, fits bool) error {
	if !fits || len(l.names) == l.most || l.text+len(name) > maxNamesText {
		l.cut = true
		return nil
	}
	l.text += len(name)
	l.names = append(l.names, string(name))
	return s.hold(len(name) + nameBytes)
}

// FindMetrics tells, in one request, which of some metrics there are that PromQL can name. take is that of MetricNames, and so are the
// errors.
func (c *Client) FindMetrics(ctx context.Context, names []string, take func() error) (found []string, err error) {
	match := make([]string, len(names))
	for i, name := range names {
		match[i] = "{__name__=" + strconv.Quote(name) + "}"
	}
	list, _, err := c.labelValues(ctx, "__name__", len(names)+1, match, take)
	switch other := func(name string) bool { return !slices.Contains(names, name) }; {
	case err != nil:
		return nil, err
	case list.cut || slices.ContainsFunc(list.names, other):
		return nil, metric.Failf(metric.Unavailable, "Sysdig lists other metrics than it was asked for: it does not heed match[]")
	}
	return list.names, nil
}

func (c *Client) labelValues(ctx context.Context, label string, limit int, match []string, take func() error) (list nameList, warnings []string, err error) {
	target := c.config.QueryURL.JoinPath("../label", url.PathEscape(label), "values")
	form := url.Values{"limit": {strconv.Itoa(limit)}}
	if len(match) > 0 {
		form["match[]"] = match
	}
	_, err = c.list(ctx, take, target, form, func(body *stream) error {
		list, warnings, err = decodeLabelValues(body, limit)
		return err
	})
	return list, warnings, err
}

func decodeLabelValues(s *stream, most int) (list nameList, warnings []string, err error) {
	var status, fault string
	list.most = most
	listed := false
	err = s.document(
		field{"status", s.into(&status)}, field{"error", s.into(&fault)},
		field{"warnings", func() (err error) {
			warnings, err = s.warnings()
			return err
		}},
		field{"data", func() error {
			if is, err := s.null(); is || err != nil {
				return err
			}
			listed, list.names = true, []string{}
			return s.list(func() error {
				name, fits, err := s.text(maxName)
				if err != nil {
					return err
				}
				return list.add(s, name, fits)
			})
		}},
	)
	if err == nil && (status != "success" || !listed) {
		err = fmt.Errorf("the answer has status %s and error %s", status, fault)
	}
	return list, warnings, err
}

// FindDescriptor tells, in one request, whether there is a metric of the data API. take is that of MetricNames, and so are the errors.
func (c *Client) FindDescriptor(ctx context.Context, name string, take func() error) (found bool, err error) {
	names := nameList{most: maxNames}
	page, _, err := c.descriptors(ctx, take, 0, name, &names)
	switch found = slices.Contains(names.names, name); {
	case err != nil:
		return false, err
	case !found && (names.cut || page.total > len(names.names)):
		return false, metric.Failf(metric.Truncated, "Sysdig has %d metrics with %s in their names, which are too many for one page", page.total, name)
	}
	return found, nil
}

// Descriptors lists the metrics of the data API as MetricNames does. Old installations, which answer HTTP 500, are asked the old way.
func (c *Client) Descriptors(ctx context.Context, take func() error) ([]string, error) {
	names := nameList{most: maxNames}
	least := maxNames // the smallest total that was said
	for page, offset, total := 0, 0, 0; page < maxPages; page++ {
		got, status, err := c.descriptors(ctx, take, offset, "", &names)
		switch {
		case page == 0 && status == http.StatusInternalServerError:
			return c.legacyMetrics(ctx, take)
		case err != nil:
			return nil, err
		case got.total > maxNames:
			return nil, metric.Failf(metric.Truncated, "Sysdig has %d metrics, which are too many to list", got.total)
		case names.cut:
			return nil, tooManyMetrics()
		}
		shrunk := total - got.total
		total, least = got.total, min(least, got.total)
		if shrunk > 0 { // what was removed meanwhile moved the rest to the front: some of it may have been skipped
			offset = max(offset-shrunk, 0)
			continue
		}
		offset += got.metrics
		if offset >= total {
			return whole(names.names, least)
		}
		if got.metrics == 0 {
			break
		}
	}
	return nil, metric.Failf(metric.Truncated, "the list of metrics ends before its end")
}

// whole is the list of metrics if it holds as many as it should.
func whole(names []string, least int) ([]string, error) {
	names = ordered(names)
	if len(names) < least {
		return nil, metric.Failf(metric.Truncated, "the list of metrics holds %d of %d", len(names), least)
	}
	return names, nil
}

// descriptorPage is one page of metrics: how many it has, of how many.
type descriptorPage struct{ metrics, total int }

func (c *Client) descriptors(ctx context.Context, take func() error, offset int, filter string, names *nameList) (page descriptorPage, status int, err error) {
	target := c.config.DataURL.JoinPath("../v2/metrics/descriptors")
	form := url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(descriptorsPage)}}
	if filter != "" {
		form.Set("filter", filter)
	}
	status, err = c.list(ctx, take, target, form, func(body *stream) error {
		page, err = decodeDescriptors(body, names)
		return err
	})
	return page, status, err
}

// decodeDescriptors reads a page and adds its metrics to names.
func decodeDescriptors(s *stream, names *nameList) (page descriptorPage, err error) {
	var total *float64
	listed, named := false, false
	id := []field{{"id", func() error {
		name, fits, err := s.text(maxName)
		if err != nil {
			return err
		}
		named = !fits || len(name) > 0
		return names.add(s, name, fits)
	}}}
	err = s.document(field{"total", s.optional(&total)}, field{"metricDescriptors", func() error {
		if is, err := s.null(); is || err != nil {
			return err
		}
		listed = true
		return s.list(func() error {
			named = false
			err := s.fields(id...)
			if err == nil && !named {
				err = errors.New("a descriptor has no id")
			}
			page.metrics++
			return err
		})
	}})
	switch {
	case err != nil:
		return descriptorPage{}, err
	// Without a total the first page would pass for the whole list.
	case total == nil || *total < 0 || *total != math.Trunc(*total) || !listed:
		return descriptorPage{}, errors.New("the page lacks its total or descriptors")
	}
	page.total = int(min(*total, math.MaxInt32))
	return page, nil
}

// legacyMetrics asks for the list that came before descriptors, which has no pages.
func (c *Client) legacyMetrics(ctx context.Context, take func() error) ([]string, error) {
	names := nameList{most: maxNames}
	_, err := c.list(ctx, take, c.config.DataURL.JoinPath("metrics"), url.Values{"light": {"true"}}, func(body *stream) error {
		return decodeLegacyMetrics(body, &names)
	})
	switch {
	case err != nil:
		return nil, err
	case names.cut:
		return nil, tooManyMetrics()
	}
	return ordered(names.names), nil
}

// decodeLegacyMetrics adds the metrics to names, which are those of the fields. What is no metric, such as an error, is no object.
func decodeLegacyMetrics(s *stream, names *nameList) error {
	if err := s.object(func(name []byte) error {
		if err := names.add(s, name, name != nil); err != nil {
			return err
		}
		if c, err := s.peek(); err != nil || c != '{' && c != 'n' {
			return cmp.Or(err, errors.New("the answer holds no metrics"))
		}
		return s.skip()
	}); err != nil {
		return err
	}
	return s.end()
}

// LabelNames maps the labels of the data API that exist now to their names in PromQL. It is nil where Sysdig does not tell. take is
// that of MetricNames, and so are the errors.
func (c *Client) LabelNames(ctx context.Context, take func() error) (map[string]string, error) {
	names := map[string]string{}
	target := c.config.DataURL.JoinPath("../v3/labels/")
	status, err := c.list(ctx, take, target, url.Values{"limit": {strconv.Itoa(askedLabels)}}, func(body *stream) error {
		return decodeLabelNames(body, names)
	})
	switch {
	case status == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return names, nil
}

// decodeLabelNames adds the labels to names.
func decodeLabelNames(s *stream, names map[string]string) error {
	listed, labels := false, 0
	var id, publicID string
	of := []field{{"id", s.shortName(&id)}, {"publicId", s.shortName(&publicID)}}
	err := s.document(field{"allLabels", func() error {
		if is, err := s.null(); is || err != nil {
			return err
		}
		listed = true
		return s.list(func() error {
			id, publicID = "", ""
			if labels++; labels >= askedLabels {
				return metric.Failf(metric.Truncated, "the list of labels ends after %d, which is a limit", askedLabels)
			}
			if err := s.fields(of...); err != nil || id == "" || publicID == "" {
				return err
			}
			names[id] = publicID
			return s.hold(len(id) + len(publicID) + internedText)
		})
	}})
	if err == nil && !listed {
		err = errors.New("the answer holds no labels")
	}
	return err
}

// list asks for a list, or a page of it. The status is 0 where there was no answer.
func (c *Client) list(ctx context.Context, take func() error, target *url.URL, form url.Values, decode func(*stream) error) (status int, err error) {
	if err := take(); err != nil {
		return 0, err
	}
	head, err := c.ask(ctx, get(target, form), decode)
	return head.status, err
}

// ordered sorts names and drops those that are there twice, as when a list grows while it is read.
func ordered(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
