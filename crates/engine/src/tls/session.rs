//! One connection's TLS: records in and plaintext out, plaintext in and records out. Pure.
//!
//! Records are decrypted where they were received; their plaintext is copied once, to where the receiver wants it, and
//! what has no room there waits here: of one record at most. What is encrypted waits in `outgoing` until the socket has
//! taken it. Nothing is decrypted that nobody has asked for, so that a slow reader closes the peer's window as it does
//! without TLS.
//!
//! rustls remembers where in the bytes that it was shown the parts of a handshake message lie, so it is never shown
//! others before it has them whole: not when something is to be encrypted, either.
//!
//! The file is long because rustls is driven by one loop over its states, and all that the loop moves is one struct's.

use super::certificate::CertificateFacts;
use super::failure::Failure;
use super::trust;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

/// The plaintext of a full record (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;
/// What a record is longer than its plaintext, at most, in the suites of rustls: header, nonce, tag, type.
const OVERHEAD: usize = 5 + 8 + 16 + 1;
/// Room for what a handshake says in one flight, at first.
const FLIGHT: usize = 4 * 1024;

enum Machine {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What both ends agreed on, and who the other one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The application protocol, if one was negotiated.
    pub alpn: Option<Vec<u8>>,
    /// The other end's certificate in DER form, if it has shown one.
    pub certificate: Option<Vec<u8>>,
}

/// Where plaintext goes: into both parts, the first one filled first.
#[derive(Debug)]
pub struct Sink<'a> {
    first: &'a mut [MaybeUninit<u8>],
    second: &'a mut [u8],
    filled: usize,
}

impl<'a> Sink<'a> {
    /// Nothing filled.
    pub fn new(first: &'a mut [MaybeUninit<u8>], second: &'a mut [u8]) -> Sink<'a> {
        Sink { first, second, filled: 0 }
    }

    /// Bytes filled.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Bytes that it still takes.
    pub fn room(&self) -> usize {
        self.first.len() + self.second.len() - self.filled
    }

    /// Takes what fits of `bytes`; gives how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        let split = count.min(self.first.len().saturating_sub(self.filled));
        // A plain range, or this is no memcpy(3).
        let first = self.first.get_mut(self.filled..self.filled + split).unwrap_or_default();
        for (to, from) in first.iter_mut().zip(&bytes[..split]) {
            to.write(*from);
        }
        if count > split {
            let at = (self.filled + split) - self.first.len();
            self.second[at..at + count - split].copy_from_slice(&bytes[split..count]);
        }
        self.filled += count;
        count
    }
}

/// Bytes for the socket: `from..to` of the buffer.
#[derive(Debug, Default)]
struct Outgoing {
    /// Filled with zeroes to its whole length.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Outgoing {
    /// The free part, of `size` bytes at least.
    fn room(&mut self, size: usize) -> &mut [u8] {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        if self.buffer.len() < self.to + size {
            self.buffer.resize(self.to + size, 0);
        }
        &mut self.buffer[self.to..]
    }
}

/// What a step of the machine came to.
enum Next {
    Again,
    /// There was plaintext.
    Plain,
    /// It needs bytes, or is idle.
    Idle,
    PeerEnded,
    Failed(Error),
}

