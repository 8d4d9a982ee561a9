package main

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// text turns a manifest into a template. Marks take the places of what Helm fills in, so that the rest stays what YAML makes of it.
type text struct {
	inline []string   // by number of their marks
	lines  [][]string // by number of their marks, without indentation
}

const (
	inlineMark = "HelmInline%dMark"
	linesMark  = "HelmLines%dMark"
)

// value is a string that Helm replaces by what a template says.
func (t *text) value(template string) string {
	t.inline = append(t.inline, template)
	return fmt.Sprintf(inlineMark, len(t.inline)-1)
}

// block is an item of a list, or a value whose key does not matter, in whose place there are these lines, indented like it. A line that
// begins with {{- is not indented.
func (t *text) block(lines ...string) string {
	t.lines = append(t.lines, lines)
	return fmt.Sprintf(linesMark, len(t.lines)-1)
}

// optional is a block with a key that is there if the template's value is not empty.
func (t *text) optional(key, value string) string {
	return t.block("{{- with "+value+" }}", key+":", "  {{ toYaml . | nindent INDENT }}", "{{- end }}")
}

// items are a block with more items of a list, if there are any.
func (t *text) items(value string) string {
	return t.block("{{- with "+value+" }}", "{{ toYaml . | nindent INDENT }}", "{{- end }}")
}

// when is a block that is there on a condition. What else there is may be empty.
func (t *text) when(condition string, then []string, otherwise ...string) string {
	lines := append([]string{"{{- if " + condition + " }}"}, then...)
	if len(otherwise) > 0 {
		lines = append(append(lines, "{{- else }}"), otherwise...)
	}
	return t.block(append(lines, "{{- end }}")...)
}

// render is the manifest as a template.
func (t *text) render(o object) (string, error) {
	content, err := yaml.Marshal(o.Object)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", o.key(), err)
	}
	result := strings.ReplaceAll(string(content), "{{", `{{ "{{" }}`)
	for i, lines := range t.lines {
		line := regexp.MustCompile(`(?m)^( *).*` + fmt.Sprintf(linesMark, i) + `\n`)
		result = line.ReplaceAllStringFunc(result, func(found string) string {
			return indented(lines, len(found)-len(strings.TrimLeft(found, " ")))
		})
	}
	for i, template := range t.inline {
		result = strings.ReplaceAll(result, fmt.Sprintf(inlineMark, i), template)
	}
	return result, nil
}

func indented(lines []string, indent int) string {
	var result strings.Builder
	for _, line := range lines {
		at := indent
		if nested := strings.TrimLeft(line, " "); strings.HasSuffix(line, "nindent INDENT }}") {
			line = strings.Replace("{{-"+strings.TrimPrefix(nested, "{{"), "INDENT", fmt.Sprint(indent+len(line)-len(nested)), 1)
			at = 0
		} else if strings.HasPrefix(line, "{{-") {
			at = 0
		}
		result.WriteString(strings.Repeat(" ", at) + line + "\n")
	}
	return result.String()
}

// linesOf is YAML of something, line by line.
func linesOf(value any) ([]string, error) {
	content, err := yaml.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n"), nil
}
