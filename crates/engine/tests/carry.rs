//! Connections that go on in another reactor: nothing that was received or queued is lost, doubled or reordered.

mod stepper;

use jackfield_engine::group::GroupTake;
use jackfield_engine::*;
use std::io::{Read, Write};
use std::rc::Rc;
use stepper::*;

/// The same listening socket with an owner of its own in a second reactor.
struct Successor {
    stepper: Stepper,
    listener: LinkId,
    group: usize,
}

impl Successor {
    fn of(before: &mut Stepper, listener: LinkId, config: &Rc<Config>) -> Successor {
        let kind = before.reactor.kind(listener).expect("a listener");
        let fd = before.reactor.detach(listener).expect("nobody is left in it");
        let mut stepper = Stepper::new();
        let socket_kind = if kind == Kind::DatagramListener { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
        let listener = stepper.reactor.adopt_listener(fd, socket_kind, config).expect("a listener");
        let group = stepper.reactor.group(WhenFull::DropNewest);
        stepper.reactor.join(group, listener);
        Successor { stepper, listener, group }
    }

    fn take_in(&mut self, carried: Carried, number: u64) -> LinkId {
        let id = self.stepper.reactor.take_in(self.listener, carried).expect("taken");
        assert!(self.stepper.reactor.join_as(self.group, id, Some(number)));
        assert_eq!(self.stepper.told(self.group), Told::Joined(id));
        id
    }
}

fn grouped(stepper: &mut Stepper, config: &Rc<Config>) -> (usize, LinkId, LinkId, std::net::TcpStream) {
    let (member, listener, client) = stepper.tcp(config);
    let group = stepper.reactor.group(WhenFull::DropNewest);
    assert!(stepper.reactor.join(group, member));
    assert_eq!(stepper.told(group), Told::Joined(member));
    (group, member, listener, client)
}

#[test]
fn unclaimed_messages_and_half_a_frame_go_along() {
    let shared = config("u32");
    let mut stepper = Stepper::new();
    let (group, member, listener, mut client) = grouped(&mut stepper, &shared);
    client.write_all(b"\0\0\0\x03one\0\0\0\x03two\0\0\0\x05th").expect("a socket");
    assert_eq!(stepper.told(group), Told::Message(member, b"one".to_vec()));
    let since = stepper.reactor.since(member);
    let carried = stepper.reactor.hand_over(member).expect("carried");
    assert_eq!(carried.received, [b"\0\0\0\x03two\0\0\0\x05th".to_vec()]);
    assert_eq!(carried.counters.messages_in, 1);
    assert_eq!(stepper.reactor.members(group), []);
    client.write_all(b"ree").expect("a socket");
    let mut next = Successor::of(&mut stepper, listener, &shared);
    let id = next.take_in(carried, 7);
    assert_eq!(next.stepper.told(next.group), Told::Message(id, b"two".to_vec()));
    assert_eq!(next.stepper.told(next.group), Told::Message(id, b"three".to_vec()));
    assert_eq!(next.stepper.reactor.counters(id).expect("open").bytes_in, 23);
    assert_eq!(next.stepper.reactor.since(id), since);
    assert_eq!(next.stepper.reactor.number(id), 7);
    assert_eq!(next.stepper.reactor.next_number(next.group), 8);
    assert_eq!(next.stepper.reactor.clients(next.listener), Some((1, 0)));
    next.stepper.reactor.drop_group(next.group);
    next.stepper.close_all(&[]);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn a_large_message_goes_on_where_it_was() {
    for framing in ["u32", "netstring", "varint", "fixed:600000"] {
        let shared = config(framing);
        let mut stepper = Stepper::new();
        let (group, member, listener, mut client) = grouped(&mut stepper, &shared);
        let body: Vec<u8> = (0..600_000u32).map(|index| (index % 251) as u8).collect();
        let mut frame = shared.framer.header(body.len()).as_slice().to_vec();
        frame.extend_from_slice(&body);
        frame.extend_from_slice(shared.framer.trailer());
        let arrived = frame.len() / 2;
        client.write_all(&frame[..arrived]).expect("a socket");
        stepper.until("half of it", |reactor, _| {
            assert!(matches!(reactor.group_take(group), GroupTake::Nothing));
            let _ = reactor.available(member);
            (reactor.counters(member).expect("open").bytes_in == arrived as u64).then_some(())
        });
        let carried = stepper.reactor.hand_over(member).expect("carried");
        assert_eq!(carried.received, [frame[..arrived].to_vec()], "{framing}");
        let mut next = Successor::of(&mut stepper, listener, &shared);
        let id = next.take_in(carried, 1);
        let rest = frame[arrived..].to_vec();
        let writer = std::thread::spawn(move || client.write_all(&rest).map(|()| client));
        assert_eq!(next.stepper.told(next.group), Told::Message(id, body), "{framing}");
        drop(writer.join().expect("the writer").expect("everything"));
        assert_eq!(next.stepper.told(next.group), Told::Left(id, None));
        next.stepper.reactor.drop_group(next.group);
        next.stepper.close_all(&[]);
        stepper.reactor.drop_group(group);
        stepper.close_all(&[]);
    }
}

#[test]
fn a_queue_goes_along_with_its_boundaries() {
    let shared = config_with("u16", 64 << 20, WhenFull::Wait);
    let mut stepper = Stepper::new();
    let (group, member, listener, mut client) = grouped(&mut stepper, &shared);
    let mut sent = Vec::new();
    let mut count = 0;
    while stepper.reactor.queued_of(member).1 < 40 {
        let payload = vec![count as u8; 20_000];
        stepper.send(member, &payload).expect("an open link");
        sent.extend_from_slice(&20_000u16.to_be_bytes());
        sent.extend_from_slice(&payload);
        stepper.reactor.flush();
        count += 1;
        assert!(count < 10_000, "the kernel takes everything");
    }
    let waiting = stepper.reactor.queued_of(member);
    stepper.reactor.broadcast(group, b"all").expect("a message");
    sent.extend_from_slice(b"\0\x03all");
    let carried = stepper.reactor.hand_over(member).expect("carried");
    assert_eq!(carried.queued.len(), waiting.1 + 1);
    assert_eq!(carried.queued.iter().map(Vec::len).sum::<usize>(), waiting.0 + 5);
    assert!(carried.queued[1..].iter().take(waiting.1 - 1).all(|message| message.len() == 20_002));
    let mut next = Successor::of(&mut stepper, listener, &shared);
    let id = next.take_in(carried, 1);
    next.stepper.send(id, b"after").expect("an open link");
    sent.extend_from_slice(b"\0\x05after");
    let total = sent.len();
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; total];
        client.read_exact(&mut all).map(|()| all)
    });
    next.stepper.until("the queue to empty", |reactor, _| (reactor.queued_of(id).1 == 0).then_some(()));
    assert!(reader.join().expect("the reader").expect("everything") == sent);
    assert_eq!(next.stepper.reactor.counters(id).expect("open").messages_out, count + 2);
    next.stepper.reactor.drop_group(next.group);
    next.stepper.close_all(&[]);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn datagram_peers_keep_their_numbers_and_what_they_said() {
    let shared = config("none");
    let mut stepper = Stepper::new();
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_DGRAM), &shared).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    let group = stepper.reactor.group(WhenFull::DropNewest);
    stepper.reactor.join(group, listener);
    let one = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let two = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for socket in [&one, &two] {
        socket.connect(address).expect("a peer");
        socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a socket");
    }
    one.send(b"first").expect("a datagram");
    assert!(matches!(stepper.told(group), Told::Joined(_)));
    one.send(b"second").expect("a datagram");
    two.send(b"hello").expect("a datagram");
    stepper.until("both to have spoken", |reactor, _| {
        (reactor.counters(listener).expect("open").messages_in == 3).then_some(())
    });
    stepper.reactor.admit_newcomers(group);
    assert_eq!(stepper.reactor.members(group).len(), 2);
    assert_eq!(stepper.reactor.detach(listener).unwrap_err(), DetachError::Shared);
    let members = stepper.reactor.members(group);
    let carried: Vec<Carried> = members.iter().map(|id| stepper.reactor.hand_over(*id).expect("carried")).collect();
    assert_eq!(carried[0].received, [b"first".to_vec(), b"second".to_vec()]);
    assert!(carried[0].fd.is_none());
    one.send(b"third").expect("a datagram");
    let mut next = Successor::of(&mut stepper, listener, &shared);
    let mut ids = Vec::new();
    for (number, carried) in carried.into_iter().enumerate() {
        let id = next.stepper.reactor.take_in(next.listener, carried).expect("taken");
        assert!(next.stepper.reactor.join_as(next.group, id, Some(number as u64 + 5)));
        ids.push(id);
    }
    let mut said = Vec::new();
    while said.len() < 4 {
        match next.stepper.told(next.group) {
            Told::Message(id, bytes) => said.push((next.stepper.reactor.number(id), bytes)),
            Told::Joined(id) => assert!(ids.contains(&id), "nobody is new"),
            other => panic!("{other:?}"),
        }
    }
    said.sort();
    let expected: [(u64, &[u8]); 4] = [(5, b"first"), (5, b"second"), (5, b"third"), (6, b"hello")];
    assert_eq!(said, expected.map(|(number, bytes)| (number, bytes.to_vec())));
    next.stepper.send(ids[1], b"back").expect("an open link");
    next.stepper.reactor.flush();
    let mut got = [0; 16];
    assert_eq!(two.recv(&mut got).expect("an answer"), 4);
    next.stepper.reactor.drop_group(next.group);
    next.stepper.close_all(&[]);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn what_silence_ends_is_told_after_the_silence() {
    let shared = config("gap:20ms");
    let mut stepper = Stepper::new();
    let (group, member, listener, mut client) = grouped(&mut stepper, &shared);
    client.write_all(b"all of it").expect("a socket");
    stepper.until("its arrival", |reactor, _| {
        let _ = reactor.available(member);
        (reactor.counters(member).expect("open").bytes_in == 9).then_some(())
    });
    let carried = stepper.reactor.hand_over(member).expect("carried");
    let mut next = Successor::of(&mut stepper, listener, &shared);
    let id = next.take_in(carried, 1);
    assert_eq!(next.stepper.told(next.group), Told::Message(id, b"all of it".to_vec()));
    next.stepper.reactor.drop_group(next.group);
    next.stepper.close_all(&[]);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn what_cannot_go_along_stays() {
    let shared = config_with("line", 64 << 20, WhenFull::Wait);
    let mut stepper = Stepper::new();
    let (member, listener, _client) = stepper.tcp(&shared);
    while stepper.reactor.queued_of(member).1 == 0 {
        stepper.send_all(member, &[b'x'; 1_000_000]);
        stepper.reactor.flush();
    }
    // The mark waits behind what the kernel does not take.
    stepper.reactor.send_urgent(member, b'!').expect("an open link");
    assert_eq!(stepper.reactor.hand_over(member).unwrap_err(), DetachError::Beside);
    assert!(stepper.reactor.queued_of(member).1 > 1, "it goes on");
    stepper.reactor.abort(member);
    let (broken, mut peer) = stepper.stream(&config("netstring"));
    peer.write_all(b"nonsense").expect("a socket");
    assert!(matches!(stepper.receive(broken), Taken::Fault(Fault::Frame(_))));
    assert!(matches!(stepper.reactor.hand_over(broken), Err(DetachError::Fault(_))));
    assert_eq!(stepper.reactor.hand_over(listener).unwrap_err(), DetachError::Shared);
    stepper.close_all(&[broken, listener]);
}

#[test]
fn a_stranger_is_given_back() {
    let shared = config("line");
    let mut stepper = Stepper::new();
    let (member, listener, _client) = stepper.tcp(&shared);
    let (unix, _peer) = stepper.stream(&shared);
    let carried = stepper.reactor.hand_over(unix).expect("carried");
    let (error, back) = stepper.reactor.take_in(listener, carried).unwrap_err();
    assert_eq!(error.0, libc::EINVAL);
    assert!(back.is_some_and(|back| back.fd.is_some()));
    // A number is given once.
    let group = stepper.reactor.group(WhenFull::DropNewest);
    assert!(stepper.reactor.join_as(group, member, Some(3)));
    let (other, _peer) = stepper.stream(&shared);
    assert!(!stepper.reactor.join_as(group, other, Some(3)));
    stepper.reactor.number_from(group, 10);
    assert!(stepper.reactor.join(group, other));
    assert_eq!(stepper.reactor.number(other), 10);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[listener]);
}
