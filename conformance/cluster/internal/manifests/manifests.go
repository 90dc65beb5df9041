// Package manifests installs definitions of resources from files: created, or applied on the server's side where they
// exist. The larger ones do not fit into the annotation that a client-side apply leaves.
package manifests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

const fieldManager = "gwanmun-cluster"

// The kinds that definitions come with, cluster-scoped all of them.
var resources = map[string]string{
	"CustomResourceDefinition":         "customresourcedefinitions",
	"ValidatingAdmissionPolicy":        "validatingadmissionpolicies",
	"ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}

// Read parses the YAML files of a directory.
func Read(directory string) ([]*unstructured.Unstructured, error) {
	paths, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no manifests in %s", directory)
	}
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		more, err := decode(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		objects = append(objects, more...)
	}
	return objects, nil
}

func decode(from io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	documents := yaml.NewYAMLReader(bufio.NewReader(from))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, err
		}
		if _, known := resources[object.GetKind()]; known {
			objects = append(objects, object)
		} else if len(object.Object) > 0 && object.GetKind() != "Kustomization" {
			return nil, fmt.Errorf("kind %q is no definition", object.GetKind())
		}
	}
}

// Apply installs the objects and waits until what they define is served.
func Apply(ctx context.Context, client dynamic.Interface, definitions discovery.ServerResourcesInterface, objects []*unstructured.Unstructured) error {
	failures := make([]error, len(objects))
	var all sync.WaitGroup
	for i, object := range objects {
		all.Go(func() {
			if err := apply(ctx, client, definitions, object); err != nil {
				failures[i] = fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

func apply(ctx context.Context, client dynamic.Interface, definitions discovery.ServerResourcesInterface, object *unstructured.Unstructured) error {
	version, err := schema.ParseGroupVersion(object.GetAPIVersion())
	if err != nil {
		return err
	}
	resource := client.Resource(version.WithResource(resources[object.GetKind()]))
	_, err = resource.Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		_, err = resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	}
	if err != nil || object.GetKind() != "CustomResourceDefinition" {
		return err
	}
	return waitServed(ctx, definitions, object)
}

// waitServed asks for the resource itself, in every version: a definition is large, and established a little before
// it is served.
func waitServed(ctx context.Context, client discovery.ServerResourcesInterface, definition *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, entry := range versions {
		version, ok := entry.(map[string]any)
		if !ok || version["served"] != true {
			continue
		}
		for !served(client, fmt.Sprintf("%s/%s", group, version["name"]), kind) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

func served(client discovery.ServerResourcesInterface, version, kind string) bool {
	list, err := client.ServerResourcesForGroupVersion(version)
	return err == nil && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind })
}
