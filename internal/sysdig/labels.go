package sysdig

import (
	"fmt"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// maxLabels is how many labels a series may have. Sysdig's own have about 50.
	maxLabels = 128
	// maxLabelValue bounds the value of a label, in bytes as it is written. Addresses of web pages are the longest that are of use.
	maxLabelValue = 4 << 10
	// maxRowText bounds the labels of one series, in bytes.
	maxRowText = 32 << 10
	// maxTexts bounds the different texts of an answer, in bytes: 160 for each of 100,000 series.
	maxTexts = 16 << 20
	// internedText is what it takes, in bytes, to hold a text and find it again, beside the text.
	internedText = 80
)

// leaveOut is how a query gets rid of a label.
const leaveOut = "leave it out of the answer, as with sum without (…) (…) in spec.source.promQL, or take it out of the dimensions"

// labelReader reads the labels of an answer's series. Most names and values come in many of them: each is kept once.
type labelReader struct {
	*stream
	known map[string]string
	// texts is how many bytes are known.
	texts int
	// pairs are names and values of the series that is read.
	pairs []string
}

func newLabelReader(s *stream) labelReader { return labelReader{stream: s, known: map[string]string{}} }

// labels reads an object of texts. null is none.
func (r *labelReader) labels() (map[string]string, error) {
	if is, err := r.null(); is || err != nil {
		return nil, err
	}
	r.pairs = r.pairs[:0]
	written := 0
	if err := r.object(func(name []byte) error {
		if err := r.label(name); err != nil {
			return err
		}
		written += len(r.pairs[len(r.pairs)-2]) + len(r.pairs[len(r.pairs)-1])
		if written > maxRowText || len(r.pairs) > 2*maxLabels {
			return metric.Failf(metric.Truncated, "a series of the answer has more than %d labels, or more than %d KiB of them; keep fewer labels, as with sum by (…) (…) in spec.source.promQL", maxLabels, maxRowText>>10)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	labels := make(map[string]string, len(r.pairs)/2)
	for i := 0; i < len(r.pairs); i += 2 {
		if _, has := labels[r.pairs[i]]; has {
			return nil, fmt.Errorf("a series has the label %s twice", r.pairs[i])
		}
		labels[r.pairs[i]] = r.pairs[i+1]
	}
	return labels, r.hold(mapBytes(len(labels)))
}

// label reads the value of a label whose name was read.
func (r *labelReader) label(name []byte) error {
	if name == nil {
		return metric.Failf(metric.Truncated, "the answer has the name of a label with more than %d bytes; %s", maxName, leaveOut)
	}
	of, err := r.intern(name)
	if err != nil {
		return err
	}
	value, err := r.value(of)
	r.pairs = append(r.pairs, of, value)
	return err
}

// value reads the value of a label.
func (r *labelReader) value(label string) (string, error) {
	text, fits, err := r.text(maxLabelValue)
	switch {
	case err != nil:
		return "", fmt.Errorf("label %s: %w", label, err)
	case !fits:
		return "", metric.Failf(metric.Truncated, "the label %.60q of the answer has a value of more than %d bytes; %s", label, maxLabelValue, leaveOut)
	}
	return r.intern(text)
}

// intern is a text that is held once.
func (r *labelReader) intern(text []byte) (string, error) {
	if known, ok := r.known[string(text)]; ok {
		return known, nil
	}
	if r.texts += len(text); r.texts > maxTexts {
		return "", metric.Failf(metric.Truncated, "the answer has more than %d MiB of different labels; keep fewer or shorter ones, as with sum by (…) (…) in spec.source.promQL", maxTexts>>20)
	}
	known := string(text)
	r.known[known] = known
	return known, r.hold(len(known) + internedText)
}

// mapBytes is about what a map of labels takes, in bytes: 8 places in one piece, or twice as many again and again.
func mapBytes(labels int) int {
	const head, place, pieces = 48, 40, 200
	if labels <= 8 {
		return head + 8*place
	}
	places := 16
	for places*7/8 < labels {
		places *= 2
	}
	return head + pieces + places*place
}
