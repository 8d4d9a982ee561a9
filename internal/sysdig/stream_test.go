package sysdig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

func streamOf(body []byte) *stream { return newStream(bytes.NewReader(body), nil) }

func decode(body []byte) (Answer, error) { return decodeAnswer(streamOf(body)) }

func decodeDataBody(body []byte, q DataRequest) (DataAnswer, error) {
	return decodeData(streamOf(body), q)
}

// tree is what encoding/json makes of a whole document; false when it is none.
func tree(body []byte) (root any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return root, json.Valid(body) && d.Decode(&root) == nil
}

// wrong ends what reads a tree.
type wrong string

func must(ok bool, what string) {
	if !ok {
		panic(wrong(what))
	}
}

// reading runs what panics with wrong.
func reading(read func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			what, ok := r.(wrong)
			if !ok {
				panic(r)
			}
			err = errors.New(string(what))
		}
	}()
	read()
	return nil
}

func object(value any) map[string]any {
	of, ok := value.(map[string]any)
	must(ok, "no object")
	return of
}

func list(value any) []any {
	of, ok := value.([]any)
	must(ok, "no list")
	return of
}

func words(value any) string {
	text, ok := value.(string)
	must(ok || value == nil, "no text")
	return text
}

func float(value any) float64 {
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	must(isText || isNumber, "no number")
	parsed, err := parseFloat([]byte(text + string(number)))
	must(err == nil, "no number")
	return parsed
}

func seconds(value any) time.Time {
	at, err := unixTime(float(value))
	must(err == nil, "no time")
	return at
}

// wholeAnswer is what an answer says, read from the whole document.
func wholeAnswer(body []byte) (a Answer, err error) {
	root, ok := tree(body)
	if !ok {
		return a, errors.New("no document")
	}
	return a, reading(func() {
		of := object(root)
		for _, name := range []string{"error", "status"} {
			words(of[name])
		}
		must(of["status"] == "success", "another status")
		if of["warnings"] != nil {
			a.Warnings = []string{}
			for _, w := range list(of["warnings"]) {
				if len(a.Warnings) < maxWarnings {
					a.Warnings = append(a.Warnings, words(w))
				}
			}
		}
		data := object(of["data"])
		must(words(data["resultType"]) == "vector", "no vector")
		a.Series = []Series{}
		for _, row := range list(data["result"]) {
			var s Series
			if labels := object(row)["metric"]; labels != nil {
				s.Labels = map[string]string{}
				for name, value := range object(labels) {
					must(value != nil, "a label that is null")
					s.Labels[name] = words(value)
				}
			}
			point := list(object(row)["value"])
			must(len(point) == 2, "no point")
			s.Time, s.Value = seconds(point[0]), float(point[1])
			a.Series = append(a.Series, s)
		}
	})
}

// wholeData is wholeAnswer of the data API.
func wholeData(body []byte, q DataRequest) (a DataAnswer, err error) {
	root, ok := tree(body)
	if !ok {
		return a, errors.New("no document")
	}
	number := func(value any) any {
		_, isText := value.(string)
		must(!isText, "a number that is text")
		return value
	}
	return a, reading(func() {
		of := object(root)
		must(of["errors"] == nil || len(list(of["errors"])) == 0, "errors")
		a.Rows, a.Start, a.End = []DataRow{}, seconds(number(of["start"])), seconds(number(of["end"]))
		for _, entry := range list(of["data"]) {
			t := object(entry)["t"]
			must((t != nil) == (q.Sampling != 0), "a time too few or too many")
			rows := list(object(entry)["d"])
			if len(rows) == 0 {
				rows = []any{rows}
			} else if _, nested := rows[0].([]any); !nested {
				rows = []any{rows}
			}
			for _, cells := range rows {
				row := DataRow{Keys: make([]string, len(q.Keys)), Values: make([]float64, len(q.Values))}
				must(len(list(cells)) == len(q.Keys)+len(q.Values), "cells")
				for i, cell := range list(cells) {
					switch {
					case i < len(q.Keys):
						row.Keys[i] = words(cell)
					case cell == nil:
						row.Values[i-len(q.Keys)] = math.NaN()
					default:
						row.Values[i-len(q.Keys)] = float(number(cell))
					}
				}
				if t != nil {
					row.Time = seconds(number(t))
				}
				a.Rows = append(a.Rows, row)
			}
		}
	})
}

