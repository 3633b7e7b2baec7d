//! Why a link carries no more, and who is told.

use crate::frame::FrameError;
use crate::host::Host;
use crate::link::{Kind, Link, flag};
use crate::native::frame::Violation;
use crate::supervise::Silence;
use crate::sys::Errno;
use crate::sys::address::SocketAddress;
use crate::sys::icmp::{self, IcmpError};
use crate::tls::Failure;

/// Why a link carries no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection broke.
    Lost(Errno),
    /// The connection, or a packet, was refused by an ICMP message: its sender is known.
    Refused(IcmpError),
    /// The peer answers nothing any more.
    Vanished(Silence),
    /// What the peer sent is not in the framing.
    Frame(FrameError),
    /// Its queue was full and its policy is [`crate::WhenFull::Disconnect`].
    TooSlow,
    /// It broke a rule of the Jackfield protocol.
    Violation(Violation),
    /// TLS: the handshake, the certificate, a record, the end.
    Tls(Box<Failure>),
}

impl<H: Host> Link<H> {
    /// The first fault stays: it is the cause, later ones follow from it. But only the later one ends sending if the
    /// first is of the framing.
    pub fn fail(&mut self, fault: Fault) {
        let fault = match fault {
            // Only these two have a queue of ICMP messages behind the error number.
            Fault::Lost(error) if self.kind == Kind::Datagram || self.has(flag::CONNECTING) => self.refusal(error),
            fault => fault,
        };
        match &self.fault {
            None => self.fault = Some(Box::new(fault)),
            Some(_) if self.is_garbled() && !matches!(fault, Fault::Frame(_)) && !self.kind.outlives_errors() => {
                self.set(flag::BROKEN);
            }
            Some(_) => {}
        }
    }

    /// The error with its sender, if the network has told.
    fn refusal(&self, error: Errno) -> Fault {
        let told = match self.peer {
            SocketAddress::Ip { .. } => self.borrow_fd().and_then(|fd| icmp::take_errors(fd, error)),
            _ => None,
        };
        told.map_or(Fault::Lost(error), Fault::Refused)
    }

    /// Nothing more can be sent. What the peer said before it went is often the reason, so a connection is still
    /// received from until its end.
    pub fn fail_sending(&mut self, fault: Fault) {
        if self.fault.is_none() && matches!(self.kind, Kind::Tcp | Kind::UnixStream | Kind::Seqpacket) {
            self.set(flag::SENDING_FAILED | flag::READABLE);
        }
        self.fail(fault);
    }

    /// Receiving failed.
    pub fn fail_receiving(&mut self, fault: Fault) {
        if self.has(flag::SENDING_FAILED) {
            self.unset(flag::SENDING_FAILED);
            self.fault = None;
            if matches!(fault, Fault::Frame(_)) {
                self.set(flag::BROKEN);
            }
        }
        self.fail(fault);
    }

    /// The stream is at its end, which a connection that broke while it was sent to looks like: the kernel has told its
    /// error to the sender then. After EPIPE alone the peer had ended in order before.
    pub fn end_receiving(&mut self) {
        self.unset(flag::READABLE);
        match self.fault.as_deref() {
            Some(fault) if self.has(flag::SENDING_FAILED) && *fault != Fault::Lost(Errno(libc::EPIPE)) => {
                self.unset(flag::SENDING_FAILED);
            }
            _ => self.set(flag::END),
        }
    }

    /// The fault that a receiver is told.
    #[inline]
    pub fn receive_fault(&self) -> Option<&Fault> {
        if self.has(flag::SENDING_FAILED) { None } else { self.fault.as_deref() }
    }

    /// Whether who waits to send has something else to hear than that there is room.
    #[inline]
    pub fn sending_is_over(&self) -> bool {
        (self.fault.is_some() && !self.is_garbled()) || self.has(flag::CLOSING)
    }

    /// Whether the fault is that what the peer sent is not in the framing, and no more: it can still be sent to.
    #[inline]
    pub fn is_garbled(&self) -> bool {
        matches!(self.fault.as_deref(), Some(Fault::Frame(_) | Fault::Violation(_))) && !self.has(flag::BROKEN)
    }

    /// Whether what is queued cannot leave any more. A connected datagram socket goes on after an error, and a peer
    /// whose bytes are not in the framing can still be sent to.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.fault.is_some() && !self.is_garbled() && !self.kind.outlives_errors()
    }
}
