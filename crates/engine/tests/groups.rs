//! Groups: one stream of events, fair among members, and broadcasts that share their bytes.

mod stepper;

use jackfield_engine::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use stepper::*;

fn members(
    stepper: &mut Stepper,
    group: usize,
    count: usize,
    config: &Rc<Config>,
    narrow: bool,
) -> Vec<(LinkId, UnixStream)> {
    let made: Vec<_> =
        (0..count).map(|_| if narrow { stepper.narrow_stream(config) } else { stepper.stream(config) }).collect();
    for (id, _) in &made {
        assert!(stepper.reactor.join(group, *id));
        assert_eq!(stepper.told(group), Told::Joined(*id));
    }
    made
}

fn read_exactly(peer: &mut UnixStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    peer.read_exact(&mut got).expect("the peer reads");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
}

fn nothing_to_read(peer: &UnixStream) {
    peer.set_nonblocking(true).expect("a socket");
    let error = (&mut &*peer).read(&mut [0; 10]).expect_err("nothing");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).expect("a socket");
}

#[test]
fn joined_messages_and_left_come_in_this_order() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let (id, mut peer) = stepper.stream(&config("line"));
    peer.write_all(b"one\ntwo\n").expect("the peer writes");
    drop(peer);
    assert!(stepper.reactor.join(group, id));
    assert!(!stepper.reactor.join(group, id), "once only");
    assert_eq!(stepper.told(group), Told::Joined(id));
    assert_eq!(stepper.told(group), Told::Message(id, b"one".into()));
    assert_eq!(stepper.told(group), Told::Message(id, b"two".into()));
    assert_eq!(stepper.told(group), Told::Left(id, None));
    assert!(stepper.reactor.is_member(group, id), "until its owner closes it");
    stepper.reactor.group_want(group, 0);
    stepper.settle();
    assert!(!stepper.events.contains(&Event::GroupReceivable(group)), "the end is told once");
    stepper.reactor.close(id, 0);
    assert!(!stepper.reactor.is_member(group, id));
    stepper.close_all(&[]);
}

#[test]
fn a_busy_member_does_not_silence_the_others() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let mut all = members(&mut stepper, group, 3, &config("u8"), false);
    all[0].1.write_all(&b"\x01x".repeat(1000)).expect("the peer writes");
    all[1].1.write_all(b"\x01y").expect("the peer writes");
    all[2].1.write_all(b"\x01z").expect("the peer writes");
    stepper.settle();
    let told: Vec<_> = (0..1002).map(|_| stepper.told(group)).collect();
    for (index, text) in [(1, b"y"), (2, b"z")] {
        let at = told.iter().position(|one| *one == Told::Message(all[index].0, text.to_vec())).expect("it is told");
        assert!(at <= 66, "after {at} others");
    }
    assert_eq!(told.iter().filter(|one| matches!(one, Told::Message(id, _) if *id == all[0].0)).count(), 1000);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn a_group_that_waits_is_told_of_what_was_there_before() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let mut all = members(&mut stepper, group, 2, &config("u8"), false);
    for (_, peer) in &mut all {
        peer.write_all(b"\x01a\x01b").expect("the peer writes");
    }
    stepper.settle();
    assert!(matches!(stepper.told(group), Told::Message(..)));
    // Three are left, in both halves of the list of those that have something to tell.
    for _ in 0..3 {
        stepper.events.clear();
        stepper.reactor.group_want(group, 0);
        stepper.settle();
        assert_eq!(stepper.events, [Event::GroupReceivable(group)]);
        assert!(matches!(told(&mut stepper.reactor, group), Some(Told::Message(..))));
    }
    assert_eq!(told(&mut stepper.reactor, group), None);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn a_deadline_is_told_once_and_not_to_a_later_wait() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let soon = stepper.reactor.tick() + 5_000_000;
    stepper.reactor.group_want(group, soon);
    stepper.expect(Event::GroupExpired(group));
    stepper.settle();
    assert_eq!(stepper.events, []);
    // The deadline passes, but before it is told the owner has given up and waits for longer.
    let soon = stepper.reactor.tick() + 1_000_000;
    stepper.reactor.group_want(group, soon);
    stepper.until("the deadline to be filed", |reactor, _| {
        reactor.wait(Some(5_000_000), |wait| wait()).expect("the wait succeeds").then_some(())
    });
    stepper.reactor.group_unwant(group);
    let later = stepper.reactor.tick() + 3_600_000_000_000;
    stepper.reactor.group_want(group, later);
    stepper.settle();
    assert_eq!(stepper.events, []);
    stepper.reactor.drop_group(group);
    stepper.settle();
    assert_eq!(stepper.events, [Event::GroupReceivable(group)], "who waits learns of the end");
    assert!(!stepper.reactor.has_group(group));
}

