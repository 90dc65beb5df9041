//! TLS on both sides of the stream.

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName,
    pem::{self, PemObject},
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tonic::transport::server::Connected;

/// Longest time for a TCP connection and its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most handshakes at once; further connections wait in the kernel.
const HANDSHAKES: usize = 256;
/// Pause when no connection can be accepted, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Certificate material cannot be used.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// The text is not PEM of the wanted kind.
    #[error("not usable as PEM: {0}")]
    Pem(#[from] pem::Error),
    /// The library refuses it.
    #[error("not usable: {0}")]
    Tls(#[from] rustls::Error),
    /// There is no certificate in it.
    #[error("it holds no certificate")]
    Empty,
    /// The name of the server is not one.
    #[error("`{0}` is not a server name")]
    Name(String),
}

/// The certificate and key a server presents. Clones are handles to the same, which can be
/// replaced while it serves: new connections see the new one.
#[derive(Clone)]
pub struct Identity(Arc<ArcSwap<ServerConfig>>);

impl Identity {
    /// An identity from a PEM chain, leaf first, and its PEM key.
    ///
    /// # Errors
    ///
    /// [`MaterialError`] when they are not that, or do not belong together.
    pub fn new(chain: &str, key: &str) -> Result<Self, MaterialError> {
        Ok(Self(Arc::new(ArcSwap::new(server_config(chain, key)?))))
    }

    /// Replaces it.
    ///
    /// # Errors
    ///
    /// As [`Identity::new`]; then the earlier one stays.
    pub fn replace(&self, chain: &str, key: &str) -> Result<(), MaterialError> {
        self.0.store(server_config(chain, key)?);
        Ok(())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn server_config(chain: &str, key: &str) -> Result<Arc<ServerConfig>, MaterialError> {
    let chain = certificates(chain.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(MaterialError::Empty);
    }
    Ok(found)
}

/// Connects to `address` and checks that it is `name`, by one of the PEM `authorities`.
pub(crate) async fn connect(
    address: &str,
    name: &str,
    authorities: &[u8],
) -> io::Result<client::TlsStream<TcpStream>> {
    let invalid = |error: MaterialError| io::Error::new(io::ErrorKind::InvalidData, error);
    let config = client_config(authorities).map_err(invalid)?;
    let name = ServerName::try_from(name.to_owned())
        .or(Err(MaterialError::Name(name.to_owned())))
        .map_err(invalid)?;
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    };
    tokio::time::timeout(HANDSHAKE, connecting)
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

fn client_config(authorities: &[u8]) -> Result<Arc<ClientConfig>, MaterialError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities)? {
        roots.add(authority)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts connections and shakes hands, several at once; a slow client delays nobody.
pub(crate) async fn accept(
    listener: TcpListener,
    identity: Identity,
    accepted: mpsc::Sender<io::Result<Accepted>>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = accepted.closed() => return,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a gateway's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let acceptor = TlsAcceptor::from(identity.0.load_full());
        let accepted = accepted.clone();
        tokio::spawn(async move {
            // Small messages wait for nothing; failing to say so only delays them.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _ = accepted.send(Ok(Accepted(stream))).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "handshake with a gateway failed"),
                Err(_elapsed) => tracing::debug!("handshake with a gateway took too long"),
            }
            drop(permit);
        });
    }
}

/// A connection whose handshake is finished.
pub(crate) struct Accepted(server::TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
