// Package kubelet runs the pods of one node as processes.
//
// [Kubelet] keeps one [pod] per uid, which has a goroutine of its own that makes its network and volumes, starts its
// containers (one goroutine each, `container.go`), writes its status and removes it. Everything that may matter to a
// pod pokes that goroutine, which then looks at all of it: there is no other order of events to get wrong.
package kubelet

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"gwanmun.test/conformance/cluster/internal/image"
	"gwanmun.test/conformance/cluster/internal/network"
	"gwanmun.test/conformance/cluster/internal/podlog"
)

// Config is what a node depends on.
type Config struct {
	// Node is its name, IP its address.
	Node, IP string
	// Directory holds volumes and roots.
	Directory string
	Images    image.Set
	// Resolver is the content of the pods' /etc/resolv.conf, %s their namespace.
	Resolver string
	Client   kubernetes.Interface
	Runtime  Runtime
	// Addresses are those of the pods.
	Addresses *network.Addresses
	// Settle is how long a container without a readiness probe may take to open a socket before it counts as ready
	// without one.
	Settle time.Duration
}

// Kubelet is one node.
type Kubelet struct {
	Config
	configMaps listers.ConfigMapLister
	secrets    listers.SecretLister

	mu     sync.Mutex
	pods   map[types.UID]*pod
	byName map[types.NamespacedName]*pod
}

// New makes a node that does nothing yet.
func New(config Config) *Kubelet {
	return &Kubelet{Config: config, pods: map[types.UID]*pod{}, byName: map[types.NamespacedName]*pod{}}
}

// Run registers the node and runs its pods until the context ends; then it stops them.
func (k *Kubelet) Run(ctx context.Context) error {
	if err := k.register(ctx); err != nil {
		return err
	}
	objects := informers.NewSharedInformerFactory(k.Client, 0)
	configMaps, secrets := objects.Core().V1().ConfigMaps(), objects.Core().V1().Secrets()
	k.configMaps, k.secrets = configMaps.Lister(), secrets.Lister()
	for _, informer := range []cache.SharedIndexInformer{configMaps.Informer(), secrets.Informer()} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    k.changed,
			UpdateFunc: func(_, object any) { k.changed(object) },
		}); err != nil {
			return err
		}
	}
	objects.Start(ctx.Done())
	objects.WaitForCacheSync(ctx.Done())

	own := informers.NewSharedInformerFactoryWithOptions(k.Client, 0, informers.WithTweakListOptions(func(options *metav1.ListOptions) {
		options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", k.Node).String()
	}))
	if _, err := own.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { k.observe(object.(*v1.Pod)) },
		UpdateFunc: func(_, object any) { k.observe(object.(*v1.Pod)) },
		DeleteFunc: k.gone,
	}); err != nil {
		return err
	}
	own.Start(ctx.Done())
	<-ctx.Done()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, pod := range k.pods {
		pod.kill()
	}
	return nil
}

// Log finds the log of a container: of its current instance, or of the one before.
func (k *Kubelet) Log(namespace, name, container string, previous bool) *podlog.Log {
	k.mu.Lock()
	pod := k.byName[types.NamespacedName{Namespace: namespace, Name: name}]
	k.mu.Unlock()
	if pod == nil {
		return nil
	}
	return pod.log(container, previous)
}

// observe takes a new version of a pod.
func (k *Kubelet) observe(object *v1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.pods[object.UID]; known != nil {
		known.update(object)
		return
	}
	finished := object.Status.Phase == v1.PodSucceeded || object.Status.Phase == v1.PodFailed
	if finished && object.DeletionTimestamp == nil {
		return
	}
	pod := newPod(k, object)
	k.pods[object.UID] = pod
	k.byName[types.NamespacedName{Namespace: object.Namespace, Name: object.Name}] = pod
	go pod.run()
}

// gone takes the news that a pod was deleted without waiting for the node.
func (k *Kubelet) gone(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	deleted, ok := object.(*v1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.pods[deleted.UID]; known != nil {
		last := deleted.DeepCopy()
		if last.DeletionTimestamp == nil {
			now, zero := metav1.Now(), int64(0)
			last.DeletionTimestamp, last.DeletionGracePeriodSeconds = &now, &zero
		}
		known.update(last)
	}
}

func (k *Kubelet) forget(pod *pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	object := pod.get()
	delete(k.pods, object.UID)
	name := types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
	if k.byName[name] == pod {
		delete(k.byName, name)
	}
}

// changed pokes the pods that may show a Secret or ConfigMap.
func (k *Kubelet) changed(object any) {
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, pod := range k.pods {
		if pod.get().Namespace == meta.GetNamespace() {
			pod.poke()
		}
	}
}

// Secret implements volume.Source.
func (k *Kubelet) Secret(namespace, name string) (*v1.Secret, error) {
	return k.secrets.Secrets(namespace).Get(name)
}

// ConfigMap implements volume.Source.
func (k *Kubelet) ConfigMap(namespace, name string) (*v1.ConfigMap, error) {
	return k.configMaps.ConfigMaps(namespace).Get(name)
}

// Token implements volume.Source.
func (k *Kubelet) Token(pod *v1.Pod, audience string, seconds *int64) (string, time.Time, error) {
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		ExpirationSeconds: seconds,
		BoundObjectRef:    &authentication.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := k.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}

func (k *Kubelet) address() (netip.Addr, error) {
	if k.Addresses == nil {
		return netip.MustParseAddr("198.18.1.1"), nil
	}
	return k.Addresses.Take()
}

func logger(object *v1.Pod) *slog.Logger {
	return slog.With("pod", object.Namespace+"/"+object.Name)
}