// strict tells whether an error is of a bound that encoding/json does not have.
func strict(err error) bool {
	var bound *metric.Failure
	return errors.As(err, &bound) || err != nil && (strings.Contains(err.Error(), "more than") || strings.Contains(err.Error(), "twice"))
}

// asWhole expects that a document is read as encoding/json reads it, in whatever pieces it comes.
func asWhole[T any](t *testing.T, body []byte, read func(*stream) (T, error), want T, wantErr error) {
	t.Helper()
	for name, from := range map[string]io.Reader{
		"at once": bytes.NewReader(body), "byte by byte": iotest.OneByteReader(bytes.NewReader(body)), "with its end": iotest.DataErrReader(bytes.NewReader(body)),
	} {
		got, err := read(newStream(from, nil))
		switch {
		case strict(err):
		case (err == nil) != (wantErr == nil):
			t.Fatalf("%s: %.300s: %v, want %v", name, body, err, wantErr)
		case err == nil:
			if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Fatalf("%s: %.300s (-want +got):\n%s", name, body, diff)
			}
		}
	}
}

// FuzzAnswerAsWhole compares with what encoding/json makes of the whole document.
func FuzzAnswerAsWhole(f *testing.F) {
	for _, file := range []string{"prometheus-responses.json", "error-responses.json"} {
		for _, c := range fixtures(f, file) {
			f.Add([]byte(c.Body))
		}
	}
	for _, labels := range []string{
		`{}`, ` { } `, `null`, `{"a":"b"}`, `{"a":"","":"b"}`, "{ \"a\" :\t\"b\" ,\n\"c\":\"d\"}", `{"a":"1","a":"2"}`, `{"a":"\"}","b\\":"\u00e9\n"}`,
		`{"a":"é","ключ":"значение"}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":1}`, `{"a":null}`, `{"a":{}}`, `{"a":["b"]}`, `[]`, `"a"`, `1`, `{"a":"b",}`,
	} {
		f.Add([]byte(`{"status":"success","infos":[{"a":[1e5,-0,0.5,true,false,null,"\/"]}],"data":{"result":[{"value":[1,"2"],"metric":` + labels + `}],"resultType":"vector"}}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, err := wholeAnswer(body)
		asWhole(t, body, decodeAnswer, want, err)
	})
}

// FuzzDataAsWhole is FuzzAnswerAsWhole for the data API.
func FuzzDataAsWhole(f *testing.F) {
	for _, pair := range dataPairs(f) {
		f.Add([]byte(pair.Response), 1, 1, pair.Request["sampling"] != nil)
	}
	f.Add([]byte(`{"data":[{"t":1,"d":[["proc1",1.5],["proc2",null]]}],"start":1,"end":2}`), 1, 1, true)
	f.Add([]byte(`{"end":2,"data":[{"x":{},"d":["a",null,0,-1e-7]}],"start":1e0,"errors":null}`), 2, 2, false)
	f.Fuzz(func(t *testing.T, body []byte, keys, values int, sampled bool) {
		q := DataRequest{Keys: make([]string, max(keys, 0)%4), Values: make([]DataValue, max(values, 0)%4), To: 1000}
		if sampled {
			q.Sampling = 10 * time.Second
		}
		want, err := wholeData(body, q)
		asWhole(t, body, func(s *stream) (DataAnswer, error) { return decodeData(s, q) }, want, err)
	})
}

// writer writes documents as no two servers do: with blanks and fields that nobody knows, in any order, and escapes.
type writer struct {
	*rand.Rand
	bytes.Buffer
}

func (w *writer) blank() { w.WriteString(strings.Repeat(" \n\t\r"[:1+w.IntN(4)], w.IntN(3))) }

func (w *writer) text(text string) {
	raw, _ := json.Marshal(text)
	if w.IntN(4) == 0 {
		raw = []byte(`"`)
		for _, r := range text {
			raw = fmt.Appendf(raw, `\u%04x`, r)
		}
		raw = append(raw, '"')
	}
	w.Write(raw)
}

// any writes a value of any kind.
func (w *writer) any(depth int) {
	switch w.IntN(7 - depth) {
	case 0:
		w.text(strings.Repeat("é\"\\\n", w.IntN(20)))
	case 1:
		fmt.Fprint(w, w.NormFloat64())
	case 2:
		w.WriteString([]string{"null", "true", "false"}[w.IntN(3)])
	case 3:
		w.text(strings.Repeat("long ", w.IntN(5_000)))
	case 4:
		w.list(w.IntN(5), func(int) { w.any(depth + 1) })
	default:
		w.object(nil, depth+1)
	}
}

func (w *writer) list(length int, element func(i int)) {
	w.WriteByte('[')
	for i := range length {
		if i > 0 {
			w.WriteByte(',')
		}
		w.blank()
		element(i)
		w.blank()
	}
	w.WriteByte(']')
}

func (w *writer) object(fields map[string]func(), depth int) {
	names := make([]string, 0, len(fields)+3)
	for name := range fields {
		names = append(names, name)
	}
	for i := range w.IntN(3) {
		names = append(names, fmt.Sprint("unknown ", i))
	}
	w.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	w.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			w.WriteByte(',')
		}
		w.blank()
		w.text(name)
		w.blank()
		w.WriteByte(':')
		w.blank()
		if write := fields[name]; write != nil {
			write()
		} else {
			w.any(depth)
		}
		w.blank()
	}
	w.WriteByte('}')
}

