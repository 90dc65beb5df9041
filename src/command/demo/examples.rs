//! The manifests of `examples/`, built in.

use std::{fs, io, path::Path};

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../examples/", $path)))),*]
    };
}

/// Every manifest of `examples/`: path and content.
const EXAMPLES: &[(&str, &str)] = embedded![
    "bookinfo/bookinfo-gateway.yaml",
    "bookinfo/destination-rule-all.yaml",
    "bookinfo/reviews-at-the-gateway.yaml",
    "bookinfo/services.yaml",
    "gateway-api/backend-tls.yaml",
    "gateway-api/client-certificates.yaml",
    "gateway-api/cross-namespace.yaml",
    "gateway-api/grpc-routing.yaml",
    "gateway-api/header-modifiers.yaml",
    "gateway-api/http-routing.yaml",
    "gateway-api/redirects-and-rewrites.yaml",
    "gateway-api/services.yaml",
    "gateway-api/simple-gateway.yaml",
    "gateway-api/tcp-routing.yaml",
    "gateway-api/tls-passthrough.yaml",
    "gateway-api/tls-termination-to-tcp.yaml",
    "gateway-api/tls.yaml",
    "gateway-api/traffic-splitting.yaml",
    "gateway-api/udp-routing.yaml",
    "httpbin/httpbin-gateway.yaml",
    "httpbin/secure-ingress.yaml",
    "httpbin/services.yaml",
    "tls-and-tcp/securing-gateway-traffic.yaml",
    "tls-and-tcp/services.yaml",
    "tls-and-tcp/sni-passthrough.yaml",
    "tls-and-tcp/split-gateways.yaml",
    "tls-and-tcp/tcp.yaml",
    "tls-and-tcp/virtual-hosts-with-tls.yaml",
];

/// Writes the manifests below `directory`, with backends in `127.NETWORK.0.0/16`.
pub(super) fn write(directory: &Path, network: u8) -> io::Result<()> {
    for (path, content) in EXAMPLES {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(
            path,
            content.replace("- 127.0.", &format!("- 127.{network}.")),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Scan;

    #[test]
    fn every_example_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let scan = Scan::of(&[root.display().to_string().parse().unwrap()]);
        let on_disk: Vec<String> = scan
            .files
            .keys()
            .map(|key| key.path.strip_prefix(&root).unwrap().display().to_string())
            .collect();
        let built_in: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        assert_eq!(on_disk, built_in);
    }
}
