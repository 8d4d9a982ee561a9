package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// limit is a row of docs/limits.md.
type limit struct {
	input, who, bound, beyond string
	tests                     []string
}

// limits reads the rows of docs/limits.md.
func limits(t *testing.T) (rows []limit) {
	t.Helper()
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(documents(t)["docs/limits.md"]) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| --- ") || strings.HasPrefix(line, "| input ") {
			continue
		}
		if len(cells) != 5 {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		row := limit{input: cells[0], who: cells[1], bound: cells[2], beyond: cells[3]}
		for _, test := range quoted.FindAllStringSubmatch(cells[4], -1) {
			row.tests = append(row.tests, test[1])
		}
		rows = append(rows, row)
	}
	if len(rows) < 20 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows
}

// rowsOf are the rows about an input.
func rowsOf(rows []limit, input string) (of []limit) {
	for _, row := range rows {
		if strings.Contains(row.input, "`"+input+"`") {
			of = append(of, row)
		}
	}
	return of
}

// sources parses the operator's own Go files, by path from the project's root: with tests, or without.
func sources(t *testing.T, tests bool, folders ...string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	for _, folder := range folders {
		err := fs.WalkDir(os.DirFS(".."), folder, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "sysdigtest":
				return fs.SkipDir // the stand-in
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") != tests:
				return nil
			}
			files[path], err = parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.SkipObjectResolution)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestEveryLimitHasATestThatExists(t *testing.T) {
	exist := map[string]bool{}
	for _, file := range sources(t, true, "api", "controllers", "internal", "test") {
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil {
				exist[f.Name.Name] = true
			}
		}
	}
	for _, row := range limits(t) {
		if len(row.tests) == 0 || row.who == "" || row.bound == "" {
			t.Errorf("%s: something is missing", row.input)
		}
		for _, test := range row.tests {
			if !exist[test] || !strings.HasPrefix(test, "Test") && !strings.HasPrefix(test, "Fuzz") {
				t.Errorf("%s: there is no test %s", row.input, test)
			}
		}
	}
}

// schemaLimits are the strings, lists and maps that somebody writes into the spec of a kind, each with the most that it may hold; 0 when
// the schema does not say.
func schemaLimits(path string, schema map[string]any, into map[string]int) {
	most := func(name string) int {
		number, _ := schema[name].(float64)
		return int(number)
	}
	below := func(name string) map[string]any {
		inner, _ := schema[name].(map[string]any)
		return inner
	}
	switch schema["type"] {
	case "string":
		if schema["enum"] == nil {
			into[path] = most("maxLength")
		}
	case "array":
		into[path] = most("maxItems")
		schemaLimits(path+"[]", below("items"), into)
	case "object":
		for name, property := range below("properties") {
			schemaLimits(path+"."+name, property.(map[string]any), into)
		}
		if values := below("additionalProperties"); values != nil {
			into[path] = most("maxProperties")
			if values["maxLength"] == nil && strings.Contains(fmt.Sprint(schema["x-kubernetes-validations"]), "size(self[key]) <= 63") {
				values["maxLength"] = 63.0 // a map bounds its texts itself
			}
			schemaLimits(path+"{}", values, into)
		}
	}
}

