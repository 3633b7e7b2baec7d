//! TLS of a blocking channel: both halves share one session, and neither keeps anything from the other.

mod tls_peer;

use jackfield_engine::blocking::{Health, Progress, Receiver, Sender, SharedSession};
use jackfield_engine::frame::Framer;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::{Errno, io};
use jackfield_engine::tls::session::Sink;
use jackfield_engine::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use tls_peer::*;

/// A client of the standard kind, which can change its keys.
fn standard_client() -> ClientConnection {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made().certificate.as_bytes()).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").expect("a name")).expect("a client")
}

/// The end under test.
struct End {
    stream: UnixStream,
    config: Config,
    health: Health,
    counters: Counters,
    session: SharedSession,
    receiver: Receiver<PlainBody>,
    sender: Sender<Vec<u8>>,
}

impl End {
    fn send(&mut self, message: &[u8]) -> Progress {
        self.sender.push(Payload::Bytes(message), &self.config);
        self.write()
    }

    fn write(&mut self) -> Progress {
        loop {
            let result = self.sender.write(self.stream.as_fd(), false);
            match self.sender.written(result, 1, &mut self.health, &mut self.counters) {
                Progress::More => {}
                progress => return progress,
            }
        }
    }

    /// One receive; the error if it brought nothing.
    fn fill(&mut self, wait: bool) -> Option<Errno> {
        let mut sealed = self.receiver.lend().expect("it is encrypted");
        let result = sealed.receive(self.stream.as_fd(), self.receiver.target(), wait);
        self.receiver.give_back(Some(sealed));
        let error = result.err();
        if error != Some(Errno(libc::EINTR)) {
            self.receiver.filled(result, 1, &mut self.health, &mut self.counters);
        }
        error
    }

    /// The next message, if it is there.
    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let framer = self.config.framer.clone();
            match self.receiver.take(&framer, false, &mut self.health, &mut self.counters) {
                Take::Bytes(bytes) => return Some(bytes.to_vec()),
                Take::Body(body) => return Some(body.into_vec()),
                Take::Nothing => {}
                _ => return None,
            }
            if self.fill(false).is_some() {
                return None;
            }
        }
    }

    fn fault(&mut self) -> Fault {
        let framer = self.config.framer.clone();
        match self.receiver.take(&framer, false, &mut self.health, &mut self.counters) {
            Take::Fault(fault) => fault,
            _ => panic!("there is no fault"),
        }
    }
}

/// A server's end and its client, which have agreed.
fn agreed() -> (End, ClientConnection, UnixStream) {
    let (mut session, mut client) = (server_terms().session().expect("a session"), standard_client());
    while session.is_handshaking() || client.is_handshaking() {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).expect("memory");
        }
        session.feed(&mut [vec![0; session.unread()], said].concat(), &mut Sink::new(&mut [], &mut []));
        let answer = outgoing(&mut session);
        let mut rest = &answer[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets().expect("TLS");
        }
    }
    let framer = Rc::new(Framer::parse("u32", 1 << 24).expect("a framing"));
    let (stream, other) = UnixStream::pair().expect("a pair");
    other.set_nonblocking(true).expect("a socket");
    let session = SharedSession::new(session);
    let mut receiver = Receiver::new(Kind::Tcp, &framer);
    let mut sender = Sender::new(Kind::Tcp, SocketAddress::Unnamed, &framer);
    receiver.decrypt(session.clone());
    sender.encrypt(session.clone());
    let config = Config {
        framer,
        high_water: 1 << 20,
        when_full: WhenFull::Wait,
        vanished_ns: 0,
        idle_ns: 0,
        max_clients: usize::MAX,
        tls: None,
    };
    let (health, counters) = (Health::default(), Counters::default());
    (End { stream, config, health, counters, session, receiver, sender }, client, other)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// The records that a client has to say.
fn said(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).expect("memory");
    }
    bytes
}

/// What has come to a client, decrypted.
fn heard(client: &mut ClientConnection, stream: &mut UnixStream, into: &mut Vec<u8>) {
    while client.read_tls(stream).is_ok_and(|count| count > 0) {
        client.process_new_packets().expect("TLS");
        let _ = client.reader().read_to_end(into);
    }
}

