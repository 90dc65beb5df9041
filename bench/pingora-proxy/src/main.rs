//! A minimal `pingora-proxy`, as a peer in the bench: HTTP, HTTPS with HTTP/2, and h2c to an h2c upstream,
//! adding the same forwarding headers as everybody.
//!
//! Arguments: HTTP HTTPS GRPC BACK_H1 BACK_H2C CERT KEY.

use async_trait::async_trait;
use pingora_core::{
    Result, apps::HttpServerOptions, listeners::tls::TlsSettings, prelude::*, protocols::ALPN, server::configuration::ServerConf,
    upstreams::peer::HttpPeer,
};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Forward {
    upstream: u16,
    h2: bool,
    scheme: &'static str,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(("127.0.0.1", self.upstream), false, String::new());
        if self.h2 {
            peer.options.alpn = ALPN::H2;
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(&self, session: &mut Session, head: &mut RequestHeader, (): &mut ()) -> Result<()> {
        if let Some(peer) = session.client_addr().and_then(|address| address.as_inet()) {
            head.insert_header("x-forwarded-for", peer.ip().to_string())?;
        }
        head.insert_header("x-forwarded-proto", self.scheme)?;
        head.insert_header("x-request-id", format!("{:032x}", fastrand::u128(..)))
    }
}

fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = |at: usize| arguments[at].parse::<u16>().expect("a port");
    let conf = ServerConf { threads: 2, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let forward = |upstream, h2, scheme| Forward { upstream, h2, scheme };

    let mut plain = http_proxy_service(&server.configuration, forward(port(3), false, "http"));
    plain.add_tcp(&format!("127.0.0.1:{}", port(0)));
    server.add_service(plain);

    let mut tls = http_proxy_service(&server.configuration, forward(port(3), false, "https"));
    let mut settings = TlsSettings::intermediate(&arguments[5], &arguments[6]).expect("certificate and key");
    settings.enable_h2();
    tls.add_tls_with_settings(&format!("127.0.0.1:{}", port(1)), None, settings);
    server.add_service(tls);

    let mut grpc = http_proxy_service(&server.configuration, forward(port(4), true, "http"));
    if let Some(logic) = grpc.app_logic_mut() {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        logic.server_options = Some(options);
    }
    grpc.add_tcp(&format!("127.0.0.1:{}", port(2)));
    server.add_service(grpc);
    server.run_forever();
}
