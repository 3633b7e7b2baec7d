//! Drives a reactor by hand over real sockets: one turn at a time, waiting for a condition and never for a time.
//! Shared by the tests of links, groups and listeners.

#![allow(dead_code)] // each of its users needs a part of it

use jackfield_engine::frame::Framer;
use jackfield_engine::group::GroupTake;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::{monotonic_ns, socket};
use jackfield_engine::*;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

/// Nothing here takes this long unless it hangs.
const PATIENCE_NS: u64 = 10_000_000_000;

pub type Engine = Reactor<Plain>;

/// A reactor and the events that nobody has asked about yet.
pub struct Stepper {
    pub reactor: Engine,
    pub events: Vec<Event>,
}

/// What a link gave, owned.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Message(Vec<u8>),
    End,
    Fault(Fault),
    Closed,
    Nothing,
}

/// What a group gave, owned.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    Joined(LinkId),
    Message(LinkId, Vec<u8>),
    Left(LinkId, Option<Fault>),
    AcceptFailed(LinkId, i32),
    Recognised(LinkId),
    FellBehind(LinkId, u32, u64),
}

pub fn message(bytes: impl AsRef<[u8]>) -> Taken {
    Taken::Message(bytes.as_ref().to_vec())
}

/// A configuration with much room.
pub fn config(framing: &str) -> Rc<Config> {
    config_with(framing, 1 << 20, WhenFull::Wait)
}

pub fn config_with(framing: &str, high_water: usize, when_full: WhenFull) -> Rc<Config> {
    limited(framing, 16 << 20, high_water, when_full, 1000)
}

pub fn limited(framing: &str, max: usize, high_water: usize, when_full: WhenFull, max_clients: usize) -> Rc<Config> {
    let framer = Rc::new(Framer::parse(framing, max).expect("a framing"));
    Rc::new(Config { framer, high_water, when_full, vanished_ns: 0, idle_ns: 0, max_clients, tls: None })
}

pub fn how(kind: i32) -> OpenOptions<'static> {
    OpenOptions { kind, options: &[], bind: None, backlog: 1024 }
}

pub fn loopback() -> SocketAddress {
    SocketAddress::ip("127.0.0.1".parse().expect("an address"), 0)
}

/// An abstract Unix name that nobody else has.
pub fn unique_name() -> SocketAddress {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddress::Unix(format!("\0jackfield-engine-{}-{number}", std::process::id()).into_bytes().into())
}

pub fn tcp_address(address: &SocketAddress) -> std::net::SocketAddr {
    match address {
        SocketAddress::Ip { ip, port, .. } => (*ip, *port).into(),
        other => panic!("{other:?} is no IP address"),
    }
}

/// A socket of ours with a patience of its own.
pub fn patient(stream: UnixStream) -> UnixStream {
    stream.set_nonblocking(false).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("a socket");
    stream.set_write_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("a socket");
    stream
}

pub fn patient_tcp(stream: std::net::TcpStream) -> std::net::TcpStream {
    stream.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("a socket");
    stream.set_write_timeout(Some(Duration::from_nanos(PATIENCE_NS))).expect("a socket");
    stream
}

impl Stepper {
    pub fn new() -> Stepper {
        Stepper { reactor: Reactor::new().expect("a reactor"), events: Vec::new() }
    }

    /// On a clock that steps: time passes only in a turn that finds no news, by its time-out or to the next deadline.
    pub fn stepped() -> Stepper {
        Stepper { reactor: Reactor::on_clock(Clock::Stepped(0)).expect("a reactor"), events: Vec::new() }
    }

    /// A stream link and the plain socket at its other end.
    pub fn stream(&mut self, config: &Rc<Config>) -> (LinkId, UnixStream) {
        let (ours, theirs) = socket::pair(libc::SOCK_STREAM).expect("a pair");
        let id = self.reactor.adopt(ours, Kind::UnixStream, config).expect("a link");
        (id, patient(theirs.into()))
    }

