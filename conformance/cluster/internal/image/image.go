// Package image says which files of the host an image reference stands for: nothing is pulled.
package image

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Image is what the containers of one image run.
type Image struct {
	// Files maps paths in the container to files or directories of the host. They are mounted read-only.
	Files map[string]string `json:"files"`
	// Entrypoint is the command of pods that name none.
	Entrypoint []string `json:"entrypoint"`
	// User is the image's user and group.
	User int `json:"user"`
	// Env are the image's variables, NAME=value.
	Env []string `json:"env,omitempty"`
}

// Set maps repositories, references without tag and digest, to images.
type Set map[string]Image

// Find returns the image of a reference, whatever its tag or digest.
func (s Set) Find(reference string) (Image, bool) {
	image, ok := s[Repository(reference)]
	return image, ok
}

// Repository is a reference without its tag and digest.
func Repository(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	if i := strings.LastIndex(reference, ":"); i > strings.LastIndex(reference, "/") {
		reference = reference[:i]
	}
	return reference
}

// Of makes an image of one program: with the libraries it was linked with and the host's certificate authorities,
// run by user 65532 as distroless images are.
func Of(program string, entrypoint ...string) (Image, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return Image{}, err
	}
	name := "/" + filepath.Base(program)
	image := Image{Files: map[string]string{name: program}, Entrypoint: append([]string{name}, entrypoint...), User: 65532}
	libraries, err := libraries(program)
	if err != nil {
		return Image{}, fmt.Errorf("libraries of %s: %w", program, err)
	}
	maps.Copy(image.Files, libraries)
	if _, err := os.Stat("/etc/ssl/certs"); err == nil {
		image.Files["/etc/ssl/certs"] = "/etc/ssl/certs"
	}
	return image, nil
}

// libraries lists the loader and the shared libraries of a dynamically linked program.
func libraries(program string) (map[string]string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	dynamic := false
	for _, header := range file.Progs {
		dynamic = dynamic || header.Type == elf.PT_INTERP
	}
	if !dynamic {
		return nil, nil
	}
	output, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		// "libc.so.6 => /lib/libc.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)"
		for _, word := range strings.Fields(lines.Text()) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			target, err := filepath.EvalSymlinks(word)
			if err != nil {
				return nil, err
			}
			found[word] = target
		}
	}
	return found, nil
}
