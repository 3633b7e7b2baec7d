//! One connected socket without a reactor: the two halves of a blocking channel.
//!
//! The halves are independent, so that one thread may receive while another sends. Neither makes a system call while
//! it decides: [`Receiver::target`] says where the next bytes go, [`receive`] fetches them, [`Receiver::filled`] files
//! them, and messages are claimed late, as everywhere; [`Sender::write`] moves bytes, [`Sender::written`] counts them.
//! Whoever drives the halves says how long to wait, and may let others run during the system call alone.

mod newcomers;
mod receiver;
mod sealed;
mod sender;

pub use newcomers::Newcomers;
pub use receiver::{Arrived, Receiver, receive};
pub use sealed::{Receiving, SharedSession};
pub use sender::{Progress, Sender};

use crate::link::{Fault, Kind};
use crate::sys::{Errno, Result, address::SocketAddress, io, socket};
use std::os::fd::BorrowedFd;

/// So often a closing connection discards what was not read, so that the close is an end and not a reset.
const DISCARD_READS: usize = 64;

/// What both halves know of their connection's state.
#[derive(Debug, Default)]
pub struct Health {
    fault: Option<Fault>,
    /// The fault is of the sending side alone: what the peer had sent before is still received.
    sending_failed: bool,
    /// The connection broke after the peer had broken the framing, which stays the fault.
    broken: bool,
}

impl Health {
    /// The first fault stays: it is the cause, later ones follow from it.
    pub fn fail(&mut self, fault: Fault) {
        let garbled = matches!(self.fault, Some(Fault::Frame(_)));
        self.broken |= garbled && !matches!(fault, Fault::Frame(_));
        self.fault.get_or_insert(fault);
    }

    /// Nothing more can be sent; what the peer had sent before is still received.
    pub fn fail_sending(&mut self, error: Errno) {
        if self.fault.is_none() {
            self.sending_failed = true;
        }
        self.fail(Fault::Lost(error));
    }

    fn fail_receiving(&mut self, fault: Fault) {
        if std::mem::take(&mut self.sending_failed) {
            self.fault = None;
            self.broken |= matches!(fault, Fault::Frame(_));
        }
        self.fail(fault);
    }

    /// The stream is at its end: whether the peer has ended it. A connection that broke while it was sent to looks the
    /// same, since the kernel has told its error to the sender; after EPIPE alone the peer had ended in order before.
    fn end_receiving(&mut self) -> bool {
        let broke = self.sending_failed && self.fault != Some(Fault::Lost(Errno(libc::EPIPE)));
        self.sending_failed &= !broke;
        !broke
    }

    /// The fault that a receiver is told.
    fn receive_fault(&self) -> Option<&Fault> {
        if self.sending_failed { None } else { self.fault.as_ref() }
    }

    /// The fault that a sender is told. A connected datagram socket goes on after an error, which is told once; a peer
    /// whose bytes are not in the framing can still be told so.
    pub fn take_fault(&mut self, kind: Kind) -> Option<Fault> {
        if matches!(self.fault, Some(Fault::Frame(_))) && (!self.broken || kind == Kind::Datagram) {
            return None;
        }
        if kind == Kind::Datagram { self.fault.take() } else { self.fault.clone() }
    }

    /// Whether what was sent can still arrive.
    pub fn can_deliver(&self) -> bool {
        matches!(self.fault, None | Some(Fault::Frame(_))) && !self.broken
    }

    /// Whether closing with unread bytes could destroy what was just sent: TLS tells its peer what was wrong.
    pub fn has_said_last_words(&self) -> bool {
        self.can_deliver() || matches!(self.fault, Some(Fault::Tls(_)))
    }

    /// Whether what is queued cannot leave any more.
    fn is_broken(&self, kind: Kind) -> bool {
        let broken = self.broken || matches!(self.fault, Some(Fault::Lost(_) | Fault::TooSlow | Fault::Tls(_)));
        broken && kind != Kind::Datagram
    }
}

/// What kind of socket this is.
pub fn kind_of(fd: BorrowedFd<'_>) -> Result<Kind> {
    let family = socket::option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)?;
    Ok(match (family, socket::option(fd, libc::SOL_SOCKET, libc::SO_TYPE)?) {
        (_, libc::SOCK_SEQPACKET) => Kind::Seqpacket,
        (_, libc::SOCK_DGRAM) => Kind::Datagram,
        (libc::AF_UNIX, _) => Kind::UnixStream,
        _ => Kind::Tcp,
    })
}

/// The scheme of a channel's address.
pub fn protocol(kind: Kind, local: &SocketAddress) -> &'static str {
    match kind {
        Kind::Tcp => "tcp",
        Kind::UnixStream => "unix",
        Kind::File => "serial",
        Kind::Seqpacket => "unix+seqpacket",
        _ if local.family() == libc::AF_UNIX => "unix+dgram",
        _ => "udp",
    }
}

/// Discards what was not read: closing with unread bytes would send a reset, which can destroy what was just sent
/// (RFC 1122, 4.2.2.13; a Unix peer is told ECONNRESET instead of the end).
pub fn discard_unread(fd: BorrowedFd<'_>, kind: Kind) {
    let mut sink = [0; 16 * 1024];
    for _ in 0..DISCARD_READS {
        let more = match kind {
            Kind::Seqpacket => io::receive_packet(fd, &mut sink, None).is_ok_and(|packet| packet.has_control),
            Kind::Tcp | Kind::UnixStream => io::receive(fd, io::uninit(&mut sink), 0).is_ok_and(|count| count > 0),
            _ => false,
        };
        if !more {
            break;
        }
    }
}
