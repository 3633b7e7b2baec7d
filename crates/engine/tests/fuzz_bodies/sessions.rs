//! Any sequence of sends, deliveries and damage between two TLS sessions, checked against what was sent.
//!
//! The input is a byte for the version, then operations of four bytes: what, which end, and two numbers. What is on the
//! way can be flipped, cut, repeated and mixed with other records, in the handshake and behind it. Held at every moment: a
//! session hands out nothing but what the other end sent, in order from the beginning, and keeps no more than a
//! handshake message and two records; what cannot be encrypted has a reason. Held at the end, if nothing was damaged: all of
//! it has come, and the end that was said.

use super::tls_peer::{client, feed_some, outgoing, server_terms};
use jackfield_engine::tls::session::Session;

/// A handshake message of the largest size that rustls takes, and two records.
const MOST_HELD: usize = 64 * 1024 + 2 * (16 * 1024 + 2048 + 5);
/// Bytes on the way beyond which nothing more is sent.
const MUCH: usize = 1 << 20;

struct End {
    session: Session,
    /// On the way to it.
    coming: Vec<u8>,
    sent: Vec<u8>,
    got: Vec<u8>,
    said_end: bool,
}

impl End {
    fn new(session: Session) -> End {
        End { session, coming: Vec::new(), sent: Vec::new(), got: Vec::new(), said_end: false }
    }

    /// As the engine does it: nothing is taken before what is held gives no more, and then what the room asks for.
    fn take(&mut self, count: usize, room: usize) {
        if self.session.may_advance() && self.feed(0, room) {
            return;
        }
        self.feed(count.min(Session::wanted(room)), room);
    }

    /// Whether there was plaintext.
    fn feed(&mut self, count: usize, room: usize) -> bool {
        let came: Vec<u8> = self.coming.drain(..count.min(self.coming.len())).collect();
        let got = feed_some(&mut self.session, &came, room);
        assert!(self.session.held() <= MOST_HELD, "{} bytes are held", self.session.held());
        self.got.extend(&got);
        !got.is_empty()
    }

    fn can_send(&self) -> bool {
        !self.session.is_handshaking() && !self.session.has_ended() && self.session.failure().is_none()
    }
}

/// See the module.
pub fn tls_sessions(data: &[u8]) {
    let Some((version, operations)) = data.split_first() else { return };
    let mut ends = [End::new(client(version % 2 == 1)), End::new(server_terms().session().expect("a session"))];
    let mut damaged = false;
    exchange(&mut ends);
    // Most inputs are more interesting behind a handshake.
    if version & 2 == 0 {
        settle(&mut ends);
    }
    for operation in operations.chunks_exact(4) {
        let [what, which, first, second] = [operation[0], operation[1], operation[2], operation[3]].map(usize::from);
        damaged |= operate(&mut ends, what % 10, which % 2, (first, second));
        exchange(&mut ends);
        check(&ends);
    }
    settle(&mut ends);
    check(&ends);
    if !damaged {
        for (from, to) in [(0, 1), (1, 0)] {
            assert_eq!(ends[to].session.failure(), None);
            assert_eq!(ends[from].sent.len(), ends[to].got.len(), "not all has come");
            assert_eq!(ends[from].said_end, ends[to].session.has_peer_ended());
        }
    }
}

/// One operation; whether it damages what is on the way.
fn operate(ends: &mut [End; 2], what: usize, which: usize, (first, second): (usize, usize)) -> bool {
    let end = &mut ends[which];
    let at = (first << 8 | second) % end.coming.len().max(1);
    match what {
        0..=2 => end.take(first * second, 1 + second * 300),
        3 | 4 => {
            if end.can_send() && ends[1 - which].coming.len() < MUCH {
                let end = &mut ends[which];
                let plain = vec![(first ^ second) as u8; first * second];
                let parts = plain.chunks(1 + second * 97);
                let encrypted = end.session.encrypt(parts);
                // If not, what it held has turned out to be damaged.
                assert!(encrypted || end.session.failure().is_some());
                end.sent.extend(&plain);
            }
        }
        5 => {
            if end.can_send() {
                end.session.end();
                end.said_end = true;
            }
        }
        6 => {
            let Some(byte) = end.coming.get_mut(at) else { return false };
            *byte ^= 1 << (first % 8);
            return true;
        }
        7 => {
            let whole = end.coming.len();
            end.coming.truncate(at);
            return at < whole;
        }
        8 => {
            // The record that comes next, once more.
            let &[kind, major, minor, high, low, ..] = &end.coming[..] else { return false };
            let size = (5 + (usize::from(high) << 8 | usize::from(low))).min(end.coming.len());
            let record: Vec<u8> = [&[kind, major, minor, high, low], &end.coming[5.min(size)..size]].concat();
            end.coming.splice(..0, record);
            return true;
        }
        _ => {
            // A record of any type and size, of which some is there, at the beginning or the end.
            let mut record = vec![20 + (first % 6) as u8, 3, 3, second as u8, first as u8];
            record.resize(5 + second * 70, first as u8);
            let place = if second % 2 == 0 { 0 } else { end.coming.len() };
            end.coming.splice(place..place, record);
            return true;
        }
    }
    false
}

/// What the sessions have to say is on its way.
fn exchange(ends: &mut [End; 2]) {
    for which in [0, 1] {
        let said = outgoing(&mut ends[which].session);
        ends[1 - which].coming.extend(said);
    }
}

/// All that can arrive does.
fn settle(ends: &mut [End; 2]) {
    loop {
        let before = ends.each_ref().map(|end| (end.coming.len(), end.session.held(), end.got.len()));
        for end in ends.iter_mut() {
            end.take(usize::MAX, 64 * 1024);
        }
        exchange(ends);
        if before == ends.each_ref().map(|end| (end.coming.len(), end.session.held(), end.got.len())) {
            return;
        }
    }
}

fn check(ends: &[End; 2]) {
    for (from, to) in [(0, 1), (1, 0)] {
        assert!(ends[from].sent.starts_with(&ends[to].got), "something else than was sent has come");
    }
}
