package container

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitCannotRun is what container runtimes exit with when the command never started.
const exitCannotRun = 125

// Init turns the calling process into the container whose [Spec] is on file descriptor 3. It does not return.
func Init() {
	runtime.LockOSThread()
	var spec Spec
	err := json.NewDecoder(os.NewFile(3, "spec")).Decode(&spec)
	if err == nil {
		err = become(&spec)
	}
	fmt.Fprintf(os.Stderr, "container: %v\n", err)
	os.Exit(exitCannotRun)
}

func become(spec *Spec) error {
	if err := makeRoot(spec); err != nil {
		return err
	}
	if err := enterRoot(spec); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	program, err := lookUp(spec.Argv[0], spec.Env)
	if err != nil {
		return err
	}
	// A process that is not root may open /dev/stdout only if it owns the pipe.
	_ = unix.Fchown(1, spec.UID, spec.GID)
	_ = unix.Fchown(2, spec.UID, spec.GID)
	unix.CloseOnExec(3)
	if err := dropRights(spec); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, spec.Argv, spec.Env))
}

func makeRoot(spec *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", spec.Root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for directory, mode := range map[string]os.FileMode{"proc": 0o755, "dev": 0o755, "etc": 0o755, "sys": 0o755, "tmp": 0o777 | os.ModeSticky} {
		path := filepath.Join(spec.Root, directory)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(spec.Root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := makeDevices(spec.Root); err != nil {
		return err
	}
	for path, content := range spec.Files {
		if err := os.WriteFile(filepath.Join(spec.Root, path), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, mount := range spec.Mounts {
		if err := bind(spec.Root, mount); err != nil {
			return fmt.Errorf("mount %s: %w", mount.Path, err)
		}
	}
	return nil
}

func makeDevices(root string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := bind(root, Mount{Host: "/dev/" + name, Path: "/dev/" + name}); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	shared := filepath.Join(root, "dev/shm")
	if err := os.Mkdir(shared, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", shared, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=64m"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	return nil
}

func bind(root string, mount Mount) error {
	target := filepath.Join(root, filepath.Clean("/"+mount.Path))
	info, err := os.Stat(mount.Host)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var file *os.File
		if file, err = os.OpenFile(target, os.O_CREATE, 0o644); err == nil {
			err = file.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(mount.Host, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if mount.ReadOnly {
		return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return nil
}

func enterRoot(spec *Spec) error {
	if err := unix.Chdir(spec.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the node's root: %w", err)
	}
	if spec.ReadOnlyRoot {
		if err := unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("read-only root: %w", err)
		}
	}
	directory := spec.Dir
	if directory == "" {
		directory = "/"
	}
	return unix.Chdir(directory)
}

// dropRights leaves the process what its security context says.
func dropRights(spec *Spec) error {
	var kept uint64
	for _, capability := range spec.Capabilities {
		kept |= 1 << capability
	}
	for capability := range unix.CAP_LAST_CAP + 1 {
		if kept>>capability&1 == 0 {
			// EINVAL: this kernel does not know the capability yet.
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0); err != nil && err != unix.EINVAL {
				return fmt.Errorf("drop capability %d: %w", capability, err)
			}
		}
	}
	if err := syscall.Setgroups(spec.Groups); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setresgid(spec.GID, spec.GID, spec.GID); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if err := syscall.Setresuid(spec.UID, spec.UID, spec.UID); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if spec.UID == 0 {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		low, high := uint32(kept), uint32(kept>>32)
		data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
		if err := unix.Capset(&header, &data[0]); err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	if spec.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	// A change of user clears it.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

func lookUp(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, variable := range env {
		path, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, directory := range filepath.SplitList(path) {
			candidate := filepath.Join(directory, program)
			if info, err := os.Stat(candidate); err == nil && !info.IsDir() {
				return candidate, nil
			}
		}
	}
	return "", fmt.Errorf("%q: executable file not found in $PATH", program)
}