#[test]
fn a_broadcast_leaves_at_the_end_of_the_turn_in_each_members_framing() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let mut lines = members(&mut stepper, group, 2, &config("line"), false);
    let mut other_lines = members(&mut stepper, group, 1, &config("line"), false);
    let mut counted = members(&mut stepper, group, 1, &config("u16"), false);
    let (packets, end) = stepper.half(Kind::Seqpacket, &config("none"));
    assert!(stepper.reactor.join(group, packets));
    assert_eq!(stepper.told(group), Told::Joined(packets));
    assert_eq!(stepper.reactor.broadcast(group, b"one"), Ok(5));
    assert_eq!(stepper.reactor.broadcast(group, b""), Ok(5));
    nothing_to_read(&lines[0].1);
    // What is sent to one member alone keeps its place.
    assert_eq!(stepper.send(lines[0].0, "alone"), Ok(Queued::Yes));
    assert_eq!(stepper.reactor.broadcast(group, b"two"), Ok(5));
    // A newcomer hears only what is said from now on.
    let mut late = members(&mut stepper, group, 1, &config("line"), false);
    stepper.reactor.flush();
    read_exactly(&mut lines[0].1, b"one\n\nalone\ntwo\n");
    read_exactly(&mut lines[1].1, b"one\n\ntwo\n");
    read_exactly(&mut other_lines[0].1, b"one\n\ntwo\n");
    read_exactly(&mut counted[0].1, b"\0\x03one\0\0\0\x03two");
    nothing_to_read(&late[0].1);
    let mut buffer = [0; 10];
    for expected in [&b"one"[..], b"", b"two"] {
        let packet = jackfield_engine::sys::io::receive_packet(std::os::fd::AsFd::as_fd(&end), &mut buffer, None);
        assert_eq!(&buffer[..packet.expect("a packet").length], expected);
    }
    // One member's framing cannot carry it: nobody gets it.
    assert!(stepper.reactor.broadcast(group, b"two\nlines").is_err());
    let to = [counted[0].0, lines[0].0];
    assert!(stepper.reactor.broadcast_to(group, b"two\nlines", &to, None).is_err());
    assert_eq!(stepper.reactor.broadcast_to(group, b"some", &to, None), Ok(2));
    stepper.reactor.flush();
    read_exactly(&mut counted[0].1, b"\0\x04some");
    read_exactly(&mut lines[0].1, b"some\n");
    nothing_to_read(&late[0].1);
    late[0].1.write_all(b"still here\n").expect("the peer writes");
    assert_eq!(stepper.told(group), Told::Message(late[0].0, b"still here".into()));
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn closing_a_member_delivers_what_was_broadcast_before_and_aborting_counts_it() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let mut all = members(&mut stepper, group, 3, &config("line"), false);
    assert_eq!(stepper.reactor.broadcast(group, b"before"), Ok(3));
    stepper.reactor.close(all[0].0, 0);
    assert_eq!(stepper.reactor.broadcast(group, b"after"), Ok(2));
    stepper.reactor.abort(all[1].0);
    assert_eq!(stepper.reactor.group_facts(group).0, 1);
    stepper.settle();
    let mut got = String::new();
    all[0].1.read_to_string(&mut got).expect("an end");
    assert_eq!(got, "before\n");
    read_exactly(&mut all[2].1, b"before\nafter\n");
    stepper.expect(Event::Gone(all[1].0));
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn closing_a_group_delivers_and_wakes_who_waits() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &config("line")).expect("a listener");
    assert!(stepper.reactor.join(group, listener));
    let (id, mut peer) = members(&mut stepper, group, 1, &config_with("u16", 2 << 20, WhenFull::Wait), true).remove(0);
    for _ in 0..30 {
        assert_eq!(stepper.reactor.broadcast(group, &[7; 20_000]), Ok(1));
    }
    stepper.reactor.group_want(group, 0);
    assert_eq!(stepper.reactor.close_group(group, 0), [listener, id]);
    stepper.expect(Event::GroupReceivable(group));
    stepper.expect(Event::Gone(listener));
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).map(|_| all)
    });
    stepper.expect(Event::Gone(id));
    assert!(stepper.reactor.ending().complete);
    assert_eq!(reader.join().expect("the peer read").expect("an end"), framed("u16", &[7; 20_000]).repeat(30));
    stepper.close_all(&[]);
}

/// A member that reads nothing, with its queue full.
fn fill(stepper: &mut Stepper, group: usize, id: LinkId) -> usize {
    for sent in 0..10_000 {
        stepper.reactor.broadcast(group, &[0; 1000]).expect("can be sent");
        stepper.reactor.flush();
        let stuck = stepper.reactor.queued_of(id).0 > 15_000 || stepper.reactor.fault(id).is_some();
        if stuck || stepper.reactor.group_facts(group).1 > 0 {
            return sent + 1;
        }
    }
    panic!("the queue has no end");
}