    /// As `stream`, with as little room in the kernel as possible.
    pub fn narrow_stream(&mut self, config: &Rc<Config>) -> (LinkId, UnixStream) {
        let (ours, theirs) = socket::pair(libc::SOCK_STREAM).expect("a pair");
        small_buffers(&ours);
        small_buffers(&theirs);
        let id = self.reactor.adopt(ours, Kind::UnixStream, config).expect("a link");
        (id, patient(theirs.into()))
    }

    /// A link of another kind over a socket pair.
    pub fn half(&mut self, kind: Kind, config: &Rc<Config>) -> (LinkId, OwnedFd) {
        let socket_kind = match kind {
            Kind::Seqpacket => libc::SOCK_SEQPACKET,
            Kind::Datagram => libc::SOCK_DGRAM,
            _ => libc::SOCK_STREAM,
        };
        let (ours, theirs) = socket::pair(socket_kind).expect("a pair");
        (self.reactor.adopt(ours, kind, config).expect("a link"), theirs)
    }

    /// A TCP link that was accepted, its listener, and the client.
    pub fn tcp(&mut self, config: &Rc<Config>) -> (LinkId, LinkId, std::net::TcpStream) {
        let listener = self.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), config).expect("a listener");
        let address = tcp_address(&self.reactor.local(listener).expect("bound"));
        let client = patient_tcp(std::net::TcpStream::connect(address).expect("a connection"));
        (self.accept(listener), listener, client)
    }

    pub fn accept(&mut self, listener: LinkId) -> LinkId {
        self.until("a connection to accept", |reactor, _| reactor.accept(listener).expect("accepts"))
    }

    /// One turn: what was queued leaves, the kernel is looked at for at most `timeout_ns`, events are collected.
    pub fn turn(&mut self, timeout_ns: u64) {
        self.reactor.flush();
        self.reactor.wait(Some(timeout_ns), |wait| wait()).expect("the wait succeeds");
        for _ in 0..100_000 {
            match self.reactor.next_event() {
                Some(event) => self.events.push(event),
                None => {
                    self.reactor.flush();
                    return;
                }
            }
        }
        panic!("a turn has no end: {:?}", &self.events[self.events.len() - 10..]);
    }

    /// Takes turns until `find` finds; it sees the events since the last call and may use the reactor.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut find: impl FnMut(&mut Engine, &mut Vec<Event>) -> Option<T>) -> T {
        let end = monotonic_ns() + PATIENCE_NS;
        loop {
            if let Some(found) = find(&mut self.reactor, &mut self.events) {
                return found;
            }
            assert!(monotonic_ns() < end, "waited in vain for {what}; events: {:?}", self.events);
            self.turn(20_000_000);
        }
    }

    /// Waits for one event and takes it out.
    #[track_caller]
    pub fn expect(&mut self, event: Event) {
        self.until(&format!("{event:?}"), |_, events| {
            let at = events.iter().position(|other| *other == event)?;
            events.remove(at);
            Some(())
        });
    }

    /// Takes turns until the kernel and the reactor have nothing more to say.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            self.turn(0);
            if !self.reactor.is_busy() && !self.reactor.is_dirty() {
                return;
            }
        }
        panic!("the reactor does not come to rest; events: {:?}", self.events);
    }

    /// What the link gives now, without a look at the kernel's reports.
    pub fn take(&mut self, id: LinkId) -> Taken {
        take(&mut self.reactor, id)
    }

    /// Waits as an owner does: take, and on nothing want and wait.
    #[track_caller]
    pub fn receive(&mut self, id: LinkId) -> Taken {
        self.until("a message", |reactor, events| {
            events.retain(|event| *event != Event::Receivable(id));
            match take(reactor, id) {
                Taken::Nothing => {
                    reactor.want(id, want::RECEIVE);
                    None
                }
                taken => Some(taken),
            }
        })
    }

    pub fn send(&mut self, id: LinkId, bytes: impl AsRef<[u8]>) -> Result<Queued, SendError> {
        self.reactor.send(id, Payload::Bytes(bytes.as_ref()), None)
    }

    /// Sends and waits for room where needed, as an owner does.
    #[track_caller]
    pub fn send_all(&mut self, id: LinkId, bytes: &[u8]) {
        self.until("room", |reactor, _| match reactor.send(id, Payload::Bytes(bytes), None).expect("can be sent") {
            Queued::Yes => Some(()),
            Queued::Full => {
                reactor.want(id, want::SEND);
                None
            }
            other => panic!("{other:?}"),
        });
    }

    /// The group's next event, waited for as an owner does.
    #[track_caller]
    pub fn told(&mut self, group: usize) -> Told {
        self.until("an event of the group", |reactor, events| {
            events.retain(|event| *event != Event::GroupReceivable(group));
            let told = told(reactor, group);
            if told.is_none() {
                reactor.group_want(group, 0);
            }
            told
        })
    }

    /// Closes everything and checks that nothing stays behind.
    #[track_caller]
    pub fn close_all(mut self, ids: &[LinkId]) {
        for id in ids {
            self.reactor.close(*id, 0);
        }
        self.until("everything to be gone", |reactor, _| reactor.is_empty().then_some(()));
        assert_eq!(self.reactor.parked(), 0);
    }
}

