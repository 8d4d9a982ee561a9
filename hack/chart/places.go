package main

import (
	"fmt"
	"strings"
)

// render makes one manifest a template: it puts values in the places of its kind, and the release's namespace wherever ours is.
func render(o object, c config) (string, error) {
	t := &text{}
	o = object{o.DeepCopy()}
	var err error
	switch o.GetKind() {
	case "CustomResourceDefinition":
		err = placeKeep(t, o)
	case "APIService":
		err = placeAuthority(t, o, c)
	case "Deployment":
		err = placeDeployment(t, o, c)
	case "PriorityClass":
		err = placePriorityClass(t, o)
	case "NetworkPolicy":
		err = placeEgress(t, o)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.key(), err)
	}
	placeNamespace(t, o.Object)
	return t.render(o)
}

// placeNamespace replaces our namespace in a tree: as a namespace, in names of DNS, and in references to objects.
func placeNamespace(t *text, tree any) {
	const release = "{{ .Release.Namespace }}"
	switch node := tree.(type) {
	case map[string]any:
		for key, value := range node {
			switch content, isString := value.(string); {
			case isString && key == "namespace" && content == namespace:
				node[key] = t.value(release)
			case isString && strings.HasPrefix(content, namespace+"/"):
				node[key] = t.value(release) + strings.TrimPrefix(content, namespace)
			default:
				placeNamespace(t, value)
			}
		}
	case []any:
		for i, value := range node {
			if content, isString := value.(string); isString && strings.Contains(content, "."+namespace+".svc") {
				node[i] = strings.Replace(content, "."+namespace+".svc", "."+t.value(release)+".svc", 1)
			} else {
				placeNamespace(t, value)
			}
		}
	}
}

// placeKeep lets an uninstallation leave the kinds, and all objects of them.
func placeKeep(t *text, o object) error {
	annotations, err := mapAt(o.Object, "metadata", "annotations")
	if err != nil {
		return err
	}
	annotations["helm.sh/resource-policy"] = t.when(".Values.crds.keep", []string{"helm.sh/resource-policy: keep"})
	return nil
}

// placeAuthority has the caBundle of an APIService written by whoever issues the certificate.
func placeAuthority(t *text, o object, c config) error {
	injected, err := find(c.certManager, "APIService", o.GetName())
	if err != nil {
		return err
	}
	metadata, err := mapAt(o.Object, "metadata")
	if err != nil {
		return err
	}
	annotations := injected.GetAnnotations()
	for key, value := range annotations {
		annotations[key] = strings.Replace(value, namespace+"/", t.value("{{ .Release.Namespace }}")+"/", 1)
	}
	lines, err := linesOf(map[string]any{"annotations": annotations})
	if err != nil {
		return err
	}
	metadata["annotations"] = t.when(withCertManager, lines)
	return nil
}

func placePriorityClass(t *text, o object) error {
	metadata, err := mapAt(o.Object, "metadata")
	if err != nil {
		return err
	}
	metadata["name"] = t.value("{{ .Values.priorityClass.name | default " + `"` + o.GetName() + `" }}`)
	return nil
}

// placeEgress adds rules for what no cluster but this one has, such as a proxy.
func placeEgress(t *text, o object) error {
	spec, err := mapAt(o.Object, "spec")
	if err != nil {
		return err
	}
	rules, ok := spec["egress"].([]any)
	if !ok {
		return fmt.Errorf("there is no egress")
	}
	spec["egress"] = append(rules, t.items(".Values.networkPolicy.extraEgress"))
	return nil
}

func placeDeployment(t *text, o object, c config) error {
	spec, errSpec := mapAt(o.Object, "spec")
	metadata, errMetadata := mapAt(o.Object, "spec", "template", "metadata")
	labels, errLabels := mapAt(o.Object, "spec", "template", "metadata", "labels")
	pod, errPod := mapAt(o.Object, "spec", "template", "spec")
	for _, err := range []error{errSpec, errMetadata, errLabels, errPod} {
		if err != nil {
			return err
		}
	}
	spec["replicas"] = t.value("{{ .Values.replicas }}")
	metadata["annotations"] = t.optional("annotations", ".Values.podAnnotations")
	labels["~"] = t.items(".Values.podLabels") // after the labels that are there
	for _, key := range []string{"affinity", "imagePullSecrets", "nodeSelector", "tolerations", "topologySpreadConstraints"} {
		pod[key] = t.optional(key, ".Values."+key)
	}
	class, err := priorityClassName(t, c)
	if err != nil {
		return err
	}
	pod["priorityClassName"] = class
	if err := placeContainer(t, o); err != nil {
		return err
	}
	return placeCertificate(t, o, c)
}

// priorityClassName names the class that production has, or one that was there before.
func priorityClassName(t *text, c config) (string, error) {
	production, err := find(c.production, "Deployment", name)
	if err != nil {
		return "", err
	}
	class, err := at(production.Object, "spec", "template", "spec", "priorityClassName")
	if err != nil {
		return "", err
	}
	return t.block(
		"{{- if .Values.priorityClass.name }}", "priorityClassName: {{ .Values.priorityClass.name }}",
		"{{- else if .Values.priorityClass.create }}", fmt.Sprintf("priorityClassName: %v", class), "{{- end }}",
	), nil
}

func placeContainer(t *text, o object) error {
	container, err := mapAt(o.Object, "spec", "template", "spec", "containers", 0)
	if err != nil {
		return err
	}
	args, hasArgs := container["args"].([]any)
	env, hasEnv := container["env"].([]any)
	if !hasArgs || !hasEnv {
		return fmt.Errorf("the container has no arguments or no environment")
	}
	container["args"] = append(args,
		t.when("not (and "+customServed+" "+externalServed+")",
			[]string{"- --serve={{ if " + customServed + " }}custom{{ else }}external{{ end }}"}),
		t.when(withCertManager, []string{"- --manage-certificates=false"}),
		t.items(".Values.extraArgs"),
	)
	container["env"] = append(env, t.items(".Values.extraEnv"))
	container["image"] = t.value(`"{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}"`)
	container["imagePullPolicy"] = t.block("{{- with .Values.image.pullPolicy }}", "imagePullPolicy: {{ . }}", "{{- end }}")
	container["resources"] = t.optional("resources", ".Values.resources")
	return nil
}

// placeCertificate mounts the certificate where it comes from.
func placeCertificate(t *text, o object, c config) error {
	with, err := find(c.certManager, "Deployment", name)
	if err != nil {
		return err
	}
	pod := []any{"spec", "template", "spec"}
	own, errOwn := mapAt(o.Object, append(pod, "volumes", 0)...)
	theirs, errTheirs := mapAt(with.Object, append(pod, "volumes", 0)...)
	mount, errMount := mapAt(o.Object, append(pod, "containers", 0, "volumeMounts", 0)...)
	for _, err := range []error{errOwn, errTheirs, errMount} {
		if err != nil {
			return err
		}
	}
	mine, errOwn := linesOf([]any{own})
	others, errTheirs := linesOf([]any{theirs})
	if errOwn != nil || errTheirs != nil {
		return fmt.Errorf("%w %w", errOwn, errTheirs)
	}
	spec, err := mapAt(o.Object, pod...)
	if err != nil {
		return err
	}
	volumes, ok := spec["volumes"].([]any)
	if !ok {
		return fmt.Errorf("there are no volumes")
	}
	volumes[0] = t.when(withCertManager, others, mine...)
	mount["readOnly"] = t.when(withCertManager, []string{"readOnly: true"})
	return nil
}
