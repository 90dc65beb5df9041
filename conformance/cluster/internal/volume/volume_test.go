package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gwanmun.test/conformance/cluster/internal/environ"
)

type source struct {
	secrets    map[string]*v1.Secret
	configMaps map[string]*v1.ConfigMap
	tokens     int
}

func (s *source) Secret(_, name string) (*v1.Secret, error) {
	if object, ok := s.secrets[name]; ok {
		return object, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

func (s *source) ConfigMap(_, name string) (*v1.ConfigMap, error) {
	if object, ok := s.configMaps[name]; ok {
		return object, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
}

func (s *source) Token(_ *v1.Pod, audience string, seconds *int64) (string, time.Time, error) {
	s.tokens++
	return fmt.Sprintf("%s-%d", audience, s.tokens), start.Add(time.Duration(*seconds) * time.Second), nil
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func subject(volumes ...v1.Volume) environ.Subject {
	return environ.Subject{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Labels: map[string]string{"a": "b"}}, Spec: v1.PodSpec{Volumes: volumes}}}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func TestEveryKindOfVolume(t *testing.T) {
	seconds, mode := int64(3600), int32(0o400)
	from := &source{
		secrets:    map[string]*v1.Secret{"s": {Data: map[string][]byte{"tls.crt": []byte("CERT"), "tls.key": []byte("KEY")}}},
		configMaps: map[string]*v1.ConfigMap{"c": {Data: map[string]string{"ca.crt": "CA"}, BinaryData: map[string][]byte{"bin": {0, 1}}}},
	}
	name := v1.LocalObjectReference{Name: "c"}
	pod := subject(
		v1.Volume{Name: "secret", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s", DefaultMode: &mode}}},
		v1.Volume{Name: "config", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: name, Items: []v1.KeyToPath{{Key: "ca.crt", Path: "sub/dir/ca"}}}}},
		v1.Volume{Name: "empty", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		v1.Volume{Name: "fields", VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}}},
		v1.Volume{Name: "all", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "gwanmun", ExpirationSeconds: &seconds}},
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: name}},
		}}}},
	)
	volumes := &Volumes{Directory: t.TempDir(), Source: from}
	if err := volumes.Sync(pod, start); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"secret/tls.key": "KEY", "config/sub/dir/ca": "CA", "fields/labels": "a=\"b\"\n", "all/token": "gwanmun-1", "all/bin": "\x00\x01", "all/ca.crt": "CA",
	} {
		if got := read(t, volumes.Directory, path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(volumes.Directory, "secret/tls.key")); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("mode of the key: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(volumes.Directory, "empty")); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("mode of the empty directory: %v, %v", info.Mode(), err)
	}
	// Tokens live on until four fifths of their life have gone.
	for after, want := range map[time.Duration]int{time.Minute: 1, 47 * time.Minute: 1, 49 * time.Minute: 2} {
		again := &source{secrets: from.secrets, configMaps: from.configMaps}
		fresh := &Volumes{Directory: t.TempDir(), Source: again}
		if err := fresh.Sync(pod, start); err != nil {
			t.Fatal(err)
		}
		if err := fresh.Sync(pod, start.Add(after)); err != nil || again.tokens != want {
			t.Errorf("after %s %d tokens were asked for, want %d (%v)", after, again.tokens, want, err)
		}
	}
}

func TestMissingObjectsBlockUnlessOptional(t *testing.T) {
	yes := true
	required := v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "none"}}}
	volumes := &Volumes{Directory: t.TempDir(), Source: &source{}}
	if err := volumes.Sync(subject(required), start); err == nil {
		t.Error("a missing Secret did not matter")
	}
	required.Secret.Optional = &yes
	if err := volumes.Sync(subject(required), start); err != nil {
		t.Error(err)
	}
	other := v1.Volume{Name: "w", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/"}}}
	if err := volumes.Sync(subject(other), start); err == nil {
		t.Error("a volume of the host was mounted as something else")
	}
}

func TestUpdatesAreAtomic(t *testing.T) {
	directory := t.TempDir()
	pair := func(text string) map[string]File {
		return map[string]File{"a": {[]byte(text), 0o644}, "b": {[]byte(text), 0o644}}
	}
	if _, err := Write(directory, pair("0"), -1); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// One resolution of the link: both files are from the same generation.
			root, err := filepath.EvalSymlinks(filepath.Join(directory, "..data"))
			if err != nil {
				continue // its directory was removed between two steps of the resolution
			}
			a, errA := os.ReadFile(filepath.Join(root, "a"))
			b, errB := os.ReadFile(filepath.Join(root, "b"))
			if errA == nil && errB == nil && string(a) != string(b) {
				t.Errorf("torn: %q and %q", a, b)
				return
			}
			if _, err := os.ReadFile(filepath.Join(directory, "a")); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
	})
	for i := range 200 {
		if changed, err := Write(directory, pair(fmt.Sprint(i+1)), -1); err != nil || !changed {
			t.Fatalf("update %d: %v, %v", i, changed, err)
		}
	}
	close(stop)
	readers.Wait()
	if changed, err := Write(directory, pair("200"), -1); err != nil || changed {
		t.Errorf("the same files again: %v, %v", changed, err)
	}
	if _, err := Write(directory, map[string]File{"b": {[]byte("x"), 0o644}}, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(directory, "a")); !os.IsNotExist(err) {
		t.Errorf("a file that is gone still shows: %v", err)
	}
	entries, _ := os.ReadDir(directory)
	if len(entries) != 3 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestPathsStayInTheVolume(t *testing.T) {
	if _, err := Write(t.TempDir(), map[string]File{"../x": {nil, 0o644}}, -1); err == nil {
		t.Error("a file was written outside its volume")
	}
}
