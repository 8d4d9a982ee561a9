package sysdig

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// labelReader reads the labels of an answer's series. Most names and values come in many of them: each is kept once.
type labelReader struct{ known map[string]string }

// read reads an object of strings. object is valid JSON.
func (r *labelReader) read(object json.RawMessage) (map[string]string, error) {
	if len(object) == 0 {
		return nil, nil
	}
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(object), []byte("{"))
	if !ok { // null is no labels, as for encoding/json
		var none map[string]string
		err := json.Unmarshal(object, &none)
		return none, err
	}
	labels := make(map[string]string, bytes.Count(rest, []byte(":")))
	for {
		rest = bytes.TrimLeft(rest, ", \t\r\n")
		if len(rest) == 0 || rest[0] == '}' {
			return labels, nil
		}
		name, after, err := r.text(rest)
		if err != nil {
			return nil, err
		}
		value, after, err := r.text(bytes.TrimLeft(after, ": \t\r\n"))
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", name, err)
		}
		labels[name], rest = value, after
	}
}

// text reads the string that data begins with, and returns what follows it.
func (r *labelReader) text(data []byte) (text string, rest []byte, err error) {
	if len(data) == 0 || data[0] != '"' {
		return "", nil, fmt.Errorf("is no text")
	}
	end, plain := 1, true
	for end < len(data) && data[end] != '"' {
		if data[end] == '\\' || data[end] >= 0x80 { // encoding/json knows what these are
			plain = false
		}
		if data[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(data) {
		return "", nil, fmt.Errorf("does not end")
	}
	if !plain {
		var unescaped string
		if err := json.Unmarshal(data[:end+1], &unescaped); err != nil {
			return "", nil, err
		}
		return r.intern([]byte(unescaped)), data[end+1:], nil
	}
	return r.intern(data[1:end]), data[end+1:], nil
}

func (r *labelReader) intern(text []byte) string {
	if known, ok := r.known[string(text)]; ok {
		return known
	}
	if r.known == nil {
		r.known = map[string]string{}
	}
	known := string(text)
	r.known[known] = known
	return known
}
