package manifests_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// step is a command of docs/coexistence.md.
type step struct {
	command string
	before  func(t *testing.T) // what happens in the cluster first
	refused bool
}

const applyFolder = "kubectl apply --server-side --field-manager=sysdig-metrics -k config/"

// TestThePageAboutCoexistence runs the page's commands in the page's order, in a cluster where another adapter owns external
// metrics.
func TestThePageAboutCoexistence(t *testing.T) {
	renewAPIServices(t)
	remove(t, "apiservice", v1beta1External)
	kubectl(t, "apply", "-f", write(t, foreign(v1beta1External)))
	foreignGoes := func(t *testing.T) { remove(t, "apiservice", v1beta1External) }
	foreignTakes := func(t *testing.T) {
		kubectl(t, "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", write(t, foreign(v1beta1External)))
	}
	mine := func(t *testing.T) {
		wantBackend(t, v1beta1External, them)
		foreignGoes(t)
	}
	steps := []step{
		{command: "kubectl get apiservices"},
		{command: applyFolder + "overlays/custom-only"},
		{command: applyFolder + "overlays/external-only", refused: true},
		{command: "kubectl delete apiservices -l app.kubernetes.io/part-of=sysdig-metrics"},
		{command: applyFolder + "overlays/custom-only"},
		{command: applyFolder + "default", refused: true},
		{command: "kubectl get apiservices", before: foreignGoes},
		{command: applyFolder + "default"},
		{command: strings.Replace(applyFolder, "-k", "--force-conflicts -k", 1) + "default", before: foreignTakes},
		{command: "kubectl get apiservices -l app.kubernetes.io/part-of=sysdig-metrics", before: foreignTakes},
		{command: "kubectl label apiservice " + v1beta1External + " app.kubernetes.io/part-of-"},
		{command: "kubectl get apiservices -l app.kubernetes.io/part-of=sysdig-metrics"},
		{command: "kubectl delete apiservices -l app.kubernetes.io/part-of=sysdig-metrics"},
		{command: "kubectl delete -k config/operator", before: mine}, // nobody answers for it here, so the namespace could not go
	}
	var want []string
	for _, s := range steps {
		want = append(want, s.command)
	}
	if got := commandsOf(t, "docs/coexistence.md"); !slices.Equal(got, want) {
		t.Fatalf("the page's commands are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range steps {
		if s.before != nil {
			s.before(t)
		}
		_, err := try(t, strings.Fields(strings.ReplaceAll(s.command, " config/", " "+config+"/"))[1:]...)
		if (err != nil) != s.refused {
			t.Fatalf("%s: %v", s.command, err)
		}
		if s.refused && !strings.Contains(err.Error(), "Apply failed with") {
			t.Errorf("%s: %v, want a conflict", s.command, err)
		}
	}
}

// The README installs and uninstalls with commands that were tested here.
func TestTheReadmeInstallsAndUninstallsAsTested(t *testing.T) {
	commands := commandsOf(t, "README.md")
	for _, want := range []string{
		applyFolder + "default", "kubectl delete apiservices -l app.kubernetes.io/part-of=sysdig-metrics", "kubectl delete -k config/operator",
	} {
		if !slices.Contains(commands, want) {
			t.Errorf("the README does not say %q", want)
		}
	}
	for _, command := range commands {
		if strings.HasPrefix(command, "kubectl delete -k") && command != "kubectl delete -k config/operator" {
			t.Errorf("the README says %q, which deletes other adapters' APIServices", command)
		}
	}
}

// commandsOf are the kubectl commands in the plain code blocks of a document.
func commandsOf(t *testing.T, document string) (commands []string) {
	t.Helper()
	content, err := os.ReadFile("../../" + document)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(string(content), -1) {
		for line := range strings.Lines(block[2]) {
			if block[1] == "" && strings.HasPrefix(line, "kubectl ") {
				commands = append(commands, strings.TrimSpace(line))
			}
		}
	}
	return commands
}
