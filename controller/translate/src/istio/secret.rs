//! Credentials: Secrets of the gateway workload's namespace, in the layouts Istio accepts.

use super::world::{Voice, World, source};
use crate::{Code, Store};
use gwanmun_api::{Object, core};
use gwanmun_certs::{Anchors, KeyPair};
use gwanmun_ir::{Key, Pem, PrivatePem, Resource, Secret, SecretKey, SecretMaterial};

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
            return SecretKey::new(format!("unusable://{name}"));
        }
    };
    let key = SecretKey::new(format!("kubernetes://{namespace}/{name}"));
    let Some(secret) = world.store.get::<core::Secret>(namespace, name) else {
        let message = format!("Secret {namespace}/{name} does not exist, so connections fail");
        voice.error(Code::ReferencedResourceNotFound, field, message);
        return key;
    };
    let material = pair_material(secret.content);
    if let SecretMaterial::Invalid { reason } = &material {
        let message = format!("Secret {namespace}/{name}: {reason}, so connections fail");
        voice.error(code, field, message);
    }
    emit(&key, material, secret.object, voice);
    key
}

/// The key of the trust anchors that belong to credential `name`: in `NAME-cacert`, or beside the
/// certificate.
pub(super) fn anchors(
    world: &World<'_>,
    name: &str,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let namespace = &world.options.namespace;
    let Ok(name) = local_name(name, namespace) else {
        return SecretKey::new(format!("unusable://{name}-cacert"));
    };
    let key = SecretKey::new(format!("kubernetes://{namespace}/{name}-cacert"));
    let separate = format!("{name}-cacert");
    let separate = world.store.get::<core::Secret>(namespace, &separate);
    let Some(secret) = separate.or_else(|| world.store.get::<core::Secret>(namespace, name)) else {
        let message = format!("Secret {namespace}/{name} does not exist, so connections fail");
        voice.error(Code::ReferencedResourceNotFound, field, message);
        return key;
    };
    let material = anchor_material(secret.content);
    if let SecretMaterial::Invalid { reason } = &material {
        let secret = secret.name();
        let message = format!("Secret {namespace}/{secret}: {reason}, so connections fail");
        voice.error(Code::UnusableSecret, field, message);
    }
    emit(&key, material, secret.object, voice);
    key
}

/// The certificate in the Secret that `name` stands for, if it exists.
pub(super) fn certificate(store: &Store, namespace: &str, name: &str) -> Option<Vec<u8>> {
    let name = local_name(name, namespace).ok()?;
    let secret = store.get::<core::Secret>(namespace, name)?;
    let value = |key: &str| secret.content.value(key).ok().flatten();
    value("cert").or_else(|| value("tls.crt"))
}

fn emit(key: &SecretKey, material: SecretMaterial, secret: &Object, voice: &mut Voice<'_, '_>) {
    if voice.sink.has(&Key::Secret(key.clone())) {
        return;
    }
    voice.sink.resource(Resource::Secret(Secret {
        key: key.clone(),
        material,
        source: source(secret, ""),
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

fn anchor_material(secret: &core::Secret) -> SecretMaterial {
    let checked = || {
        let first = |one: &str, other: &str| {
            Ok::<_, String>(match text(secret, one)? {
                Some(found) => Some(found),
                None => text(secret, other)?,
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
