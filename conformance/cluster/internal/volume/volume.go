// Package volume gives pods their files: Secrets, ConfigMaps, fields of the pod, tokens of its ServiceAccount, and
// empty directories.
//
// [Volumes.Sync] is called again whenever something may have changed, and changes files only if it did.
package volume

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gwanmun.test/conformance/cluster/internal/environ"
)

// Source is where the contents come from.
type Source interface {
	environ.Objects
	// Token asks for a token that ends with the pod, and says when it expires.
	Token(pod *v1.Pod, audience string, seconds *int64) (string, time.Time, error)
}

// Volumes are those of one pod. Not for concurrent use.
type Volumes struct {
	// Directory holds one directory per volume.
	Directory string
	Source    Source
	tokens    map[string]token
}

type token struct {
	value string
	// Tokens are replaced after four fifths of their life, like the kubelet does it.
	renew time.Time
}

// Path is the directory of a volume.
func (v *Volumes) Path(name string) string { return filepath.Join(v.Directory, name) }

// Sync brings every volume up to date. An object that is missing is an error; the other volumes are done
// nevertheless.
func (v *Volumes) Sync(subject environ.Subject, now time.Time) error {
	group := -1
	if context := subject.Pod.Spec.SecurityContext; context != nil && context.FSGroup != nil {
		group = int(*context.FSGroup)
	}
	var failed error
	for i := range subject.Pod.Spec.Volumes {
		volume := &subject.Pod.Spec.Volumes[i]
		if err := v.sync(subject, volume, group, now); err != nil {
			failed = cmp.Or(failed, fmt.Errorf("volume %s: %w", volume.Name, err))
		}
	}
	return failed
}

func (v *Volumes) sync(subject environ.Subject, volume *v1.Volume, group int, now time.Time) error {
	directory := v.Path(volume.Name)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	if volume.EmptyDir != nil {
		if group >= 0 {
			if err := os.Chown(directory, -1, group); err != nil {
				return err
			}
		}
		return os.Chmod(directory, 0o777)
	}
	files, err := v.files(subject, volume, now)
	if err != nil {
		return err
	}
	_, err = Write(directory, files, group)
	return err
}

func (v *Volumes) files(subject environ.Subject, volume *v1.Volume, now time.Time) (map[string]File, error) {
	namespace := subject.Pod.Namespace
	switch {
	case volume.Secret != nil:
		from := volume.Secret
		return v.secret(namespace, from.SecretName, from.Items, from.Optional, from.DefaultMode)
	case volume.ConfigMap != nil:
		from := volume.ConfigMap
		return v.configMap(namespace, from.Name, from.Items, from.Optional, from.DefaultMode)
	case volume.DownwardAPI != nil:
		return downward(subject, volume.DownwardAPI.Items, volume.DownwardAPI.DefaultMode)
	case volume.Projected != nil:
		files := map[string]File{}
		for i := range volume.Projected.Sources {
			more, err := v.projected(subject, volume.Name, &volume.Projected.Sources[i], volume.Projected.DefaultMode, now)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, more)
		}
		return files, nil
	}
	return nil, fmt.Errorf("this kind of volume is not supported")
}

func (v *Volumes) projected(subject environ.Subject, volume string, from *v1.VolumeProjection, mode *int32, now time.Time) (map[string]File, error) {
	namespace := subject.Pod.Namespace
	switch {
	case from.Secret != nil:
		return v.secret(namespace, from.Secret.Name, from.Secret.Items, from.Secret.Optional, mode)
	case from.ConfigMap != nil:
		return v.configMap(namespace, from.ConfigMap.Name, from.ConfigMap.Items, from.ConfigMap.Optional, mode)
	case from.DownwardAPI != nil:
		return downward(subject, from.DownwardAPI.Items, mode)
	case from.ServiceAccountToken != nil:
		path := from.ServiceAccountToken.Path
		value, err := v.token(subject.Pod, volume+"/"+path, from.ServiceAccountToken, now)
		return map[string]File{path: {Data: []byte(value), Mode: fileMode(nil, mode)}}, err
	}
	return nil, fmt.Errorf("this kind of projection is not supported")
}

func (v *Volumes) token(pod *v1.Pod, key string, from *v1.ServiceAccountTokenProjection, now time.Time) (string, error) {
	if held, ok := v.tokens[key]; ok && now.Before(held.renew) {
		return held.value, nil
	}
	value, expires, err := v.Source.Token(pod, from.Audience, from.ExpirationSeconds)
	if err != nil {
		return "", err
	}
	if v.tokens == nil {
		v.tokens = map[string]token{}
	}
	v.tokens[key] = token{value, now.Add(expires.Sub(now) * 4 / 5)}
	return value, nil
}

func (v *Volumes) secret(namespace, name string, items []v1.KeyToPath, optional *bool, mode *int32) (map[string]File, error) {
	object, err := v.Source.Secret(namespace, name)
	if err != nil {
		return absent(err, optional)
	}
	return choose(object.Data, items, optional, mode)
}

func (v *Volumes) configMap(namespace, name string, items []v1.KeyToPath, optional *bool, mode *int32) (map[string]File, error) {
	object, err := v.Source.ConfigMap(namespace, name)
	if err != nil {
		return absent(err, optional)
	}
	data := maps.Clone(object.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	return choose(data, items, optional, mode)
}

func absent(err error, optional *bool) (map[string]File, error) {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	}
	return nil, err
}

func choose(data map[string][]byte, items []v1.KeyToPath, optional *bool, mode *int32) (map[string]File, error) {
	files := map[string]File{}
	if len(items) == 0 {
		for _, key := range slices.Collect(maps.Keys(data)) {
			files[key] = File{data[key], fileMode(nil, mode)}
		}
		return files, nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return nil, fmt.Errorf("no key %s", item.Key)
		}
		files[item.Path] = File{value, fileMode(item.Mode, mode)}
	}
	return files, nil
}

func downward(subject environ.Subject, items []v1.DownwardAPIVolumeFile, mode *int32) (map[string]File, error) {
	files := map[string]File{}
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = environ.Field(subject, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = environ.Resource(subject.Pod, nil, item.ResourceFieldRef)
		}
		if err != nil {
			return nil, err
		}
		files[item.Path] = File{[]byte(value), fileMode(item.Mode, mode)}
	}
	return files, nil
}

func fileMode(own, volumes *int32) os.FileMode {
	switch {
	case own != nil:
		return os.FileMode(*own)
	case volumes != nil:
		return os.FileMode(*volumes)
	default:
		return 0o644
	}
}