#[test]
fn a_slow_member_loses_by_the_groups_policy_and_others_nothing() {
    for policy in [WhenFull::DropNewest, WhenFull::DropOldest, WhenFull::Reject, WhenFull::Disconnect] {
        let mut stepper = Stepper::new();
        let group = stepper.reactor.group(policy);
        let shared = config_with("u16", 20_000, WhenFull::Wait);
        let mut slow = members(&mut stepper, group, 1, &shared, true);
        let mut quick = members(&mut stepper, group, 1, &shared, false);
        let id = slow[0].0;
        let mut sent = fill(&mut stepper, group, id);
        for _ in 0..30 {
            stepper.reactor.broadcast(group, &[0; 1000]).expect("can be sent");
            sent += 1;
        }
        stepper.reactor.flush();
        read_exactly(&mut quick[0].1, &framed("u16", &[0; 1000]).repeat(sent));
        let (counters, queued) = (stepper.reactor.counters(id).expect("a link"), stepper.reactor.queued_of(id));
        assert!(queued.0 <= 20_000 + 1002, "{policy:?}");
        assert!(counters.dropped_out > 0, "{policy:?}");
        if policy == WhenFull::Disconnect {
            assert_eq!(stepper.told(group), Told::Left(id, Some(Fault::TooSlow)));
        } else {
            assert_eq!(counters.messages_out + queued.1 as u64 + u64::from(counters.dropped_out), sent as u64);
            if policy != WhenFull::DropOldest {
                assert_eq!(stepper.reactor.group_facts(group).1, u64::from(counters.dropped_out));
            }
        }
        assert_eq!(stepper.reactor.counters(quick[0].0).expect("a link").dropped_out, 0);
        drop(slow.pop());
        stepper.reactor.drop_group(group);
        stepper.close_all(&[]);
    }
}

#[test]
fn a_broadcast_that_waits_goes_on_when_the_slow_member_reads_or_leaves() {
    for leaves in ["reads", "closed by us", "aborted", "fails"] {
        let mut stepper = Stepper::new();
        let group = stepper.reactor.group(WhenFull::Wait);
        let shared = config_with("u16", 20_000, WhenFull::Wait);
        let mut slow = members(&mut stepper, group, 1, &shared, true);
        let (id, mut peer) = slow.remove(0);
        while !stepper.reactor.group_waits(group, None) {
            stepper.reactor.broadcast(group, &[0; 1000]).expect("can be sent");
            stepper.reactor.flush();
        }
        assert!(stepper.reactor.group_want_room(group));
        stepper.settle();
        assert_eq!(stepper.events, []);
        let reader = match leaves {
            "reads" => Some(std::thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).map(|_| ())
            })),
            "closed by us" => {
                stepper.reactor.close(id, 0);
                drop(peer);
                None
            }
            "aborted" => {
                stepper.reactor.abort(id);
                None
            }
            _ => {
                drop(peer);
                None
            }
        };
        stepper.expect(Event::GroupSendable(group));
        assert!(!stepper.reactor.group_waits(group, None), "{leaves}");
        // And it can fill up again.
        assert_eq!(stepper.reactor.broadcast(group, b"more"), Ok(usize::from(!stepper.reactor.is_closing(id))));
        stepper.reactor.drop_group(group);
        stepper.close_all(&[]);
        drop(reader.map(|reader| reader.join()));
    }
}

#[test]
fn what_a_listener_accepts_joins_and_its_refusals_have_an_end() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let limited = limited("line", 1000, 1000, WhenFull::Reject, 2);
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &limited).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    assert!(stepper.reactor.join(group, listener));
    assert!(!stepper.reactor.is_member(group, listener));
    let mut clients: Vec<_> =
        (0..5).map(|_| patient_tcp(std::net::TcpStream::connect(address).expect("a connection"))).collect();
    let Told::Joined(first) = stepper.told(group) else { panic!("nobody joined") };
    let Told::Joined(second) = stepper.told(group) else { panic!("nobody joined") };
    assert_eq!(stepper.reactor.parent(first), Some(listener));
    stepper.settle();
    assert_eq!(told(&mut stepper.reactor, group), None);
    assert_eq!(stepper.reactor.clients(listener), Some((2, 3)));
    let error = clients[4].read(&mut [0; 1]).expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // A place becomes free.
    stepper.reactor.close(first, 0);
    stepper.expect(Event::Gone(first));
    let _another = std::net::TcpStream::connect(address).expect("a connection");
    assert!(matches!(stepper.told(group), Told::Joined(id) if id != second));
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}

