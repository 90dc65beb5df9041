package image

import (
	"os/exec"
	"testing"
)

func TestTagsAndDigestsDoNotMatter(t *testing.T) {
	images := Set{"registry.test:5000/a/echo": {User: 1}, "gwanmun": {User: 2}}
	for reference, user := range map[string]int{
		"registry.test:5000/a/echo":                1,
		"registry.test:5000/a/echo:v0.1.0":         1,
		"registry.test:5000/a/echo:v1@sha256:0123": 1,
		"gwanmun":        2,
		"gwanmun:latest": 2,
	} {
		if image, ok := images.Find(reference); !ok || image.User != user {
			t.Errorf("%s: %+v, %v", reference, image, ok)
		}
	}
	for _, reference := range []string{"other:v1", "a/gwanmun", "registry.test:5000/a"} {
		if _, ok := images.Find(reference); ok {
			t.Errorf("%s was found", reference)
		}
	}
}

func TestDynamicProgramsBringTheirLibraries(t *testing.T) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	image, err := Of(shell)
	if err != nil {
		t.Fatal(err)
	}
	if len(image.Files) < 3 || image.Files["/bash"] == "" {
		t.Errorf("files %v", image.Files)
	}
}
