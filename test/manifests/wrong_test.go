package manifests_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
)

// wrong is one change that makes a right object wrong.
type wrong struct {
	name   string
	change string // merge patch to the spec
	path   string // the field that the error names
	cure   string // what the error says about it
}

func TestWrongBindingsAreRefusedWithACure(t *testing.T) {
	refuse(t, objects.Resource(bindings).Namespace("default"), rightBinding, slices.Concat(wrongBindings, wrongMetrics, wrongSelectors, wrongDimensions))
}

func TestWrongConnectionsAreRefusedWithACure(t *testing.T) {
	refuse(t, objects.Resource(connections), rightConnection, wrongConnections)
}

// refuse creates the objects with the validation that kubectl asks for. The right one has to be accepted.
func refuse(t *testing.T, resource dynamic.ResourceInterface, right string, table []wrong) {
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}
	if _, err := resource.Create(t.Context(), parse(t, right), options); err != nil {
		t.Fatalf("the right object is refused: %v", err)
	}
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			_, err := resource.Create(t.Context(), changed(t, right, test.change), options)
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				t.Fatalf("the error is %v, want a refusal", err)
			}
			mistakes := told(status)
			if len(mistakes) != 1 || !strings.HasPrefix(mistakes[0], test.path+": ") || !strings.Contains(mistakes[0], test.cure) {
				t.Errorf("the error tells of %d mistakes:\n%v\nwant one, of %s, that says %q", len(mistakes), err, test.path, test.cure)
			}
			if strings.Contains(err.Error(), "evaluating rule") {
				t.Errorf("a rule itself fails:\n%v", err)
			}
		})
	}
}

// told lists the mistakes as "field: message", without the API server's own remark that rules have to wait for what is
// wrong in the schema. Decoding errors come as one text.
func told(status apierrors.APIStatus) (mistakes []string) {
	details := status.Status().Details
	if details == nil || len(details.Causes) == 0 {
		return []string{unknownField.ReplaceAllString(status.Status().Message, "$2: $1")}
	}
	for _, cause := range details.Causes {
		if !strings.Contains(cause.Message, "some validation rules were not checked") {
			mistakes = append(mistakes, cause.Field+": "+cause.Message)
		}
	}
	return mistakes
}

var unknownField = regexp.MustCompile(`^.*(unknown field) "([^"]+)"$`)

func TestKubectlShowsTheFieldAndTheCure(t *testing.T) {
	clientSide, serverSide := []string{"apply"}, []string{"apply", "--server-side"}
	for _, test := range []struct {
		name    string
		command []string
		change  string
		path    string
		cure    string
	}{
		{"a rule", clientSide, `{metricName: Requests}`, "spec.metricName", "must be lower case letters"},
		{"a rule by server-side apply", serverSide, `{metricName: Requests}`, "spec.metricName", "must be lower case letters"},
		{"a misspelled field", clientSide, `{metricname: requests}`, "spec.metricname", "unknown field"},
		{"a misspelled field by server-side apply", serverSide, `{metricname: requests}`, ".spec.metricname", "field not declared in schema"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := changed(t, rightBinding, test.change).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			_, err = try(t, append(test.command, "-f", write(t, text))...)
			if err == nil || !strings.Contains(err.Error(), test.path) || !strings.Contains(err.Error(), test.cure) {
				t.Errorf("kubectl says %v, want it to name %s and to say %q", err, test.path, test.cure)
			}
		})
	}
}
