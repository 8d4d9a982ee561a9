package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// object is a manifest.
type object struct{ *unstructured.Unstructured }

// key tells objects apart.
func (o object) key() string {
	return strings.Join([]string{o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName()}, "/")
}

// parse reads the manifests of a file.
func parse(text []byte) (objects []object, err error) {
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		o := object{&unstructured.Unstructured{}}
		if err := decoder.Decode(o.Unstructured); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
		objects = append(objects, o)
	}
}

// config is what the chart is made from.
type config struct{ standard, production, certManager []object }

// find returns the object of a kind and name.
func find(objects []object, kind, name string) (object, error) {
	for _, o := range objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o, nil
		}
	}
	return object{}, fmt.Errorf("there is no %s %s", kind, name)
}

// without returns the objects that are not among others.
func without(objects, others []object) (rest []object) {
	known := map[string]bool{}
	for _, o := range others {
		known[o.key()] = true
	}
	for _, o := range objects {
		if !known[o.key()] {
			rest = append(rest, o)
		}
	}
	return rest
}

// at returns what is at a path of maps and lists; an error tells where it ends.
func at(tree any, path ...any) (any, error) {
	for i, step := range path {
		var next any
		switch node := tree.(type) {
		case map[string]any:
			key, ok := step.(string)
			if ok {
				next = node[key]
			}
		case []any:
			index, ok := step.(int)
			if ok && index < len(node) {
				next = node[index]
			}
		}
		if next == nil {
			return nil, fmt.Errorf("there is nothing at %v", path[:i+1])
		}
		tree = next
	}
	return tree, nil
}

// mapAt is at for what has to be a map.
func mapAt(tree any, path ...any) (map[string]any, error) {
	found, err := at(tree, path...)
	if err != nil {
		return nil, err
	}
	node, ok := found.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("at %v there is a %v and no map", path, reflect.TypeOf(found))
	}
	return node, nil
}