func TestEveryFieldHasALimit(t *testing.T) {
	rows := limits(t)
	files, err := filepath.Glob("../config/crd/bases/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema struct {
							Properties map[string]map[string]any `json:"properties"`
						} `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(content, &crd); err != nil {
			t.Fatal(err)
		}
		fields := map[string]int{}
		schemaLimits("spec", crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"], fields)
		if len(fields) < 20 {
			t.Fatalf("%s: %d fields", file, len(fields))
		}
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			most := thousands(fields[field])
			switch of := rowsOf(rows, field); {
			case fields[field] == 0:
				t.Errorf("%s: the schema does not say how much %s may hold", file, field)
			case !slices.ContainsFunc(of, func(row limit) bool { return regexp.MustCompile(`\b` + most + `\b`).MatchString(row.bound) }):
				t.Errorf("docs/limits.md has no row that says that %s may hold %s", field, most)
			}
		}
	}
}

// thousands is a number with a comma before each three digits.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// TestEveryAnnotationLabelAndHeaderThatIsReadHasALimit looks for them in the operator's code.
func TestEveryAnnotationLabelAndHeaderThatIsReadHasALimit(t *testing.T) {
	rows := limits(t)
	names := map[string]string{} // by where
	files := sources(t, false, "api", "controllers", "internal")
	constants := constantsOf(files)
	for path, file := range files {
		if strings.HasPrefix(path, "internal/query/") || strings.HasPrefix(path, "internal/metric/") || strings.HasPrefix(path, "internal/poller/") {
			continue // whose labels are those of Sysdig's series
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if key := readBy(n); key != nil {
				name := nameOf(key, constants)
				if name == "" {
					t.Errorf("%s: it is not known what is read: %T", path, key)
				}
				names[path+" reads "+name] = name
			}
			return true
		})
	}
	if len(names) < 8 {
		t.Fatalf("only %v was found", names)
	}
	for where, name := range names {
		if name == "name" { // of the headers that the operator itself sends
			continue
		}
		if len(rowsOf(rows, name)) == 0 {
			t.Errorf("%s, which has no row in docs/limits.md", where)
		}
	}
}

// constantsOf are the texts of constants, by their names.
func constantsOf(files map[string]*ast.File) map[string]string {
	constants := map[string]string{}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
						constants[spec.Names[i].Name], _ = strconv.Unquote(literal.Value)
					}
				}
			}
			return true
		})
	}
	return constants
}

// readBy is the key of a label, an annotation or a header that an expression reads; nil when it reads none.
func readBy(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.IndexExpr: // x.Annotations[key], x.GetLabels()[key]
		of := n.X
		if call, ok := of.(*ast.CallExpr); ok {
			of = call.Fun
		}
		if s, ok := of.(*ast.SelectorExpr); ok && slices.Contains([]string{"Annotations", "Labels", "GetAnnotations", "GetLabels"}, s.Sel.Name) {
			return n.Index
		}
	case *ast.CallExpr: // x.Header.Get(key), header.Get(key)
		get, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || get.Sel.Name != "Get" || len(n.Args) != 1 {
			return nil
		}
		switch of := get.X.(type) {
		case *ast.Ident:
			if of.Name == "header" {
				return n.Args[0]
			}
		case *ast.SelectorExpr:
			if of.Sel.Name == "Header" {
				return n.Args[0]
			}
		}
	}
	return nil
}

func nameOf(key ast.Expr, constants map[string]string) string {
	switch key := key.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(key.Value)
		return text
	case *ast.Ident:
		if text := constants[key.Name]; text != "" {
			return text
		}
		return key.Name
	case *ast.SelectorExpr:
		return constants[key.Sel.Name]
	}
	return ""
}

// bodies are where the operator's code reads what somebody else has written, and the input of the row about it.
var bodies = map[string]string{
	"internal/sysdig/client.go read":           "the body of an answer",
	"internal/sysdig/errors.go bodyMessage":    "the body of an error",
	"internal/sysdig/iam.go ask":               "the body of IAM's answer",
	"internal/sysdig/stream.go unescaped":      "the body of an answer", // a text of it
	"internal/serving/gate.go gate":            "bodies of requests",
	"internal/serving/endpoint.go withoutBody": "bodies of requests",
}

// TestEveryBodyThatIsReadHasALimit looks for what may read one.
func TestEveryBodyThatIsReadHasALimit(t *testing.T) {
	rows, found := limits(t), map[string]bool{}
	for path, file := range sources(t, false, "controllers", "internal") {
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if name := readsAll(n); name != "" {
					found[path+" "+f.Name.Name] = true
				}
				return true
			})
		}
	}
	for where := range found {
		input, known := bodies[where]
		if !known {
			t.Errorf("%s reads what somebody else has written, and has no row in docs/limits.md", where)
		} else if !slices.ContainsFunc(rows, func(row limit) bool { return strings.Contains(row.input, input) }) {
			t.Errorf("docs/limits.md has no row for %s", input)
		}
	}
	for where := range bodies {
		if !found[where] {
			t.Errorf("%s reads nothing any more", where)
		}
	}
}

// readsAll is the name of what an expression calls to read a body; empty when it does not.
func readsAll(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
			if of, ok := f.X.(*ast.Ident); ok {
				name = of.Name + "." + name
			}
		}
		if slices.Contains([]string{"newStream", "io.ReadAll", "io.Copy", "json.NewDecoder", "json.Unmarshal", "yaml.Unmarshal", "bufio.NewReader", "bufio.NewScanner"}, name) {
			return name
		}
	case *ast.SelectorExpr:
		if n.Sel.Name == "ContentLength" {
			return n.Sel.Name
		}
	}
	return ""
}