pub fn take(reactor: &mut Engine, id: LinkId) -> Taken {
    match reactor.take(id) {
        Take::Bytes(bytes) => Taken::Message(bytes.to_vec()),
        Take::Body(body) => Taken::Message(body.into_vec()),
        Take::End => Taken::End,
        Take::Fault(fault) => Taken::Fault(fault),
        Take::Closed => Taken::Closed,
        Take::Nothing => Taken::Nothing,
    }
}

pub fn told(reactor: &mut Engine, group: usize) -> Option<Told> {
    Some(match reactor.group_take(group) {
        GroupTake::Recognised(id) => Told::Recognised(id),
        GroupTake::FellBehind(id, stream, sequence) => Told::FellBehind(id, stream, sequence),
        GroupTake::Joined(id) => Told::Joined(id),
        GroupTake::Message(id, bytes) => Told::Message(id, bytes.to_vec()),
        GroupTake::Body(id, body) => Told::Message(id, body.into_vec()),
        GroupTake::Left(id, fault) => Told::Left(id, fault),
        GroupTake::AcceptFailed(id, error) => Told::AcceptFailed(id, error.0),
        GroupTake::Nothing => return None,
    })
}

/// A message in its frame.
pub fn framed(framing: &str, payload: &[u8]) -> Vec<u8> {
    let framer = Framer::parse(framing, 1 << 30).expect("a framing");
    [framer.header(payload.len()).as_slice(), payload, framer.trailer()].concat()
}

/// Makes the kernel keep little for a socket, so that full queues come soon.
pub fn small_buffers(fd: impl AsFd) {
    for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        socket::set_option(fd.as_fd(), libc::SOL_SOCKET, name, 4096).expect("the option is known");
    }
}

/// Sends bytes with a descriptor alongside (SCM_RIGHTS), which no link asked for.
pub fn send_with_descriptor(socket: &impl AsRawFd, bytes: &[u8]) {
    #[repr(align(8))]
    struct Control([u8; 24]);
    let mut control = Control([0; 24]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes is a valid msghdr; the control buffer has room for one header and one descriptor
    // (CMSG_SPACE(4) is 24), and everything that the message points to outlives the call.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(socket.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &message, 0)
    };
    assert_eq!(sent, bytes.len() as isize);
}

/// One byte of urgent data (MSG_OOB).
pub fn send_urgent(socket: &impl AsRawFd) {
    // SAFETY: one byte is read from a literal.
    let sent = unsafe { libc::send(socket.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}
