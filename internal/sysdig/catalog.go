package sysdig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// maxNames bounds a list of metrics.
	maxNames = 200_000
	// maxValues bounds a list of values of a label.
	maxValues = 1_000
	// roundNames is a number that lists are cut to, or a multiple of it: Sysdig stops there listing values of a label unless a limit is
	// given. Source: its OpenAPI document.
	roundNames = 5_000
	// descriptorsPage is how many descriptors are asked for at once; about a kilobyte each. Sysdig may return fewer.
	descriptorsPage = 5_000
	// maxPages bounds the requests for one list.
	maxPages = 200
	// maxLabels is how many labels are asked for, as Sysdig's Terraform provider does.
	maxLabels = 6_000
)

// MetricNames lists the metrics that PromQL can name, in order: all of them, or an error. take is called before each request; its error
// ends the call. Other errors are a *metric.Failure.
func (c *Client) MetricNames(ctx context.Context, take func() error) ([]string, error) {
	names, warnings, err := c.labelValues(ctx, "__name__", maxNames, take)
	if err != nil {
		return nil, err
	}
	if len(warnings) > 0 {
		return nil, metric.Failf(metric.Truncated, "the list of metrics is incomplete: %s", c.clean(warnings[0]))
	}
	// A server that does not heed the limit stops at its own, and does not say so.
	if n := len(names); n >= maxNames || n > 0 && n%roundNames == 0 {
		return nil, metric.Failf(metric.Truncated, "the list of metrics ends after %d, which is a limit", n)
	}
	return ordered(names), nil
}

// LabelValues lists values of a label that PromQL can name, in order, and tells whether those are all. take is that of MetricNames, and
// so are the errors.
func (c *Client) LabelValues(ctx context.Context, label string, take func() error) (values []string, all bool, err error) {
	values, warnings, err := c.labelValues(ctx, label, maxValues, take)
	if err != nil {
		return nil, false, err
	}
	return ordered(values), len(warnings) == 0 && len(values) < maxValues, nil
}

func (c *Client) labelValues(ctx context.Context, label string, limit int, take func() error) (values, warnings []string, err error) {
	var list struct {
		Status   string   `json:"status"`
		Error    string   `json:"error"`
		Warnings []string `json:"warnings"`
		Data     []string `json:"data"`
	}
	target := c.config.QueryURL.JoinPath("../label", url.PathEscape(label), "values")
	_, err = c.list(ctx, take, target, url.Values{"limit": {strconv.Itoa(limit)}}, func(body []byte) error {
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		if list.Status != "success" || list.Data == nil {
			return fmt.Errorf("the answer has status %s and error %s", list.Status, list.Error)
		}
		return nil
	})
	return list.Data, list.Warnings, err
}

// Descriptors lists the metrics of the data API as MetricNames does. Old installations, which answer HTTP 500, are asked the old way.
func (c *Client) Descriptors(ctx context.Context, take func() error) ([]string, error) {
	var names []string
	least := maxNames // the smallest total that was said
	for page, offset, total := 0, 0, 0; page < maxPages; page++ {
		got, status, err := c.descriptors(ctx, take, offset)
		switch {
		case page == 0 && status == http.StatusInternalServerError:
			return c.legacyMetrics(ctx, take)
		case err != nil:
			return nil, err
		case *got.Total > maxNames:
			return nil, metric.Failf(metric.Truncated, "Sysdig has %d metrics, which are too many to list", *got.Total)
		}
		names = append(names, got.names()...)
		shrunk := total - *got.Total
		total, least = *got.Total, min(least, *got.Total)
		if shrunk > 0 { // what was removed meanwhile moved the rest to the front: some of it may have been skipped
			offset = max(offset-shrunk, 0)
			continue
		}
		offset += len(got.MetricDescriptors)
		if offset >= total {
			return whole(names, least)
		}
		if len(got.MetricDescriptors) == 0 {
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

// descriptorPage is one page of metrics.
type descriptorPage struct {
	Total             *int `json:"total"`
	MetricDescriptors []struct {
		ID string `json:"id"`
	} `json:"metricDescriptors"`
}

func (p descriptorPage) names() []string {
	names := make([]string, len(p.MetricDescriptors))
	for i, d := range p.MetricDescriptors {
		names[i] = d.ID
	}
	return names
}

func (c *Client) descriptors(ctx context.Context, take func() error, offset int) (page descriptorPage, status int, err error) {
	target := c.config.DataURL.JoinPath("../v2/metrics/descriptors")
	form := url.Values{"offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(descriptorsPage)}}
	status, err = c.list(ctx, take, target, form, func(body []byte) error {
		page, err = decodeDescriptors(body)
		return err
	})
	return page, status, err
}

func decodeDescriptors(body []byte) (descriptorPage, error) {
	var page descriptorPage
	if err := json.Unmarshal(body, &page); err != nil {
		return descriptorPage{}, err
	}
	// Without a total the first page would pass for the whole list.
	if page.Total == nil || *page.Total < 0 || page.MetricDescriptors == nil || slices.Contains(page.names(), "") {
		return descriptorPage{}, errors.New("the page lacks its total or descriptors")
	}
	return page, nil
}

// legacyMetrics asks for the list that came before descriptors, which has no pages.
func (c *Client) legacyMetrics(ctx context.Context, take func() error) ([]string, error) {
	var names []string
	_, err := c.list(ctx, take, c.config.DataURL.JoinPath("metrics"), url.Values{"light": {"true"}}, func(body []byte) (err error) {
		names, err = decodeLegacyMetrics(body)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(names) > maxNames {
		return nil, metric.Failf(metric.Truncated, "Sysdig has %d metrics, which are too many to list", len(names))
	}
	return names, nil
}

func decodeLegacyMetrics(body []byte) ([]string, error) {
	var list map[string]struct{}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, errors.New("the answer holds no metrics")
	}
	return slices.Sorted(maps.Keys(list)), nil
}

// LabelNames maps the labels of the data API that exist now to their names in PromQL. It is nil where Sysdig does not tell. take is
// that of MetricNames, and so are the errors.
func (c *Client) LabelNames(ctx context.Context, take func() error) (map[string]string, error) {
	var list struct {
		AllLabels []struct {
			ID       string `json:"id"`
			PublicID string `json:"publicId"`
		} `json:"allLabels"`
	}
	target := c.config.DataURL.JoinPath("../v3/labels/")
	status, err := c.list(ctx, take, target, url.Values{"limit": {strconv.Itoa(maxLabels)}}, func(body []byte) error {
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		if list.AllLabels == nil {
			return errors.New("the answer holds no labels")
		}
		return nil
	})
	switch {
	case status == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case len(list.AllLabels) >= maxLabels:
		return nil, metric.Failf(metric.Truncated, "the list of labels ends after %d, which is a limit", len(list.AllLabels))
	}
	names := make(map[string]string, len(list.AllLabels))
	for _, label := range list.AllLabels {
		if label.ID != "" && label.PublicID != "" {
			names[label.ID] = label.PublicID
		}
	}
	return names, nil
}

// list asks for a list, or a page of it. The status is 0 where there was no answer.
func (c *Client) list(ctx context.Context, take func() error, target *url.URL, form url.Values, decode func([]byte) error) (status int, err error) {
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