func (w *writer) vector(rows int) {
	w.object(map[string]func(){
		"status":   func() { w.text("success") },
		"warnings": func() { w.list(w.IntN(12), func(i int) { w.text(fmt.Sprint("warning ", i)) }) },
		"data": func() {
			w.object(map[string]func(){
				"resultType": func() { w.text("vector") },
				"result": func() {
					w.list(rows, func(i int) {
						w.object(map[string]func(){
							"metric": func() {
								fields := map[string]string{}
								for j := range w.IntN(20) {
									fields[fmt.Sprint("label_", j)] = strings.Repeat("v\"é", w.IntN(30)) + fmt.Sprint(i)
								}
								raw, _ := json.Marshal(fields)
								w.Write(raw)
							},
							"value": func() { fmt.Fprintf(w, `[ %d.%d,"%g"]`, i, w.IntN(1000), w.NormFloat64()) },
						}, 1)
					})
				},
			}, 1)
		},
	}, 1)
}

func TestAnAnswerIsReadAsAWholeHoweverItIsWritten(t *testing.T) {
	for seed := range uint64(30) {
		w := &writer{Rand: rand.New(rand.NewPCG(seed, 1))}
		w.vector(w.IntN(60))
		want, err := wholeAnswer(w.Bytes())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, err := decode(w.Bytes()); err != nil || !cmp.Equal(got, want) {
			t.Fatalf("seed %d: %v\n%s", seed, err, cmp.Diff(want, got))
		}
		asWhole(t, w.Bytes(), decodeAnswer, want, nil)
		cut := w.Bytes()[:w.IntN(w.Len())]
		if got, err := decode(cut); err == nil {
			t.Fatalf("seed %d: half of the answer is taken for %+v", seed, got)
		}
	}
}

func TestFieldsThatComeTwiceAreRefused(t *testing.T) {
	const row = `{"metric":{"a":"b"},"value":[1,"1"]}`
	for name, body := range map[string]string{
		"the status": `{"status":"success","status":"success","data":{"resultType":"vector","result":[]}}`,
		"the data":   `{"status":"success","data":{"resultType":"vector","result":[` + row + `]},"data":{"resultType":"vector","result":[]}}`,
		"the result": `{"status":"success","data":{"resultType":"vector","result":[` + row + `],"result":[]}}`,
		"the value":  `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"],"value":[1,"2"]}]}}`,
		"the labels": `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"metric":{},"value":[1,"2"]}]}}`,
		"a label":    `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1","a":"2"},"value":[1,"2"]}]}}`,
	} {
		if got, err := decode([]byte(body)); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
