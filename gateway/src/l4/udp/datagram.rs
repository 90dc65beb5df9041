//! Datagrams in and out of sockets: many per system call, with the address that was asked.

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
        recvmmsg, sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};

/// Buffers received into with one system call, at most and at least.
const BUFFERS: usize = 32;
const FEWEST: usize = 2;
/// Size of each: no datagram is larger.
const SIZE: usize = 64 * 1024;
/// Datagrams that the kernel takes apart at most when one buffer holds several.
const MOST_SEGMENTS: usize = 64;
/// Room asked for in the kernel for datagrams that wait, on sockets that clients send to; the
/// kernel gives what its administrator allows.
const LISTENER_BUFFER: usize = 8 * 1024 * 1024;
/// … on a session's socket.
const SESSION_BUFFER: usize = 1024 * 1024;

/// UDP sockets on one address, one per worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The address that is really bound.
    pub(crate) address: SocketAddr,
    /// The sockets; the kernel spreads clients over them.
    pub(crate) each: Vec<UdpSocket>,
}

/// Binds. No `ip` means all addresses, IPv4 and IPv6; port 0 takes any free port. `beside_own`
/// says that this process is bound to the port at another address.
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
    let wanted = match ip {
        Some(ip) => SocketAddr::new(ip, port),
        None => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
    };
    match bind_all(wanted, ip.is_none(), workers, beside_own) {
        // The machine has no IPv6; EAFNOSUPPORT has no kind of its own.
        Err(error)
            if ip.is_none()
                && (error.kind() == io::ErrorKind::AddrNotAvailable
                    || error.raw_os_error() == Some(libc::EAFNOSUPPORT)) =>
        {
            bind_all(
                (Ipv4Addr::UNSPECIFIED, port).into(),
                false,
                workers,
                beside_own,
            )
        }
        outcome => outcome,
    }
}

fn bind_all(
    wanted: SocketAddr,
    dual: bool,
    workers: usize,
    beside_own: bool,
) -> io::Result<Sockets> {
    // The first does not share its port until it has it, so that a stranger's is not joined.
    let first = open(wanted, dual)?;
    first.set_reuse_port(beside_own)?;
    first.bind(&wanted.into())?;
    let address = first
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    first.set_reuse_port(true)?;
    let mut each = vec![first.into()];
    for _ in 1..workers.max(1) {
        let socket = open(address, dual)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        each.push(socket.into());
    }
    Ok(Sockets { address, each })
}

fn open(address: SocketAddr, dual: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    prepare(&socket, LISTENER_BUFFER);
    Ok(socket)
}

/// A socket that exchanges datagrams with `endpoint` alone.
///
/// # Errors
///
/// Whatever the kernel says.
pub(super) fn connect(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(endpoint),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    prepare(&socket, SESSION_BUFFER);
    socket.connect(&endpoint.into())?;
    Ok(socket.into())
}

/// Sets what makes bursts cheap; sockets work without.
fn prepare(socket: &Socket, buffer: usize) {
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    // Several datagrams of one sender arrive in one buffer.
    let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
}

/// One or more datagrams of one sender in one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'b> {
    /// Who sent it.
    pub(super) from: SocketAddr,
    /// The address of ours that it was sent to.
    pub(super) to: Option<IpAddr>,
    /// The bytes of all.
    pub(super) bytes: &'b [u8],
    /// Size of each but the last.
    pub(super) stride: usize,
}

impl Received<'_> {
    /// The datagrams, one by one.
    pub(super) fn each(&self) -> Each<'_> {
        Each {
            rest: Some(self.bytes),
            stride: self.stride,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.stride.max(1)).max(1)
    }
}

/// The datagrams of one buffer; an empty one is one.
pub(super) struct Each<'b> {
    rest: Option<&'b [u8]>,
    stride: usize,
}

impl<'b> Iterator for Each<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let rest = self.rest.take()?;
        match rest.split_at_checked(self.stride) {
            Some((one, more)) if !more.is_empty() && self.stride > 0 => {
                self.rest = Some(more);
                Some(one)
            }
            Some(_) | None => Some(rest),
        }
    }
}