/// See the module.
pub struct Session {
    machine: Machine,
    /// Received and not decrypted, from `incoming_at` on.
    incoming: Vec<u8>,
    incoming_at: usize,
    /// There may be a whole record in `incoming`.
    may_advance: bool,
    /// Decrypted, and no room for it yet, from `plain_at` on.
    plain: Vec<u8>,
    plain_at: usize,
    outgoing: Outgoing,
    /// Plaintext bytes and messages in `outgoing`.
    pending: (usize, usize),
    peer_ended: bool,
    end_sent: bool,
    /// Something of the peer was TLS.
    heard: bool,
    failure: Option<Box<Failure>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("agreed", &self.agreed())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A client's; its first words wait to be sent.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        let mut session = Session::new(Machine::Client(Box::new(connection)));
        session.advance(&mut [], &mut Sink::new(&mut [], &mut []));
        Ok(session)
    }

    /// A server's.
    pub fn server(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session::new(Machine::Server(Box::new(UnbufferedServerConnection::new(config)?))))
    }

    fn new(machine: Machine) -> Session {
        Session {
            machine,
            incoming: Vec::new(),
            incoming_at: 0,
            may_advance: false,
            plain: Vec::new(),
            plain_at: 0,
            outgoing: Outgoing::default(),
            pending: (0, 0),
            peer_ended: false,
            end_sent: false,
            heard: false,
            failure: None,
        }
    }

    fn common(&self) -> &CommonState {
        match &self.machine {
            Machine::Client(connection) => connection,
            Machine::Server(connection) => connection,
        }
    }

    /// Whether both ends have not agreed yet.
    pub fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Whether the peer has ended its side in order (close_notify).
    pub fn has_peer_ended(&self) -> bool {
        self.peer_ended
    }

    /// Whether our side was ended.
    pub fn has_ended(&self) -> bool {
        self.end_sent
    }

    /// What went wrong; this stays.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// Notes what went wrong outside: the first one stays.
    pub fn fail(&mut self, cause: &'static str, said: &str) {
        let in_handshake = self.is_handshaking();
        self.failure.get_or_insert_with(|| Box::new(Failure { in_handshake, ..Failure::new(cause, said) }));
    }

    /// Keeps what came, for who wants to know what it was, if it was not TLS.
    pub fn note_beginning(&mut self) {
        let came = &self.incoming[self.incoming_at..];
        if let Some(failure) = &mut self.failure
            && !self.heard
        {
            failure.beginning = came[..came.len().min(64)].to_vec();
        }
    }

    /// Whether anything of the peer was TLS.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether [`Session::feed`] may give plaintext, or news, without another byte from the socket.
    pub fn may_advance(&self) -> bool {
        self.plain_at < self.plain.len() || self.may_advance
    }

    /// Bytes that were received and not handed out.
    pub fn held(&self) -> usize {
        self.incoming.len() - self.incoming_at + self.plain.len() - self.plain_at
    }

    /// How many bytes to ask the socket for, when there is room for `room` bytes of plaintext.
    pub fn wanted(room: usize) -> usize {
        (room + room.div_ceil(RECORD) * OVERHEAD).max(RECORD + OVERHEAD)
    }

    /// Hands out what was decrypted before, then decrypts what was received before and what came now, in `scratch` behind
    /// the first [`Session::unread`] bytes: those are filled in here. Stops when the sink is full.
    pub fn feed(&mut self, scratch: &mut [u8], sink: &mut Sink<'_>) {
        self.hand_out(sink);
        let carried = self.unread();
        scratch[..carried].copy_from_slice(&self.incoming[self.incoming_at..]);
        if sink.room() > 0 || self.is_handshaking() {
            let used = self.advance(scratch, sink);
            self.keep(&scratch[used..]);
        } else {
            self.keep(scratch);
            self.may_advance = true;
        }
    }

    /// Bytes that were received and not decrypted.
    pub fn unread(&self) -> usize {
        self.incoming.len() - self.incoming_at
    }

    fn keep(&mut self, rest: &[u8]) {
        self.incoming_at = 0;
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
    }

    /// Gives what was decrypted and had no room.
    fn hand_out(&mut self, sink: &mut Sink<'_>) {
        if self.plain_at == self.plain.len() {
            return;
        }
        self.plain_at += sink.take(&self.plain[self.plain_at..]);
        if self.plain_at == self.plain.len() {
            (self.plain, self.plain_at) = (Vec::new(), 0);
        }
    }

    /// Processes records at the beginning of `bytes`; gives how many bytes are done with.
    fn advance(&mut self, bytes: &mut [u8], sink: &mut Sink<'_>) -> usize {
        let mut used = 0;
        self.may_advance = false;
        // What comes behind an end means nothing (RFC 8446, 6.1).
        if self.failure.is_some() || self.peer_ended {
            return bytes.len();
        }
        loop {
            let (handshaking, first) = (self.is_handshaking(), !self.heard);
            let rest = &mut bytes[used..];
            let step = Step { outgoing: &mut self.outgoing, sink, plain: &mut self.plain };
            let (discard, next) = match &mut self.machine {
                Machine::Client(connection) => step.after(connection.process_tls_records(rest)),
                Machine::Server(connection) => step.after(connection.process_tls_records(rest)),
            };
            used += discard;
            self.heard |= discard > 0;
            match next {
                Next::Plain if sink.room() == 0 => {
                    self.may_advance = true;
                    return used;
                }
                Next::Again | Next::Plain => {}
                Next::Idle => return used,
                Next::PeerEnded => {
                    self.peer_ended = true;
                    return bytes.len();
                }
                Next::Failed(error) => {
                    let refused = trust::take_refused();
                    let beginning = (first && handshaking).then_some(&bytes[used..]);
                    let mut failure = Failure::of(&error, refused.as_ref(), beginning);
                    failure.in_handshake = handshaking;
                    if !handshaking && failure.cause.starts_with("no_shared_") {
                        // Something was in common before: the peer wanted a new handshake, which there is not.
                        failure.cause = "refused_by_peer";
                    }
                    self.failure = Some(Box::new(failure));
                    self.say_alert(&mut bytes[used..]);
                    return bytes.len();
                }
            }
        }
    }

    /// After a failure rustls has an alert to say. It is shown the bytes no longer than it has: they fail again.
    fn say_alert(&mut self, bytes: &mut [u8]) {
        let mut used = 0;
        let mut sink = Sink::new(&mut [], &mut []);
        while self.common().wants_write() {
            let step = Step { outgoing: &mut self.outgoing, sink: &mut sink, plain: &mut self.plain };
            let (discard, next) = match &mut self.machine {
                Machine::Client(connection) => step.after(connection.process_tls_records(&mut bytes[used..])),
                Machine::Server(connection) => step.after(connection.process_tls_records(&mut bytes[used..])),
            };
            used += discard;
            if !matches!(next, Next::Again) {
                return;
            }
        }
    }

    // ----- sending -----

    /// What waits for the socket.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing.buffer[self.outgoing.from..self.outgoing.to]
    }

    /// Plaintext bytes and messages among that.
    pub fn pending(&self) -> (usize, usize) {
        self.pending
    }

    /// The socket took `count` bytes of it. Once it has taken all, gives the plaintext bytes and messages that went.
    pub fn sent(&mut self, count: usize) -> Option<(usize, usize)> {
        self.outgoing.from += count;
        (self.outgoing.from == self.outgoing.to).then(|| std::mem::take(&mut self.pending))
    }

    /// Drops what waits; gives the messages among it.
    pub fn abandon(&mut self) -> usize {
        self.outgoing = Outgoing::default();
        std::mem::take(&mut self.pending).1
    }

    /// Lends a buffer to encrypt into, when nothing waits.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        if self.outgoing.from == self.outgoing.to {
            self.outgoing = Outgoing { buffer, from: 0, to: 0 };
        }
    }

    /// Takes the buffer back; what waits keeps one of its own, no larger than it needs.
    pub fn take_back(&mut self) -> Vec<u8> {
        let Outgoing { buffer, from, to } = std::mem::take(&mut self.outgoing);
        self.outgoing = Outgoing { buffer: buffer[from..to].to_vec(), from: 0, to: to - from };
        buffer
    }

    /// Takes out what waits, for who writes it without the session, and gives a buffer to encrypt into next: the bytes are
    /// those of the range, and hold so many plaintext bytes and messages.
    pub fn exchange(&mut self, spare: Vec<u8>) -> (Vec<u8>, Range<usize>, (usize, usize)) {
        let fresh = Outgoing { buffer: spare, from: 0, to: 0 };
        let Outgoing { buffer, from, to } = std::mem::replace(&mut self.outgoing, fresh);
        (buffer, from..to, std::mem::take(&mut self.pending))
    }

    /// Encrypts `parts`. False, and nothing is encrypted any more, once the
    /// keys are used up (TLS 1.2 after 2^24 records).
    pub fn encrypt<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> bool {
        // Parts that do not fill a record are put together.
        let mut gathered: Vec<u8> = Vec::new();
        let mut parts = parts.peekable();
        while let Some(mut part) = parts.next() {
            self.pending.0 += part.len();
            if !gathered.is_empty() {
                let fitting = part.len().min(RECORD - gathered.len());
                gathered.extend_from_slice(&part[..fitting]);
                part = &part[fitting..];
                if gathered.len() == RECORD {
                    if !self.encrypt_part(&gathered) {
                        return false;
                    }
                    gathered.clear();
                }
            }
            let more = parts.peek().is_some() || !gathered.is_empty();
            let whole = if more { part.len() - part.len() % RECORD } else { part.len() };
            if !self.encrypt_part(&part[..whole]) {
                return false;
            }
            gathered.extend_from_slice(&part[whole..]);
        }
        self.encrypt_part(&gathered)
    }

    /// So many messages became whole with what was encrypted last.
    pub fn add_messages(&mut self, count: usize) {
        self.pending.1 += count;
    }

    fn encrypt_part(&mut self, plain: &[u8]) -> bool {
        if plain.is_empty() {
            return true;
        }
        let size = plain.len() + plain.len().div_ceil(RECORD) * OVERHEAD;
        self.write(size, Some(plain))
    }

    /// Ends our side: the peer is told that nothing follows.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.end_sent, true) && self.failure.is_none() && !self.is_handshaking() {
            self.write(2 + OVERHEAD, None);
        }
    }

    /// Encrypts `plain`, or the end, into about `size` bytes.
    fn write(&mut self, size: usize, plain: Option<&[u8]>) -> bool {
        let mut incoming = std::mem::take(&mut self.incoming);
        let done = self.write_beside(size, plain, &mut incoming);
        if self.incoming_at < incoming.len() {
            self.incoming = incoming;
        } else {
            self.incoming_at = 0;
        }
        done
    }

    /// The same, with what is to be decrypted: what comes of that is kept, and what rustls itself has to say comes first.
    fn write_beside(&mut self, size: usize, plain: Option<&[u8]>, incoming: &mut [u8]) -> bool {
        let mut needed = size;
        loop {
            let mut sink = Sink::new(&mut [], &mut []);
            let step = Step { outgoing: &mut self.outgoing, sink: &mut sink, plain: &mut self.plain };
            let rest = &mut incoming[self.incoming_at..];
            let (discard, outcome) = match &mut self.machine {
                Machine::Client(connection) => step.write(connection.process_tls_records(rest), needed, plain),
                Machine::Server(connection) => step.write(connection.process_tls_records(rest), needed, plain),
            };
            self.incoming_at += discard;
            match outcome {
                Written::Yes => return true,
                Written::Needs(more) if more > needed => needed = more,
                Written::Needs(_) | Written::No => return false,
                Written::After(Next::Failed(error)) => {
                    self.failure = Some(Box::new(Failure::of(&error, None, None)));
                    self.say_alert(&mut incoming[self.incoming_at..]);
                    return false;
                }
                Written::After(Next::Idle) => return false,
                Written::After(Next::PeerEnded) => self.peer_ended = true,
                Written::After(Next::Again | Next::Plain) => {}
            }
        }
    }

    // ----- facts -----

    /// What was agreed on; `None` as long as the handshake goes on.
    pub fn agreed(&self) -> Option<Agreed> {
        let common = self.common();
        if common.is_handshaking() {
            return None;
        }
        let cipher = common.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Some(Agreed {
            version: match common.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: cipher.unwrap_or_default().replace("TLS13_", "TLS_"),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            certificate: common
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|der: &CertificateDer<'_>| der.to_vec()),
        })
    }

    /// What the other end's certificate says, if it has shown one.
    pub fn peer_certificate(&self) -> Option<CertificateFacts> {
        let chain = self.common().peer_certificates()?;
        chain.first().map(|der| CertificateFacts::of(der))
    }
}

