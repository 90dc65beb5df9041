package manifests

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDefinitionsAreRead(t *testing.T) {
	directory := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(directory); err == nil {
		t.Error("an empty directory has definitions")
	}
	write("kustomization.yaml", "kind: Kustomization\n")
	write("a.yaml", "# comment\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: b}\n")
	objects, err := Read(directory)
	if err != nil || len(objects) != 2 || objects[1].GetName() != "b" {
		t.Errorf("%v, %v", objects, err)
	}
	write("b.yaml", "kind: Pod\n")
	if _, err := Read(directory); err == nil {
		t.Error("a pod is taken for a definition")
	}
}
