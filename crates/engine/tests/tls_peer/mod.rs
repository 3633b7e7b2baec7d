//! The other end of an encrypted link: a session and a plain socket, which writes what a test says and when.

#![allow(dead_code)] // each of its users needs a part of it

use jackfield_engine::tls::certificate::{self, MadeCertificate, Wanted};
use jackfield_engine::tls::session::{Session, Sink};
use jackfield_engine::tls::{Terms, TlsOptions, Verify};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};

/// One certificate for all: making one takes as long as a hundred handshakes.
pub fn made() -> &'static MadeCertificate {
    static MADE: OnceLock<MadeCertificate> = OnceLock::new();
    MADE.get_or_init(|| {
        let wanted = Wanted {
            names: &["127.0.0.1".to_owned()],
            subject: "test",
            not_after: 4_000_000_000,
            serial: &[7; 16],
            ..Wanted::default()
        };
        certificate::make(&wanted).expect("a certificate")
    })
}

pub fn server_terms() -> Terms {
    let options = TlsOptions {
        certificate: Some(made().certificate.as_bytes()),
        key: Some(made().key.as_bytes()),
        ..TlsOptions::default()
    };
    Terms::server(&options).expect("terms")
}

pub fn client_terms() -> Terms {
    let options = TlsOptions { verify: Verify::None, server_name: "127.0.0.1", ..TlsOptions::default() };
    Terms::client(&options).expect("terms")
}

/// A client that trusts the certificate; of TLS 1.2, or of both versions.
pub fn client(only_tls12: bool) -> Session {
    if !only_tls12 {
        return client_terms().session().expect("a session");
    }
    let der = CertificateDer::from_pem_slice(made().certificate.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(der).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    Session::client(Arc::new(config), name).expect("a session")
}

/// Gives a session what came; gives its plaintext, of `room` bytes at most.
pub fn feed_some(session: &mut Session, came: &[u8], room: usize) -> Vec<u8> {
    let mut scratch = vec![0; session.unread()];
    scratch.extend_from_slice(came);
    let mut first = vec![MaybeUninit::new(0); room / 2];
    let mut second = vec![0; room - room / 2];
    let mut sink = Sink::new(&mut first, &mut second);
    session.feed(&mut scratch, &mut sink);
    let filled = sink.filled();
    // SAFETY: every byte was initialised above.
    let mut all: Vec<u8> = first.iter().take(filled).map(|byte| unsafe { byte.assume_init() }).collect();
    all.extend(&second[..filled.saturating_sub(first.len())]);
    all
}

/// The same with all that there is.
pub fn feed(session: &mut Session, came: &[u8]) -> Vec<u8> {
    let mut all = feed_some(session, came, 64 * 1024);
    while session.may_advance() && session.failure().is_none() && !session.has_peer_ended() {
        all.extend(feed_some(session, &[], 64 * 1024));
    }
    all
}

/// Takes what a session has for the socket.
pub fn outgoing(session: &mut Session) -> Vec<u8> {
    let bytes = session.outgoing().to_vec();
    session.sent(bytes.len());
    bytes
}

/// The records in a run of bytes, each with its header.
pub fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while rest.len() >= 5 {
        let size = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        let (record, behind) = rest.split_at(size.min(rest.len()));
        found.push(record);
        rest = behind;
    }
    assert!(rest.is_empty());
    found
}

/// See the module.
pub struct Peer {
    pub stream: TcpStream,
    pub session: Session,
    pub received: Vec<u8>,
    /// The kernel has told the end.
    pub ended: bool,
}

impl Peer {
    /// A client that has said nothing yet.
    pub fn client(stream: TcpStream) -> Peer {
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let session = client(false);
        Peer { stream, session, received: Vec::new(), ended: false }
    }

    /// Takes what came.
    pub fn read(&mut self) {
        let mut buffer = [0; 32 * 1024];
        while !self.ended {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.received.extend(feed(&mut self.session, &buffer[..count])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.ended = true,
            }
        }
    }

    /// Takes what came, and writes what its session has to say; whether it has written everything.
    pub fn pump(&mut self) -> bool {
        self.read();
        while !self.session.outgoing().is_empty() {
            match self.stream.write(self.session.outgoing()) {
                Ok(count) => drop(self.session.sent(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
        true
    }

    /// The records of some plaintext, which are not written.
    pub fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        assert!(self.session.outgoing().is_empty());
        assert!(self.session.encrypt(std::iter::once(plain)));
        outgoing(&mut self.session)
    }

    /// The record that ends its side, which is not written.
    pub fn sealed_end(&mut self) -> Vec<u8> {
        self.session.end();
        outgoing(&mut self.session)
    }

    /// Writes bytes as they are; the test's reader takes them meanwhile.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(false).expect("a socket");
        self.stream.write_all(bytes).expect("the reader takes it");
        self.stream.set_nonblocking(true).expect("a socket");
    }
}