#[test]
fn new_keys_are_followed_and_answered_with_what_is_sent_next() {
    let (mut end, mut client, mut other) = agreed();
    let mut plain = Vec::new();
    for round in 0..3u8 {
        client.refresh_traffic_keys().expect("TLS 1.3");
        other.write_all(&said(&mut client)).expect("room");
        assert!(end.fill(false).is_some_and(Errno::would_block));
        assert_eq!(end.send(&[round; 10]), Progress::Empty);
        heard(&mut client, &mut other, &mut plain);
        client.writer().write_all(&framed(b"with the new keys")).expect("room");
        other.write_all(&said(&mut client)).expect("room");
        assert_eq!(end.take().as_deref(), Some(&b"with the new keys"[..]));
    }
    assert_eq!(plain, [framed(&[0; 10]), framed(&[1; 10]), framed(&[2; 10])].concat());
    assert_eq!((end.counters.messages_out, end.counters.bytes_out), (3, 42));
}

#[test]
fn what_is_encrypted_is_not_taken_back_and_counts_once_it_has_left() {
    let (mut end, mut client, mut other) = agreed();
    let message = vec![7; 4 << 20];
    assert_eq!(end.send(&message), Progress::Full);
    assert!(!end.sender.withdraw());
    let (bytes, messages) = end.sender.queued();
    assert_eq!((bytes as u64 + end.counters.bytes_out, messages), (4 + (4 << 20), 1));
    end.sender.end();
    let mut plain = Vec::new();
    while end.write() != Progress::Empty {
        heard(&mut client, &mut other, &mut plain);
    }
    end.sender.end_if_due(end.stream.as_fd(), &end.health);
    heard(&mut client, &mut other, &mut plain);
    assert_eq!(plain.len(), message.len() + 4);
    // The end of TLS, and of the stream.
    assert!(client.process_new_packets().expect("TLS").peer_has_closed());
    assert_eq!(end.counters.messages_out, 1);
}

#[test]
fn whatever_is_cut_and_whoever_sends_in_between_messages_are_whole() {
    let mut random = 88172645463325252u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % below
    };
    for _ in 0..20 {
        let (mut end, mut client, mut other) = agreed();
        let (mut wanted, mut found, mut plain, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..30 {
            let size = [0, 5, 1_000, 16_384, 60_000][next(5)];
            let message = vec![number; size];
            client.writer().write_all(&framed(&message)).expect("room");
            wanted.push(message);
            if next(4) == 0 {
                client.refresh_traffic_keys().expect("TLS 1.3");
            }
            let records = said(&mut client);
            let mut rest = &records[..];
            while !rest.is_empty() {
                let count = (1 + next(20_000)).min(rest.len());
                other.write_all(&rest[..count]).expect("room");
                rest = &rest[count..];
                // A receive, a message of ours, or neither, between any two pieces of a record.
                match next(3) {
                    0 => found.extend(end.take()),
                    1 => {
                        let answer = vec![number; next(300)];
                        assert_eq!(end.send(&answer), Progress::Empty);
                        answers.extend(framed(&answer));
                    }
                    _ => {}
                }
                heard(&mut client, &mut other, &mut plain);
                // The socket pair holds less than what is sent in all.
                while io::receive(
                    end.stream.as_fd(),
                    &mut [std::mem::MaybeUninit::uninit()],
                    libc::MSG_PEEK | libc::MSG_DONTWAIT,
                )
                .is_ok()
                {
                    found.extend(end.take());
                }
            }
        }
        while found.len() < wanted.len() {
            found.push(end.take().expect("all of it is there"));
        }
        assert_eq!(found, wanted);
        assert_eq!(end.write(), Progress::Empty);
        heard(&mut client, &mut other, &mut plain);
        assert_eq!(plain, answers);
    }
}

#[test]
fn what_was_wrong_is_said_to_the_peer_and_nothing_else_leaves() {
    let (mut end, mut client, mut other) = agreed();
    client.writer().write_all(&framed(b"spoiled")).expect("room");
    let mut record = said(&mut client);
    *record.last_mut().expect("a record") ^= 1;
    other.write_all(&record).expect("room");
    assert_eq!(end.take(), None);
    assert!(matches!(end.fault(), Fault::Tls(failure) if failure.cause == "damaged_record"));
    assert!(end.session.has_answer());
    assert_eq!(end.write(), Progress::Empty);
    end.sender.push(Payload::Bytes(b"too late"), &end.config);
    assert_eq!(end.write(), Progress::Broken);
    while client.read_tls(&mut other).is_ok_and(|count| count > 0) {}
    assert!(matches!(client.process_new_packets(), Err(rustls::Error::AlertReceived(_))));
}
