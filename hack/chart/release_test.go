package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// The release builds its images without the Dockerfile. What runs in them, on what and as whom must be the same.
func TestTheReleaseBuildsWhatTheDockerfileBuilds(t *testing.T) {
	text, err := os.ReadFile("../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var release struct {
		Builds []struct {
			Main                        string
			Env, Flags, Ldflags, Goarch []string
		}
		Kos []struct {
			BaseImage    string `json:"base_image"`
			User         string
			Platforms    []string
			Repositories []string
		}
	}
	if err := yaml.Unmarshal(text, &release); err != nil || len(release.Builds) != 1 || len(release.Kos) != 1 {
		t.Fatalf("%d builds, %d images, %v", len(release.Builds), len(release.Kos), err)
	}
	build, image := release.Builds[0], release.Kos[0]
	for _, c := range []struct{ file, pattern, want string }{
		{"Dockerfile", `ARG RUNTIME=(\S+)`, image.BaseImage},
		{"Dockerfile", `USER (\S+)`, image.User},
		{"Dockerfile", `ENV (CGO_ENABLED=0)`, build.Env[0]},
		{"Dockerfile", `go build (\S+) `, build.Flags[0]},
		{"Dockerfile", `-ldflags "(.*) -X`, strings.Split(build.Ldflags[0], " -X")[0]},
		{"Dockerfile", `-X (\S+)=\$`, strings.Split(strings.Split(build.Ldflags[0], "-X ")[1], "=")[0]},
		{"Dockerfile", `-o /sysdig-metrics-operator (\S+)`, build.Main},
		{"config/manager/kustomization.yaml", `newName: (\S+)`, image.Repositories[0]},
	} {
		content, err := os.ReadFile("../../" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(c.pattern).FindSubmatch(content)
		if found == nil || string(found[1]) != c.want {
			t.Errorf("%s has %q, the release %q", c.file, found, c.want)
		}
	}
	for _, arch := range build.Goarch {
		if !slices.Contains(image.Platforms, "linux/"+arch) {
			t.Errorf("there is a program for %s, and no image", arch)
		}
	}
}

// No workflow has a permission that a job does not name, and none lets the checkout keep its token.
func TestWorkflowsHaveLeastPermissions(t *testing.T) {
	for name, may := range map[string]map[string]map[string]string{
		"ci":      {"test": {"contents": "read"}, "vulnerabilities": {"contents": "read"}, "release": {"contents": "read"}},
		"release": {"release": {"contents": "write", "packages": "write", "id-token": "write"}},
	} {
		text, err := os.ReadFile("../../.github/workflows/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var workflow struct {
			Permissions *map[string]string
			Jobs        map[string]struct {
				Permissions map[string]string
				Timeout     int `json:"timeout-minutes"`
				Steps       []struct {
					Uses, Run string
					With      map[string]any
				}
			}
		}
		if err := yaml.Unmarshal(text, &workflow); err != nil {
			t.Fatal(err)
		}
		if workflow.Permissions == nil || len(*workflow.Permissions) > 0 || len(workflow.Jobs) != len(may) {
			t.Errorf("%s: %d jobs, and by default they may %v", name, len(workflow.Jobs), workflow.Permissions)
		}
		for id, job := range workflow.Jobs {
			for what, got := range job.Permissions {
				if may[id][what] != got {
					t.Errorf("%s: the job %s may %s %s", name, id, got, what)
				}
			}
			if job.Timeout == 0 {
				t.Errorf("%s: the job %s may run for ever", name, id)
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
					t.Errorf("%s: the job %s leaves its token in the checkout", name, id)
				}
				if step.Uses != "" && !regexp.MustCompile(`@(v\d+(\.\d+)*|[0-9a-f]{40})$`).MatchString(step.Uses) {
					t.Errorf("%s: %s is not pinned", name, step.Uses)
				}
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: an expression is part of the script %q", name, step.Run)
				}
			}
		}
	}
}
