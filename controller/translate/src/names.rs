//! Names that several modules must spell alike.

/// Host name of a Service.
pub(crate) fn service_host(name: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{name}.{namespace}.svc.{cluster_domain}")
}

/// Name and namespace of the Service a host stands for: `NAME.NAMESPACE.svc.CLUSTER_DOMAIN`.
pub(crate) fn parse_service_host<'a>(
    host: &'a str,
    cluster_domain: &str,
) -> Option<(&'a str, &'a str)> {
    let rest = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = rest.split_once('.')?;
    (!name.is_empty() && !namespace.is_empty() && !namespace.contains('.'))
        .then_some((name, namespace))
}

/// Name of a cluster: `outbound|PORT|SUBSET|HOST`.
pub(crate) fn cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}
