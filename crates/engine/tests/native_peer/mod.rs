//! A native client at the other end of a Unix connection, written by hand, and a group that it joins. Shared by the
//! tests of the switch.

#![allow(dead_code)] // each of its users needs a part of it

use crate::stepper::*;
use jackfield_engine::native::frame::{Frame, HEADER, Kind, OPENING, prefix};
use jackfield_engine::native::{Recognition, Whom};
use jackfield_engine::*;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// A group with a listener that recognises native clients.
pub struct Exchange {
    pub stepper: Stepper,
    pub group: usize,
    pub listener: LinkId,
    name: Vec<u8>,
}

/// A client's end of a connection, and who it is to the exchange.
pub struct Client {
    pub id: LinkId,
    pub socket: UnixStream,
    pending: Vec<u8>,
}

/// A frame, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub stream: u32,
    pub kind: Kind,
    pub flags: u8,
    pub payload: Vec<u8>,
}

pub fn got(stream: u32, kind: Kind, payload: &[u8]) -> Got {
    Got { stream, kind, flags: 0, payload: payload.to_vec() }
}

/// The bytes of a frame as a message of its own.
pub fn frame(stream: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    flagged(stream, kind, 0, payload)
}

pub fn flagged(stream: u32, kind: Kind, flags: u8, payload: &[u8]) -> Vec<u8> {
    [&prefix(stream, kind, flags, payload.len())[..], payload].concat()
}

/// The same without the length before it: what the owner gets.
pub fn bare(stream: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    frame(stream, kind, payload)[4..].to_vec()
}

pub const HELLO: &[u8] = b"{\"type\":\"hello\"}";
pub const WELCOME: &[u8] = b"{\"type\":\"welcome\"}";

impl Exchange {
    pub fn new(recognition: Recognition) -> Exchange {
        Exchange::with(recognition, "line", 1 << 20, Stepper::new())
    }

    pub fn with(recognition: Recognition, framing: &str, high_water: usize, mut stepper: Stepper) -> Exchange {
        let group = stepper.reactor.group(WhenFull::DropNewest);
        let name = unique_name();
        let config = config_with(framing, high_water, WhenFull::Wait);
        let listener = stepper.reactor.listen(&name, &how(libc::SOCK_STREAM), &config).expect("a listener");
        assert!(stepper.reactor.join_recognising(group, listener, recognition));
        let jackfield_engine::sys::address::SocketAddress::Unix(name) = name else { panic!("a Unix name") };
        Exchange { stepper, group, listener, name: name.to_vec() }
    }

    /// Somebody connects; its `Joined` is told.
    pub fn connect(&mut self) -> Client {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&self.name[1..]).expect("a name");
        let socket = patient(UnixStream::connect_addr(&address).expect("it listens"));
        let Told::Joined(id) = self.stepper.told(self.group) else { panic!("somebody joins") };
        Client { id, socket, pending: Vec::new() }
    }

    /// A native client that has said hello.
    pub fn greet(&mut self) -> Client {
        let mut client = self.connect();
        client.write(&OPENING);
        client.write(&frame(0, Kind::Control, HELLO));
        assert_eq!(self.stepper.told(self.group), Told::Recognised(client.id));
        assert_eq!(self.stepper.told(self.group), Told::Message(client.id, bare(0, Kind::Control, HELLO)));
        client
    }

    /// A native client that was welcomed.
    pub fn client(&mut self) -> Client {
        let mut client = self.greet();
        self.send(&client, 0, Kind::Control, WELCOME);
        client.magic(self);
        assert_eq!(client.read(self), got(0, Kind::Control, WELCOME));
        client
    }

    #[track_caller]
    pub fn send(&mut self, client: &Client, stream: u32, kind: Kind, payload: &[u8]) {
        let sent = self.stepper.reactor.switch_send(Whom::Member(client.id), stream, kind, 0, payload);
        assert_eq!(sent, Ok(true));
    }

    #[track_caller]
    pub fn told(&mut self) -> Told {
        self.stepper.told(self.group)
    }

    /// Two clients with a route between stream 1 of the first and stream 2 of the second; both have granted `credit`.
    pub fn linked(&mut self, credit: u32) -> (Client, Client) {
        let (mut a, mut b) = (self.client(), self.client());
        a.write(&frame(1, Kind::Open, b"{}"));
        assert_eq!(self.told(), Told::Message(a.id, bare(1, Kind::Open, b"{}")));
        self.send(&b, 2, Kind::Open, b"{}");
        assert_eq!(b.read(self), got(2, Kind::Open, b"{}"));
        let linked = self.stepper.reactor.switch_link((Whom::Member(a.id), 1), (Whom::Member(b.id), 2), credit);
        assert_eq!(linked, Ok(()));
        b.write(&frame(2, Kind::Credit, &credit.to_be_bytes()));
        assert_eq!(a.read(self), got(1, Kind::Credit, &credit.to_be_bytes()));
        (a, b)
    }

    pub fn end(mut self) {
        self.stepper.reactor.drop_group(self.group);
        self.stepper.close_all(&[]);
    }
}

impl Client {
    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the hub reads");
    }

    fn fill(&mut self, exchange: &mut Exchange, size: usize) {
        self.socket.set_nonblocking(true).expect("a socket");
        let (socket, pending) = (&mut self.socket, &mut self.pending);
        exchange.stepper.until("bytes for a client", |_, _| {
            let mut buffer = [0; 65_536];
            while pending.len() < size {
                match socket.read(&mut buffer) {
                    Ok(0) => panic!("the hub has ended; {} of {size} bytes are there", pending.len()),
                    Ok(count) => pending.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                    Err(error) => panic!("{error}"),
                }
            }
            Some(())
        });
        self.socket.set_nonblocking(false).expect("a socket");
    }

    #[track_caller]
    pub fn magic(&mut self, exchange: &mut Exchange) {
        self.fill(exchange, OPENING.len());
        assert_eq!(self.pending.drain(..OPENING.len()).collect::<Vec<_>>(), OPENING);
    }

    /// The next frame, whatever it is.
    #[track_caller]
    pub fn read_any(&mut self, exchange: &mut Exchange) -> Got {
        self.fill(exchange, 4);
        let size = u32::from_be_bytes(self.pending[..4].try_into().expect("four bytes")) as usize;
        assert!(size >= HEADER);
        self.fill(exchange, 4 + size);
        let bytes: Vec<u8> = self.pending.drain(..4 + size).skip(4).collect();
        let kind = Kind::from_number(bytes[4]).expect("a kind");
        let stream = u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
        assert!(bytes[5] != 0 || Frame::parse(&bytes).is_ok(), "well-formed: {bytes:?}");
        Got { stream, kind, flags: bytes[5], payload: bytes[8..].to_vec() }
    }

    /// The next frame that is no ACK.
    #[track_caller]
    pub fn read(&mut self, exchange: &mut Exchange) -> Got {
        loop {
            let got = self.read_any(exchange);
            if got.kind != Kind::Ack {
                return got;
            }
        }
    }

    /// Nothing but ACKs is there, once the exchange has come to rest.
    #[track_caller]
    pub fn hears_nothing(&mut self, exchange: &mut Exchange) {
        exchange.stepper.settle();
        self.socket.set_nonblocking(true).expect("a socket");
        let error = (&self.socket).read(&mut [0; 64]).expect_err("nothing to read");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).expect("a socket");
        assert!(self.pending.is_empty(), "{:?}", self.pending);
    }
}