#[test]
fn a_group_is_never_taken_for_a_later_one() {
    let mut stepper = Stepper::new();
    let first = stepper.reactor.group(WhenFull::Wait);
    let old = members(&mut stepper, first, 1, &config("line"), false);
    stepper.reactor.broadcast(first, b"lost").expect("can be sent");
    stepper.reactor.drop_group(first);
    let second = stepper.reactor.group(WhenFull::Wait);
    let new = members(&mut stepper, second, 1, &config("line"), false);
    stepper.reactor.drop_group(first);
    assert!(stepper.reactor.is_member(second, new[0].0));
    assert!(!stepper.reactor.join(first, new[0].0));
    assert_eq!(stepper.reactor.broadcast(first, b"nobody"), Ok(0));
    assert_eq!(told(&mut stepper.reactor, first), None);
    stepper.expect(Event::Gone(old[0].0));
    stepper.reactor.drop_group(second);
    stepper.close_all(&[]);
}

#[test]
fn links_closed_while_they_are_listed_do_no_harm() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let mut all = members(&mut stepper, group, 4, &config("u8"), false);
    for (_, peer) in &mut all {
        peer.write_all(b"\x01a\x01b").expect("the peer writes");
    }
    stepper.settle();
    // The first of the ready list, one in the middle, and with a message half handed out.
    let Told::Message(first, _) = stepper.told(group) else { panic!("no message") };
    let ids: Vec<LinkId> = all.iter().map(|(id, _)| *id).collect();
    let middle = *ids.iter().find(|id| **id != first).expect("four members");
    stepper.reactor.broadcast(group, b"x").expect("can be sent");
    stepper.reactor.close(first, 0);
    stepper.reactor.abort(middle);
    // Their places are used again at once, by strangers to the group.
    stepper.expect(Event::Gone(first));
    stepper.expect(Event::Gone(middle));
    let (stranger, mut peer) = stepper.stream(&config("u8"));
    let (other, _other_peer) = stepper.stream(&config("u8"));
    assert!([first.index(), middle.index()].contains(&stranger.index()));
    peer.write_all(b"\x01s").expect("the peer writes");
    let mut got = 0;
    stepper.settle();
    while let Some(told) = told(&mut stepper.reactor, group) {
        let Told::Message(id, _) = told else { panic!("{told:?}") };
        assert!(![first, middle, stranger].contains(&id));
        got += 1;
    }
    assert_eq!(got, 4);
    assert_eq!(stepper.receive(stranger), message("s"));
    assert_eq!(stepper.take(first), Taken::Closed);
    assert_eq!(stepper.send(first, "x"), Err(SendError::Closed));
    stepper.reactor.close(first, 0);
    assert!(stepper.reactor.kind(stranger).is_some(), "an old id means nobody");
    stepper.reactor.drop_group(group);
    stepper.close_all(&[stranger, other]);
}

#[test]
fn a_member_whose_sends_fail_leaves_after_its_last_message() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let (id, mut peer) = members(&mut stepper, group, 1, &config("line"), false).remove(0);
    peer.write_all(b"550 go away\n").expect("the peer writes");
    drop(peer);
    assert_eq!(stepper.reactor.broadcast(group, b"hello"), Ok(1));
    stepper.reactor.flush();
    assert!(stepper.reactor.fault(id).is_some());
    assert_eq!(stepper.told(group), Told::Message(id, b"550 go away".into()));
    assert_eq!(stepper.told(group), Told::Left(id, None));
    stepper.close_all(&[id]);
}

#[test]
fn of_large_messages_fewer_are_taken_before_the_next_member_has_its_turn() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let mut made = members(&mut stepper, group, 2, &config("line"), false);
    let (little, mut quiet) = made.pop().expect("a member");
    let (large, mut busy) = made.pop().expect("a member");
    let mut line = vec![b'x'; 20_000];
    line.push(b'\n');
    let writer = std::thread::spawn(move || {
        for _ in 0..60 {
            busy.write_all(&line).expect("the peer writes");
        }
        busy
    });
    let mut before = 0;
    while !matches!(stepper.told(group), Told::Message(id, _) if id == large) {}
    quiet.write_all(b"little\n").expect("the peer writes");
    loop {
        match stepper.told(group) {
            Told::Message(id, _) if id == little => break,
            Told::Message(id, _) if id == large => before += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(before <= 2 * 64 / 5 + 1, "{before}");
    let mut rest = 59 - before;
    while rest > 0 {
        if matches!(stepper.told(group), Told::Message(id, _) if id == large) {
            rest -= 1;
        }
    }
    drop(writer.join().expect("all is written"));
    stepper.close_all(&[large, little]);
}
