package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file of a volume.
type File struct {
	Data []byte
	Mode os.FileMode
}

// The link that all visible files go through.
const current = "..data"

// Write makes the directory show exactly these files, all at once: readers see the old ones or the new ones. Every
// visible name is a link through `..data`, which is swapped, as the kubelet does it; programs that watch files
// depend on it. It says whether anything changed. group, unless negative, may read the files.
func Write(directory string, files map[string]File, group int) (bool, error) {
	if same(directory, files) {
		return false, nil
	}
	fresh, err := os.MkdirTemp(directory, "..data_")
	if err != nil {
		return false, err
	}
	if err := fill(fresh, files, group); err != nil {
		return false, errors.Join(err, os.RemoveAll(fresh))
	}
	old, _ := os.Readlink(filepath.Join(directory, current))
	swap := filepath.Join(directory, "..data_tmp")
	_ = os.Remove(swap)
	if err := os.Symlink(filepath.Base(fresh), swap); err != nil {
		return false, err
	}
	if err := os.Rename(swap, filepath.Join(directory, current)); err != nil {
		return false, err
	}
	if err := link(directory, files); err != nil {
		return false, err
	}
	if old != "" {
		return true, os.RemoveAll(filepath.Join(directory, old))
	}
	return true, nil
}

func fill(directory string, files map[string]File, group int) error {
	if err := os.Chmod(directory, 0o755); err != nil {
		return err
	}
	for name, file := range files {
		path := filepath.Join(directory, name)
		if !filepath.IsLocal(name) {
			return fmt.Errorf("path %q leaves the volume", name)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			return err
		}
		mode := file.Mode
		if group >= 0 {
			mode |= 0o040
			if err := os.Chown(path, -1, group); err != nil {
				return err
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

// link adds the visible names that are missing and takes away those that are gone.
func link(directory string, files map[string]File) error {
	wanted := map[string]bool{}
	for name := range files {
		first, _, _ := strings.Cut(name, "/")
		wanted[first] = true
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "..") {
			continue
		}
		if wanted[name] {
			delete(wanted, name)
		} else if err := os.Remove(filepath.Join(directory, name)); err != nil {
			return err
		}
	}
	for name := range wanted {
		if err := os.Symlink(filepath.Join(current, name), filepath.Join(directory, name)); err != nil {
			return err
		}
	}
	return nil
}

func same(directory string, files map[string]File) bool {
	root := filepath.Join(directory, current)
	if _, err := os.Stat(root); err != nil {
		return false
	}
	var found []string
	target, err := filepath.EvalSymlinks(root)
	if err != nil {
		return false
	}
	err = filepath.WalkDir(target, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(target, path)
			found = append(found, name)
		}
		return err
	})
	if err != nil || len(found) != len(files) {
		return false
	}
	return !slices.ContainsFunc(found, func(name string) bool {
		file, known := files[name]
		data, err := os.ReadFile(filepath.Join(target, name))
		return !known || err != nil || !bytes.Equal(data, file.Data)
	})
}
