//! The objects, by key, with the indexes translation asks for.

use gwanmun_api::{Kind, Object, ObjectKey, Typed, core, istio};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

/// The objects, by key. Iteration is always in key order.
#[derive(Clone, Debug, Default)]
pub struct Store {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    /// Maintained with every change: what [`index_keys`] says of each object.
    index: BTreeMap<Index, BTreeSet<ObjectKey>>,
}

/// What objects are looked up by, besides their keys.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Index {
    /// ServiceEntries by host.
    EntryHost(String),
    /// Pods by namespace and address.
    PodAddress(String, String),
    /// DestinationRules by namespace and host, as it is written.
    RuleHost(String, String),
    /// EndpointSlices by namespace and name of their Service.
    Slices(String, String),
}

/// An object together with its typed content, to which it dereferences.
#[derive(Debug)]
pub struct Ref<'a, T> {
    /// The object.
    pub object: &'a Arc<Object>,
    /// Its content.
    pub content: &'a T,
}

impl<T> Clone for Ref<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<'_, T> {}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.content
    }
}

impl<T> Ref<'_, T> {
    /// The object's key.
    pub fn key(&self) -> ObjectKey {
        self.object.key()
    }

    /// The object's namespace.
    pub fn namespace(&self) -> &str {
        &self.object.meta.namespace
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.object.meta.name
    }
}

/// The label that ties an EndpointSlice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Store {
    /// Adds or replaces an object.
    pub fn apply(&mut self, object: impl Into<Arc<Object>>) {
        let object = object.into();
        let key = object.key();
        self.delete(&key);
        for index in index_keys(&object) {
            self.index.entry(index).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
    }

    /// Removes an object, if it is there.
    pub fn delete(&mut self, key: &ObjectKey) {
        let Some(old) = self.objects.remove(key) else {
            return;
        };
        for index in index_keys(&old) {
            if let Some(keys) = self.index.get_mut(&index) {
                keys.remove(key);
                if keys.is_empty() {
                    self.index.remove(&index);
                }
            }
        }
    }

    /// The object of this key.
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Every object, in key order.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Object>)> {
        self.objects.iter()
    }

    /// The object of kind `T` with this name; the namespace is ignored for cluster-scoped kinds.
    pub fn get<T: Typed>(&self, namespace: &str, name: &str) -> Option<Ref<'_, T>> {
        let object = self
            .objects
            .get(&ObjectKey::new(T::KIND, namespace, name))?;
        let content = object.typed()?;
        Some(Ref { object, content })
    }

    /// The objects of a kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.objects
            .range(ObjectKey::new(kind, "", "")..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// The objects of kind `T`, by namespace and name.
    pub fn all<T: Typed>(&self) -> impl Iterator<Item = Ref<'_, T>> {
        self.of_kind(T::KIND).filter_map(|object| {
            let content = object.typed()?;
            Some(Ref { object, content })
        })
    }

    /// The objects of kind `T` in a namespace, by name.
    pub fn in_namespace<'a, T: Typed>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = Ref<'a, T>> {
        self.objects
            .range(ObjectKey::new(T::KIND, namespace, "")..)
            .take_while(move |(key, _)| key.kind == T::KIND && key.namespace == namespace)
            .filter_map(|(_, object)| {
                let content = object.typed()?;
                Some(Ref { object, content })
            })
    }

    /// The objects of kind `T`, oldest first ([`Object::cmp_age`]).
    pub fn by_age<T: Typed>(&self) -> Vec<Ref<'_, T>> {
        let mut all: Vec<Ref<'_, T>> = self.all().collect();
        all.sort_by(|a, b| a.object.cmp_age(b.object));
        all
    }

    fn indexed<'a, T: Typed>(
        &'a self,
        index: &Index,
    ) -> impl Iterator<Item = Ref<'a, T>> + use<'a, T> {
        self.index
            .get(index)
            .into_iter()
            .flatten()
            .filter_map(|key| {
                let object = self.objects.get(key)?;
                let content = object.typed()?;
                Some(Ref { object, content })
            })
    }

    /// The EndpointSlices of a Service, by name.
    pub fn endpoint_slices<'a>(
        &'a self,
        namespace: &str,
        service: &str,
    ) -> impl Iterator<Item = Ref<'a, core::EndpointSlice>> + use<'a> {
        self.indexed(&Index::Slices(namespace.to_owned(), service.to_owned()))
    }

    /// The ServiceEntries that have this host (exactly), by namespace and name.
    pub fn service_entries<'a>(
        &'a self,
        host: &str,
    ) -> impl Iterator<Item = Ref<'a, istio::ServiceEntry>> + use<'a> {
        self.indexed(&Index::EntryHost(host.to_ascii_lowercase()))
    }

    /// The DestinationRules of a namespace whose host is written so, in key order.
    pub fn destination_rules<'a>(
        &'a self,
        namespace: &str,
        host: &str,
    ) -> impl Iterator<Item = Ref<'a, istio::DestinationRule>> + use<'a> {
        self.indexed(&Index::RuleHost(
            namespace.to_owned(),
            host.to_ascii_lowercase(),
        ))
    }

    /// The Pod of a namespace that has this address.
    pub fn pod_at(&self, namespace: &str, address: &str) -> Option<Ref<'_, core::Pod>> {
        self.indexed(&Index::PodAddress(namespace.to_owned(), address.to_owned()))
            .next()
    }

    /// Labels of a namespace: those of its object, and always `kubernetes.io/metadata.name`.
    pub fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self
            .get::<core::Namespace>("", namespace)
            .map(|found| found.object.meta.labels.clone())
            .unwrap_or_default();
        labels.insert(
            "kubernetes.io/metadata.name".to_owned(),
            namespace.to_owned(),
        );
        labels
    }
}

/// Under what an object is found.
fn index_keys(object: &Object) -> Vec<Index> {
    let namespace = &object.meta.namespace;
    if let Some(entry) = object.typed::<istio::ServiceEntry>() {
        let hosts = entry.spec.iter().flat_map(|spec| &spec.hosts);
        return hosts
            .map(|host| Index::EntryHost(host.to_ascii_lowercase()))
            .collect();
    }
    if let Some(rule) = object.typed::<istio::DestinationRule>() {
        let hosts = rule.spec.iter().map(|spec| spec.host.to_ascii_lowercase());
        return hosts
            .map(|host| Index::RuleHost(namespace.clone(), host))
            .collect();
    }
    if let Some(pod) = object.typed::<core::Pod>() {
        return pod
            .addresses()
            .map(|address| Index::PodAddress(namespace.clone(), address.to_owned()))
            .collect();
    }
    if object.typed::<core::EndpointSlice>().is_some() {
        let service = object.meta.labels.get(SERVICE_NAME);
        return service
            .map(|service| Index::Slices(namespace.clone(), service.clone()))
            .into_iter()
            .collect();
    }
    Vec::new()
}
