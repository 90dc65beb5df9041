//! Credentials: Secrets of the gateway workload's namespace, in the layouts Istio accepts,
//! ConfigMaps with trust anchors, and files of the gateway's host.

use super::world::{Voice, World, source};
use crate::{Code, Store};
use gwanmun_api::{
    Object,
    core::{self, ConfigMap},
};
use gwanmun_certs::{Anchors, KeyPair};
use gwanmun_ir::{Key, Pem, PrivatePem, Resource, Secret, SecretKey, SecretMaterial};

/// Types of Secrets that Istio does not look at.
const NOT_CREDENTIALS: [&str; 2] = ["helm.sh/release.v1", "kubernetes.io/service-account-token"];

/// The key of the Secret that `name` of a Gateway or DestinationRule stands for, and the Secret
/// itself where it exists. Whatever cannot be used is reported at `field`; the key then names
/// nothing or an invalid secret, so that connections fail.
pub(super) fn key_pair(
    world: &World<'_>,
    name: &str,
    field: &str,
    code: Code,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let namespace = &world.options.namespace;
    let name = match local_name(name, namespace) {
        Ok(name) => name,
        Err(reason) => {
            voice.error(
                code,
                field,
                format!("`{name}` {reason}, so connections fail"),
            );
            return unusable(name);
        }
    };
    let key = SecretKey::new(format!("kubernetes://{namespace}/{name}"));
    let Some((secret, content)) = find(world.store, namespace, name) else {
        let message = format!("Secret {namespace}/{name} does not exist, so connections fail");
        voice.error(Code::ReferencedResourceNotFound, field, message);
        return key;
    };
    let material = pair_material(content);
    if let SecretMaterial::Invalid { reason } = &material {
        let message = format!("Secret {namespace}/{name}: {reason}, so connections fail");
        voice.error(code, field, message);
    }
    emit(&key, material, secret, voice);
    key
}

/// The key of a certificate and private key in files.
pub(super) fn key_pair_files(
    certificates: &str,
    private_key: &str,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let key = SecretKey::new(format!("file-cert:{certificates}~{private_key}"));
    let material = SecretMaterial::KeyPairFiles {
        certificates: certificates.to_owned(),
        private_key: private_key.to_owned(),
    };
    emit(&key, material, voice.object, voice);
    key
}

/// The key of the trust anchors that belong to credential `name`: in `NAME-cacert`, or beside the
/// certificate.
pub(super) fn anchors(
    world: &World<'_>,
    name: &str,
    field: &str,
    code: Code,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let namespace = &world.options.namespace;
    let Ok(name) = local_name(name, namespace) else {
        return unusable(&format!("{name}-cacert"));
    };
    let key = SecretKey::new(format!("kubernetes://{namespace}/{name}-cacert"));
    let separate = format!("{name}-cacert");
    let found =
        find(world.store, namespace, &separate).or_else(|| find(world.store, namespace, name));
    let Some((secret, content)) = found else {
        let message = format!("Secret {namespace}/{name} does not exist, so connections fail");
        voice.error(Code::ReferencedResourceNotFound, field, message);
        return key;
    };
    let material = anchor_material(|entry| text(content, entry));
    report(&material, secret, (field, code), voice);
    emit(&key, material, secret, voice);
    key
}

/// The key of the trust anchors that are named themselves: a Secret, or `configmap://ns/name`.
pub(super) fn named_anchors(
    world: &World<'_>,
    name: &str,
    (field, code): (&str, Code),
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    if let Some(path) = name.strip_prefix("configmap://") {
        return config_map(world, path, (field, code), voice);
    }
    let namespace = &world.options.namespace;
    let name = match local_name(name, namespace) {
        Ok(name) => name,
        Err(reason) => {
            let message = format!("`{name}` {reason}, so connections fail");
            voice.error(code, field, message);
            return unusable(name);
        }
    };
    // Apart from the key of the certificate that the same Secret may hold.
    let key = SecretKey::new(format!("kubernetes://{namespace}/{name}#ca"));
    let Some((secret, content)) = find(world.store, namespace, name) else {
        let message = format!("Secret {namespace}/{name} does not exist, so connections fail");
        voice.error(Code::ReferencedResourceNotFound, field, message);
        return key;
    };
    let material = anchor_material(|entry| text(content, entry));
    report(&material, secret, (field, code), voice);
    emit(&key, material, secret, voice);
    key
}

/// Trust anchors of ConfigMap `NAMESPACE/NAME`, which may be in any namespace: they are public.
fn config_map(
    world: &World<'_>,
    path: &str,
    (field, code): (&str, Code),
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let key = SecretKey::new(format!("configmap://{path}"));
    let parts = path.split_once('/');
    let Some((namespace, name)) = parts.filter(|(ns, name)| !ns.is_empty() && !name.is_empty())
    else {
        let message = "must be configmap://NAMESPACE/NAME, so connections fail";
        voice.error(code, field, message);
        return key;
    };
    let Some(map) = world.store.get::<ConfigMap>(namespace, name) else {
        let message = format!("ConfigMap {path} does not exist, so connections fail");
        voice.error(Code::ReferencedResourceNotFound, field, message);
        return key;
    };
    let material = anchor_material(|entry| Ok(map.data.get(entry).cloned()));
    report(&material, map.object, (field, code), voice);
    emit(&key, material, map.object, voice);
    key
}