enum Written {
    Yes,
    /// It does not fit: so many bytes are needed.
    Needs(usize),
    No,
    /// Something else came first.
    After(Next),
}

/// Where a step's results go.
struct Step<'a, 'b> {
    outgoing: &'a mut Outgoing,
    sink: &'a mut Sink<'b>,
    plain: &'a mut Vec<u8>,
}

impl Step<'_, '_> {
    fn after<D>(self, status: UnbufferedStatus<'_, '_, D>) -> (usize, Next) {
        let mut discard = status.discard;
        let next = match status.state {
            Err(error) => Next::Failed(error),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            let taken = self.sink.take(record.payload);
                            self.plain.extend_from_slice(&record.payload[taken..]);
                        }
                        Err(error) => return (discard, Next::Failed(error)),
                    }
                }
                Next::Plain
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                self.encode(|room| data.encode(room));
                Next::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Next::Again
            }
            Ok(ConnectionState::PeerClosed) => Next::PeerEnded,
            Ok(_) => Next::Idle,
        };
        (discard, next)
    }

    fn encode(self, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
        let mut size = FLIGHT;
        loop {
            match encode(self.outgoing.room(size)) {
                Ok(count) => {
                    self.outgoing.to += count;
                    return;
                }
                Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) if required_size > size => {
                    size = required_size;
                }
                Err(_) => return,
            }
        }
    }

    fn write<D>(self, status: UnbufferedStatus<'_, '_, D>, size: usize, plain: Option<&[u8]>) -> (usize, Written) {
        match status.state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let room = self.outgoing.room(size);
                let outcome = match plain {
                    Some(plain) => traffic.encrypt(plain, room),
                    None => traffic.queue_close_notify(room),
                };
                let written = match outcome {
                    Ok(count) => {
                        self.outgoing.to += count;
                        Written::Yes
                    }
                    Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                        Written::Needs(required_size)
                    }
                    Err(EncryptError::EncryptExhausted) => Written::No,
                };
                (status.discard, written)
            }
            state => {
                let (discard, next) = self.after(UnbufferedStatus { discard: status.discard, state });
                (discard, Written::After(next))
            }
        }
    }
}
