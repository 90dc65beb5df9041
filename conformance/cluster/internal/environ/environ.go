// Package environ computes the environment of a container and the values that refer to its pod.
package environ

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Objects reads what a pod of a namespace may refer to. Errors are those of the API.
type Objects interface {
	Secret(namespace, name string) (*v1.Secret, error)
	ConfigMap(namespace, name string) (*v1.ConfigMap, error)
}

// Subject is the pod whose fields are referred to.
type Subject struct {
	Pod           *v1.Pod
	PodIP, HostIP string
}

// Of is the environment of a container: defaults (NAME=value), then its sources, then its own variables in order.
func Of(objects Objects, subject Subject, container *v1.Container, defaults []string) (map[string]string, error) {
	env := map[string]string{}
	for _, variable := range defaults {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	for _, source := range container.EnvFrom {
		values, err := fromSource(objects, subject.Pod.Namespace, source)
		if err != nil {
			return nil, err
		}
		for name, value := range values {
			env[source.Prefix+name] = value
		}
	}
	for _, variable := range container.Env {
		value, present := Expand(variable.Value, env), true
		if variable.ValueFrom != nil {
			var err error
			if value, present, err = fromReference(objects, subject, container, variable.ValueFrom); err != nil {
				return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
			}
		}
		if present {
			env[variable.Name] = value
		}
	}
	return env, nil
}

// List is the environment as a process takes it, sorted.
func List(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// Expand replaces $(NAME) by the variable's value where there is one; $$ stands for a dollar sign.
func Expand(text string, env map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		text = after
		if rest, ok := strings.CutPrefix(text, "$"); ok {
			out.WriteString("$")
			text = rest
			continue
		}
		if inner, ok := strings.CutPrefix(text, "("); ok {
			if name, rest, closed := strings.Cut(inner, ")"); closed {
				if value, known := env[name]; known {
					out.WriteString(value)
				} else {
					out.WriteString("$(" + name + ")")
				}
				text = rest
				continue
			}
		}
		out.WriteString("$")
	}
}

// Field is the value of a downward API field.
func Field(subject Subject, path string) (string, error) {
	pod := subject.Pod
	if name, key, ok := subscript(path); ok {
		switch name {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return quoted(pod.Labels), nil
	case "metadata.annotations":
		return quoted(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return subject.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return subject.HostIP, nil
	}
	return "", fmt.Errorf("field %s is not supported", path)
}

func subscript(path string) (name, key string, ok bool) {
	name, rest, found := strings.Cut(path, "['")
	key, closed := strings.CutSuffix(rest, "']")
	return name, key, found && closed
}

func quoted(values map[string]string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&out, "%s=%q\n", name, values[name])
	}
	return out.String()
}

func fromSource(objects Objects, namespace string, source v1.EnvFromSource) (map[string]string, error) {
	switch {
	case source.ConfigMapRef != nil:
		object, err := objects.ConfigMap(namespace, source.ConfigMapRef.Name)
		if absent(err, source.ConfigMapRef.Optional) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return object.Data, nil
	case source.SecretRef != nil:
		object, err := objects.Secret(namespace, source.SecretRef.Name)
		if absent(err, source.SecretRef.Optional) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		values := map[string]string{}
		for name, value := range object.Data {
			values[name] = string(value)
		}
		return values, nil
	}
	return nil, nil
}

func fromReference(objects Objects, subject Subject, container *v1.Container, from *v1.EnvVarSource) (value string, present bool, err error) {
	namespace := subject.Pod.Namespace
	switch {
	case from.FieldRef != nil:
		value, err = Field(subject, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = Resource(subject.Pod, container, from.ResourceFieldRef)
		return value, true, err
	case from.SecretKeyRef != nil:
		object, err := objects.Secret(namespace, from.SecretKeyRef.Name)
		if absent(err, from.SecretKeyRef.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		data, ok := object.Data[from.SecretKeyRef.Key]
		return string(data), ok, missing(ok, from.SecretKeyRef.Optional, from.SecretKeyRef.Key, "Secret", from.SecretKeyRef.Name)
	case from.ConfigMapKeyRef != nil:
		object, err := objects.ConfigMap(namespace, from.ConfigMapKeyRef.Name)
		if absent(err, from.ConfigMapKeyRef.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		value, ok := object.Data[from.ConfigMapKeyRef.Key]
		return value, ok, missing(ok, from.ConfigMapKeyRef.Optional, from.ConfigMapKeyRef.Key, "ConfigMap", from.ConfigMapKeyRef.Name)
	}
	return "", false, fmt.Errorf("source is not supported")
}

// Resource is the value of a resource field: in its divisor, rounded up, the node's where there is no limit.
func Resource(pod *v1.Pod, container *v1.Container, ref *v1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && (container == nil || ref.ContainerName != container.Name) {
		container = nil
		for i := range pod.Spec.Containers {
			if pod.Spec.Containers[i].Name == ref.ContainerName {
				container = &pod.Spec.Containers[i]
			}
		}
	}
	if container == nil {
		return "", fmt.Errorf("resource of unknown container %q", ref.ContainerName)
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := container.Resources.Limits
	if kind == "requests" {
		list = container.Resources.Requests
	}
	quantity, ok := list[v1.ResourceName(name)]
	if !ok {
		switch {
		case kind == "requests":
			return "0", nil
		case name == "cpu":
			return "2", nil
		default:
			return "", fmt.Errorf("container %s has no limit of %s", container.Name, name)
		}
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor.Set(1)
	}
	value, unit := quantity.MilliValue(), divisor.MilliValue()
	return fmt.Sprint((value + unit - 1) / unit), nil
}

func absent(err error, optional *bool) bool {
	return apierrors.IsNotFound(err) && optional != nil && *optional
}

func missing(present bool, optional *bool, key, kind, name string) error {
	if present || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("no key %s in %s %s", key, kind, name)
}