/// The key of trust anchors in a file, with revocation lists in another if any.
pub(super) fn anchor_files(
    certificates: &str,
    revocations: Option<&str>,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let key = match revocations {
        None => format!("file-root:{certificates}"),
        Some(revocations) => format!("file-root:{certificates}~{revocations}"),
    };
    let key = SecretKey::new(key);
    let material = SecretMaterial::AnchorFiles {
        certificates: certificates.to_owned(),
        revocations: revocations.map(str::to_owned),
    };
    emit(&key, material, voice.object, voice);
    key
}

/// A key that names nothing: whatever needs it fails.
pub(super) fn unusable(name: &str) -> SecretKey {
    SecretKey::new(format!("unusable://{name}"))
}

/// The certificate in the Secret that `name` stands for, if it exists.
pub(super) fn certificate(store: &Store, namespace: &str, name: &str) -> Option<Vec<u8>> {
    let name = local_name(name, namespace).ok()?;
    let (_, secret) = find(store, namespace, name)?;
    let value = |key: &str| secret.value(key).ok().flatten();
    value("cert").or_else(|| value("tls.crt"))
}

fn find<'a>(
    store: &'a Store,
    namespace: &str,
    name: &str,
) -> Option<(&'a Object, &'a core::Secret)> {
    let found = store.get::<core::Secret>(namespace, name)?;
    (!NOT_CREDENTIALS.contains(&found.content.type_.as_str()))
        .then_some((found.object.as_ref(), found.content))
}

fn report(
    material: &SecretMaterial,
    object: &Object,
    (field, code): (&str, Code),
    voice: &mut Voice<'_, '_>,
) {
    if let SecretMaterial::Invalid { reason } = material {
        let message = format!("{}: {reason}, so connections fail", object.key());
        voice.error(code, field, message);
    }
}

fn emit(key: &SecretKey, material: SecretMaterial, object: &Object, voice: &mut Voice<'_, '_>) {
    if voice.sink.has(&Key::Secret(key.clone())) {
        return;
    }
    voice.sink.resource(Resource::Secret(Secret {
        key: key.clone(),
        material,
        source: source(object, ""),
    }));
}

/// The name of a Secret in `namespace`, or why it is none.
fn local_name<'n>(name: &'n str, namespace: &str) -> Result<&'n str, String> {
    let name = name.strip_prefix("kubernetes://").unwrap_or(name);
    if let Some((scheme, _)) = name.split_once("://") {
        return Err(format!("has no effect: `{scheme}://` is not supported"));
    }
    match name.split_once('/') {
        None => Ok(name),
        Some((owner, name)) if owner == namespace => Ok(name),
        Some(_) => Err(format!(
            "is in another namespace than the gateway's, which is {namespace}"
        )),
    }
}

fn pair_material(secret: &core::Secret) -> SecretMaterial {
    let checked = || {
        let generic = (text(secret, "cert")?, text(secret, "key")?);
        let (certificates, key) = match generic {
            (Some(certificates), Some(key)) => (certificates, key),
            _ => match (text(secret, "tls.crt")?, text(secret, "tls.key")?) {
                (Some(certificates), Some(key)) => (certificates, key),
                _ => return Err("it has neither tls.crt and tls.key nor cert and key".to_owned()),
            },
        };
        KeyPair::parse(&certificates, &key).map_err(|error| error.to_string())?;
        Ok((certificates, key))
    };
    match checked() {
        Ok((certificates, key)) => SecretMaterial::KeyPair {
            certificates: Pem::new(certificates),
            private_key: PrivatePem::new(key),
            ocsp_staple: secret.data.get("tls.ocsp-staple").cloned(),
        },
        Err(reason) => SecretMaterial::Invalid { reason },
    }
}

/// Anchors and revocation lists among the entries of a Secret or ConfigMap.
fn anchor_material(entry: impl Fn(&str) -> Result<Option<String>, String>) -> SecretMaterial {
    let checked = || {
        let first = |one: &str, other: &str| {
            Ok::<_, String>(match entry(one)? {
                Some(found) => Some(found),
                None => entry(other)?,
            })
        };
        let Some(certificates) = first("cacert", "ca.crt")? else {
            return Err("it has neither ca.crt nor cacert".to_owned());
        };
        let revocations = first("crl", "ca.crl")?;
        Anchors::parse(&certificates, revocations.as_deref()).map_err(|error| error.to_string())?;
        Ok((certificates, revocations))
    };
    match checked() {
        Ok((certificates, revocations)) => SecretMaterial::Anchors {
            certificates: Pem::new(certificates),
            revocations: revocations.map(Pem::new),
        },
        Err(reason) => SecretMaterial::Invalid { reason },
    }
}

fn text(secret: &core::Secret, key: &str) -> Result<Option<String>, String> {
    let Some(bytes) = secret.value(key)? else {
        return Ok(None);
    };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_error| format!("{key} is not text"))
}