/// What one buffer holds.
struct Filled {
    from: SocketAddr,
    to: Option<IpAddr>,
    len: usize,
    stride: usize,
}

/// Buffers of one thread.
struct Batch {
    memory: Vec<u8>,
    /// Buffers of the next call: more while all of them are needed.
    width: usize,
    filled: Vec<Option<Filled>>,
}

thread_local! {
    /// Borrowed for as long as one system call's datagrams are looked at. Pages that no datagram
    /// has reached take no memory.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

impl Batch {
    fn new() -> Self {
        Self {
            width: FEWEST,
            memory: vec![0; BUFFERS * SIZE],
            filled: Vec::with_capacity(BUFFERS),
        }
    }

    fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<()> {
        self.filled.clear();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .memory
            .chunks_mut(SIZE)
            .take(self.width)
            .map(|chunk| [IoSliceMut::new(chunk)])
            .collect();
        // Fresh each time: the kernel leaves in them how much it used, which would be the most that
        // the next call may use.
        let ancillary = cmsg_space!(libc::in6_pktinfo, i32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(self.width, Some(ancillary));
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        self.filled
            .extend(received.map(|message| Filled::of(&message)));
        if self.filled.len() == self.width {
            self.width = (self.width * 2).min(BUFFERS);
        } else if self.filled.len() < self.width / 4 {
            self.width = (self.width / 2).max(FEWEST);
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = Received<'_>> {
        let buffers = self.memory.chunks(SIZE).zip(&self.filled);
        buffers.filter_map(|(buffer, filled)| {
            let filled = filled.as_ref()?;
            Some(Received {
                from: filled.from,
                to: filled.to,
                bytes: buffer.get(..filled.len)?,
                stride: filled.stride,
            })
        })
    }
}

impl Filled {
    /// Nothing for what is not whole.
    fn of(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Self> {
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            return None;
        }
        // A connected socket's peer is known.
        let from = message.address.as_ref().and_then(address);
        let mut filled = Self {
            from: from.unwrap_or_else(|| SocketAddr::from(([0; 4], 0))),
            to: None,
            len: message.bytes,
            stride: message.bytes,
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum of all there is"
        )]
        for ancillary in message.cmsgs().into_iter().flatten() {
            match ancillary {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let ip = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    filled.to = Some(ip.into());
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    filled.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                }
                ControlMessageOwned::UdpGroSegments(size) => {
                    filled.stride = usize::try_from(size).unwrap_or(filled.len);
                }
                _ => {}
            }
        }
        Some(filled)
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = storage.as_sockaddr_in6()?;
    match v6.ip().to_canonical() {
        IpAddr::V4(ip) => Some(SocketAddr::new(ip.into(), v6.port())),
        // The scope of a link-local address is needed to answer it.
        IpAddr::V6(_) => Some(std::net::SocketAddrV6::from(*v6).into()),
    }
}

/// Receives without waiting, and shows what came. Returns how many buffers were filled.
///
/// # Errors
///
/// Whatever the kernel says: nothing there, or what an endpoint that refused has left behind.
pub(super) fn receive(
    socket: &impl AsRawFd,
    mut show: impl FnMut(Received<'_>),
) -> io::Result<usize> {
    BATCH.with_borrow_mut(|batch| {
        batch.receive(socket)?;
        batch.all().for_each(&mut show);
        Ok(batch.filled.len())
    })
}

/// Where datagrams go, and from which of our addresses. Nothing: where the socket is connected to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    /// Whether the socket is of IPv6, also where the way is of IPv4.
    pub(super) ipv6: bool,
}

/// Sends all datagrams of one buffer without waiting.
///
/// # Errors
///
/// Whatever the kernel says, and how many datagrams were sent before.
pub(super) fn send(
    socket: &(impl AsFd + AsRawFd),
    way: Option<&Way>,
    received: &Received<'_>,
) -> Result<(), (io::Error, usize)> {
    let count = received.count();
    if count > 1
        && count <= MOST_SEGMENTS
        && let Ok(stride) = u16::try_from(received.stride)
        && send_one(socket, way, received.bytes, Some(stride)).is_ok()
    {
        return Ok(());
    }
    // One at a time: where the route's packets are smaller, or the kernel cannot do it.
    for (sent, datagram) in received.each().enumerate() {
        send_one(socket, way, datagram, None).map_err(|error| (error, sent))?;
    }
    Ok(())
}

fn send_one(
    socket: &(impl AsFd + AsRawFd),
    way: Option<&Way>,
    bytes: &[u8],
    segments: Option<u16>,
) -> io::Result<()> {
    let slices = [IoSlice::new(bytes)];
    let from = way.and_then(|way| Some((way.from?, way.ipv6)));
    let v4 = match from {
        Some((IpAddr::V4(ip), false)) => Some(libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(ip.octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        }),
        Some(_) | None => None,
    };
    let v6 = match from {
        Some((IpAddr::V6(ip), _)) => Some(ip),
        Some((IpAddr::V4(ip), true)) => Some(ip.to_ipv6_mapped()),
        Some((IpAddr::V4(_), false)) | None => None,
    };
    let v6 = v6.map(|ip| libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr {
            s6_addr: ip.octets(),
        },
        ipi6_ifindex: 0,
    });
    let mut ancillary: smallvec::SmallVec<[ControlMessage<'_>; 2]> = smallvec::SmallVec::new();
    ancillary.extend(v4.as_ref().map(ControlMessage::Ipv4PacketInfo));
    ancillary.extend(v6.as_ref().map(ControlMessage::Ipv6PacketInfo));
    ancillary.extend(segments.as_ref().map(ControlMessage::UdpGsoSegments));
    let to = way.map(|way| SockaddrStorage::from(destination(way)));
    let flags = MsgFlags::MSG_DONTWAIT;
    match sendmsg(socket.as_raw_fd(), &slices, &ancillary, flags, to.as_ref()) {
        Ok(_) => Ok(()),
        Err(Errno::EINTR) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

fn destination(way: &Way) -> SocketAddr {
    match way.to.ip() {
        IpAddr::V4(ip) if way.ipv6 => SocketAddr::new(ip.to_ipv6_mapped().into(), way.to.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => way.to,
    }
}

/// Whether a socket is of IPv6.
pub(super) fn is_ipv6(socket: &impl AsFd) -> bool {
    SockRef::from(socket)
        .local_addr()
        .is_ok_and(|address| address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: &[u8], stride: usize) -> Vec<Vec<u8>> {
        let received = Received {
            from: SocketAddr::from(([0; 4], 0)),
            to: None,
            bytes,
            stride,
        };
        let all: Vec<_> = received.each().map(<[u8]>::to_vec).collect();
        assert_eq!(all.len(), received.count());
        all
    }

    #[test]
    fn a_buffer_holds_one_datagram_or_several() {
        assert_eq!(received(b"", 0), [b""]);
        assert_eq!(received(b"abc", 3), [b"abc"]);
        assert_eq!(received(b"abc", 5), [b"abc"]);
        assert_eq!(received(b"abcde", 2), [&b"ab"[..], b"cd", b"e"]);
        assert_eq!(received(b"abcd", 2), [b"ab", b"cd"]);
    }

    #[test]
    fn a_taken_port_is_an_error_and_workers_share_one() {
        let sockets = bind(Some(Ipv4Addr::LOCALHOST.into()), 0, 3, false).unwrap();
        assert_eq!(sockets.each.len(), 3);
        let address = sockets.address;
        for socket in &sockets.each {
            assert_eq!(socket.local_addr().unwrap(), address);
        }
        let error = bind(Some(address.ip()), address.port(), 2, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        let plain = UdpSocket::bind(address).unwrap();
        let error = bind(Some(address.ip()), address.port(), 2, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(plain);
    }
}
