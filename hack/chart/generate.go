package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"
)

const (
	name      = "sysdig-metrics-operator"
	namespace = "sysdig-metrics"
)

// What a value switches on.
const (
	customServed    = ".Values.serve.custom"
	externalServed  = ".Values.serve.external"
	withCertManager = ".Values.certManager.enabled"
)

//go:embed files
var files embed.FS

// generate makes the chart: the content of its files by name.
func generate(c config) (map[string][]byte, error) {
	chart := map[string][]byte{}
	for _, part := range []struct {
		objects []object
		when    func(object) (string, error)
	}{
		{c.standard, standardWhen},
		{without(c.production, c.standard), productionWhen},
		{without(c.certManager, c.standard), func(object) (string, error) { return withCertManager, nil }},
	} {
		for _, o := range part.objects {
			if o.GetKind() == "Namespace" {
				continue // Helm's own: --create-namespace
			}
			condition, err := part.when(o)
			if err != nil {
				return nil, err
			}
			file, err := fileOf(o.GetKind())
			if err != nil {
				return nil, err
			}
			manifest, err := render(o, c)
			if err != nil {
				return nil, err
			}
			chart[file] = append(chart[file], wrap(manifest, condition)...)
		}
	}
	return chart, addFiles(chart, c)
}

// wrap makes a manifest a document that is there on a condition, or always if that is empty.
func wrap(manifest, condition string) string {
	if condition == "" {
		return "---\n" + manifest
	}
	return "{{- if " + condition + " }}\n---\n" + manifest + "{{- end }}\n"
}

// standardWhen tells when an object of config/default is there.
func standardWhen(o object) (string, error) {
	switch {
	case o.GetKind() == "CustomResourceDefinition":
		return ".Values.crds.enabled", nil
	case strings.HasSuffix(o.GetName(), "-certificates"), o.GetKind() == "Secret":
		return "not " + withCertManager, nil
	case strings.HasSuffix(o.GetName(), "custom.metrics.k8s.io"), strings.HasSuffix(o.GetName(), "-custom-metrics-viewer"):
		return customServed, nil
	case strings.HasSuffix(o.GetName(), "external.metrics.k8s.io"), strings.HasSuffix(o.GetName(), "-external-metrics-viewer"):
		return externalServed, nil
	default:
		return "", nil
	}
}

// productionWhen tells when an object is there that only production has.
func productionWhen(o object) (string, error) {
	switch o.GetKind() {
	case "PodDisruptionBudget":
		return ".Values.podDisruptionBudget.enabled", nil
	case "NetworkPolicy":
		return ".Values.networkPolicy.enabled", nil
	case "PriorityClass":
		return ".Values.priorityClass.create", nil
	default:
		return "", fmt.Errorf("no value of the chart switches on %s: say which in hack/chart", o.key())
	}
}

// fileOf tells in which file of the chart a kind is.
func fileOf(kind string) (string, error) {
	switch kind {
	case "CustomResourceDefinition":
		return "templates/crds.yaml", nil
	case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
		return "templates/rbac.yaml", nil
	case "Issuer", "Certificate":
		return "templates/certificates.yaml", nil
	case "Deployment", "Service", "Secret", "APIService", "PodDisruptionBudget", "NetworkPolicy", "PriorityClass":
		return "templates/" + strings.ToLower(kind) + ".yaml", nil
	default:
		return "", fmt.Errorf("no file of the chart is for the kind %s: say which in hack/chart", kind)
	}
}

// addFiles adds what is kept in files. Those that end in .tmpl are filled in with what config says.
func addFiles(chart map[string][]byte, c config) error {
	defaults, err := defaultsOf(c)
	if err != nil {
		return err
	}
	return fs.WalkDir(files, "files", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		target := strings.TrimPrefix(file, "files/")
		if path.Base(target) == "NOTES.txt" {
			target = "templates/NOTES.txt"
		}
		if name, isTemplate := strings.CutSuffix(target, ".tmpl"); isTemplate {
			target = name
			filled, err := template.New(name).Funcs(template.FuncMap{"yaml": asYAML}).Option("missingkey=error").Parse(string(content))
			if err != nil {
				return fmt.Errorf("reading %s: %w", file, err)
			}
			var out bytes.Buffer
			if err := filled.Execute(&out, defaults); err != nil {
				return fmt.Errorf("filling in %s: %w", file, err)
			}
			content = out.Bytes()
		}
		chart[target] = content
		return nil
	})
}

// asYAML is a value as YAML below a key, indented by two.
func asYAML(value any) (string, error) {
	lines, err := linesOf(value)
	return "  " + strings.Join(lines, "\n  "), err
}

// settings are what config says of the operator's pods.
type settings struct {
	Replicas  any
	Resources any
	Spread    any
}

// defaults are what the files of the chart say about config.
type defaults struct {
	Repository, Tag, Version string
	Standard, Production     settings
}

func defaultsOf(c config) (d defaults, err error) {
	var image string
	if d.Standard, image, err = settingsOf(c.standard); err != nil {
		return d, err
	}
	if d.Production, _, err = settingsOf(c.production); err != nil {
		return d, err
	}
	found := false
	if d.Repository, d.Tag, found = strings.Cut(image, ":"); !found {
		return d, fmt.Errorf("the image %s has no tag", image)
	}
	d.Version = strings.TrimPrefix(d.Tag, "v")
	return d, nil
}

func settingsOf(objects []object) (s settings, image string, err error) {
	deployment, err := find(objects, "Deployment", name)
	if err != nil {
		return s, "", err
	}
	var errReplicas, errResources, errImage error
	s.Replicas, errReplicas = at(deployment.Object, "spec", "replicas")
	s.Resources, errResources = at(deployment.Object, "spec", "template", "spec", "containers", 0, "resources")
	s.Spread, _ = at(deployment.Object, "spec", "template", "spec", "topologySpreadConstraints") // in production only
	found, errImage := at(deployment.Object, "spec", "template", "spec", "containers", 0, "image")
	image, _ = found.(string)
	return s, image, errors.Join(errReplicas, errResources, errImage)
}
