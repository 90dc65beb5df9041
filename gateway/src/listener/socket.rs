//! Binds listening sockets: one per worker, all on the same port.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

/// Connections that may wait to be accepted, per worker; the kernel may lower it.
const BACKLOG: i32 = 4096;

/// Listening sockets on one address, one per worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The address that is really bound.
    pub(crate) address: SocketAddr,
    /// The sockets; the kernel spreads connections over them.
    pub(crate) each: Vec<TcpListener>,
}

/// Binds and listens. No `ip` means all addresses, IPv4 and IPv6; port 0 takes any free port.
/// `beside_own` says that this process listens on the port at another address.
///
/// # Errors
///
/// Whatever the kernel says, in particular that another process has the port.
pub(crate) fn bind(
    ip: Option<IpAddr>,
    port: u16,
    workers: usize,
    beside_own: bool,
) -> io::Result<Sockets> {
    let bind_all = |wanted, dual| bind_all(wanted, dual, workers, beside_own);
    let wanted = match ip {
        Some(ip) => SocketAddr::new(ip, port),
        None => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
    };
    match bind_all(wanted, ip.is_none()) {
        Err(error) if ip.is_none() && is_without_ipv6(&error) => {
            bind_all((Ipv4Addr::UNSPECIFIED, port).into(), false)
        }
        outcome => outcome,
    }
}

/// Whether the machine has no IPv6.
fn is_without_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own: 97 on Linux.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

fn bind_all(
    wanted: SocketAddr,
    dual: bool,
    workers: usize,
    beside_own: bool,
) -> io::Result<Sockets> {
    // Sockets that share a port also share it with a stranger that asks for it, even another
    // gateway. One socket that does not share finds out first whether the port is free, unless
    // our own sockets would stand in its way.
    let first = open(wanted, dual)?;
    first.set_reuse_port(beside_own)?;
    first.bind(&wanted.into())?;
    let address = first
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    // Not listening, it does not stand in the way of those that share once it shares, too.
    first.set_reuse_port(true)?;
    let each = (0..workers.max(1))
        .map(|_| {
            let socket = open(address, dual)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect::<io::Result<Vec<TcpListener>>>()?;
    Ok(Sockets { address, each })
}

fn open(address: SocketAddr, dual: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn all_workers_share_one_free_port() {
        let sockets = bind(Some(Ipv4Addr::LOCALHOST.into()), 0, 3, false).unwrap();
        assert_eq!(sockets.each.len(), 3);
        assert_ne!(sockets.address.port(), 0);
        for socket in &sockets.each {
            assert_eq!(socket.local_addr().unwrap(), sockets.address);
        }
        TcpStream::connect(sockets.address).unwrap();
    }

    #[test]
    fn a_dual_stack_socket_takes_ipv4() {
        let sockets = bind(None, 0, 1, false).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, sockets.address.port())).unwrap();
    }

    #[test]
    fn a_taken_port_is_an_error_even_if_it_could_be_shared() {
        let first = bind(Some(Ipv4Addr::LOCALHOST.into()), 0, 2, false).unwrap();
        let error = bind(first.address.ip().into(), first.address.port(), 2, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = plain.local_addr().unwrap();
        let error = bind(Some(taken.ip()), taken.port(), 2, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let error = bind(Some(taken.ip()), taken.port(), 2, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_is_free_again_once_its_sockets_are_closed() {
        let first = bind(Some(Ipv4Addr::LOCALHOST.into()), 0, 2, false).unwrap();
        let address = first.address;
        let _client = TcpStream::connect(address).unwrap();
        drop(first);
        bind(Some(address.ip()), address.port(), 2, false).unwrap();
    }
}
