package environ

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type objects struct{}

func (objects) Secret(_, name string) (*v1.Secret, error) {
	if name != "s" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	}
	return &v1.Secret{Data: map[string][]byte{"key": []byte("secret")}}, nil
}

func (objects) ConfigMap(_, name string) (*v1.ConfigMap, error) {
	if name != "c" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
	}
	return &v1.ConfigMap{Data: map[string]string{"key": "config"}}, nil
}

var subject = Subject{
	Pod:   &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"a/b": "label"}}, Spec: v1.PodSpec{NodeName: "n1"}},
	PodIP: "198.18.1.1", HostIP: "198.18.0.1",
}

func TestVariablesComeFromEverywhereInOrder(t *testing.T) {
	yes := true
	local := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	field := func(path string) *v1.EnvVarSource {
		return &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: path}}
	}
	container := &v1.Container{
		EnvFrom: []v1.EnvFromSource{
			{Prefix: "C_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: local("c")}},
			{SecretRef: &v1.SecretEnvSource{LocalObjectReference: local("none"), Optional: &yes}},
		},
		Env: []v1.EnvVar{
			{Name: "POD", ValueFrom: field("metadata.name")},
			{Name: "LABEL", ValueFrom: field("metadata.labels['a/b']")},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "SECRET", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: local("s"), Key: "key"}}},
			{Name: "NONE", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: local("c"), Key: "no", Optional: &yes}}},
			{Name: "CPU", ValueFrom: &v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.cpu"}}},
			{Name: "BOTH", Value: "$(POD).$(C_key)"},
			{Name: "DEFAULT", Value: "own"},
		},
		Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("1500m")}},
	}
	env, err := Of(objects{}, subject, container, []string{"DEFAULT=image", "HOME=/"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"POD": "p", "LABEL": "label", "IP": "198.18.1.1", "SECRET": "secret", "C_key": "config", "CPU": "2", "BOTH": "p.config", "DEFAULT": "own", "HOME": "/",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	if _, ok := env["NONE"]; ok {
		t.Error("an optional key that is not there became a variable")
	}
}

func TestWhatIsNotThereIsAnError(t *testing.T) {
	for name, from := range map[string]*v1.EnvVarSource{
		"object": {SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "none"}, Key: "key"}},
		"key":    {SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "s"}, Key: "none"}},
		"field":  {FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.phase"}},
	} {
		container := &v1.Container{Env: []v1.EnvVar{{Name: "V", ValueFrom: from}}}
		if env, err := Of(objects{}, subject, container, nil); err == nil {
			t.Errorf("%s: %v", name, env)
		}
	}
}

func TestExpansion(t *testing.T) {
	env := map[string]string{"A": "1", "B": "$(A)"}
	for text, want := range map[string]string{
		"$(A)-$(B)": "1-$(A)", "$(C)": "$(C)", "$$(A)": "$(A)", "$A ${A} $(A": "$A ${A} $(A", "cost: $": "cost: $",
	} {
		if got := Expand(text, env); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
