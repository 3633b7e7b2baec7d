//! How links come and go: connecting, accepting, ids that are used again, deadlines, foreign descriptors.

mod stepper;

use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::{Errno, epoll, socket};
use jackfield_engine::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use stepper::*;

#[test]
fn connecting_tells_its_outcome_once() {
    let mut stepper = Stepper::new();
    let shared = config("line");
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &shared).expect("a listener");
    let address = stepper.reactor.local(listener).expect("bound");
    let id = stepper.reactor.connect(&address, &how(libc::SOCK_STREAM), &shared).expect("a link");
    // What is queued before leaves once connected, the end too.
    assert_eq!(stepper.send(id, "early"), Ok(Queued::Yes));
    stepper.reactor.send_end(id).expect("an open link");
    stepper.reactor.want(id, want::CONNECT);
    stepper.expect(Event::Connected(id));
    assert_eq!(stepper.reactor.connected(id), Ok(()));
    let accepted = stepper.accept(listener);
    assert_eq!(stepper.receive(accepted), message("early"));
    assert_eq!(stepper.receive(accepted), Taken::End);
    assert_eq!(stepper.send(accepted, "and back"), Ok(Queued::Yes));
    assert_eq!(stepper.receive(id), message("and back"));
    stepper.reactor.close(listener, 0);
    stepper.expect(Event::Gone(listener));

    let refused = stepper.reactor.connect(&address, &how(libc::SOCK_STREAM), &shared).expect("a link");
    stepper.reactor.want(refused, want::CONNECT);
    stepper.expect(Event::Connected(refused));
    assert_eq!(stepper.reactor.connected(refused), Err(Fault::Lost(Errno(libc::ECONNREFUSED))));
    stepper.close_all(&[id, accepted, refused]);
}

/// One forged ICMP message could end an established connection if its socket kept them.
#[test]
fn icmp_messages_are_kept_while_connecting_only() {
    let mut stepper = Stepper::new();
    let shared = config("none");
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &shared).expect("a listener");
    let address = stepper.reactor.local(listener).expect("bound");
    let kept = |stepper: &Stepper, id| {
        let fd = stepper.reactor.raw_fd(id).expect("open");
        // SAFETY: the link keeps the descriptor open during the call.
        socket::option(unsafe { BorrowedFd::borrow_raw(fd) }, libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    let id = stepper.reactor.connect(&address, &how(libc::SOCK_STREAM), &shared).expect("a link");
    assert_eq!(kept(&stepper, id), Ok(1));
    stepper.reactor.want(id, want::CONNECT);
    stepper.expect(Event::Connected(id));
    assert_eq!(kept(&stepper, id), Ok(0));
    let datagrams = stepper.reactor.connect(&address, &how(libc::SOCK_DGRAM), &shared).expect("a link");
    assert_eq!(kept(&stepper, datagrams), Ok(1));
    stepper.close_all(&[id, datagrams, listener]);
}

#[test]
fn the_time_allowed_for_connecting_is_not_the_time_allowed_for_receiving() {
    let mut stepper = Stepper::new();
    let shared = config("line");
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &shared).expect("a listener");
    let address = stepper.reactor.local(listener).expect("bound");
    let id = stepper.reactor.connect(&address, &how(libc::SOCK_STREAM), &shared).expect("a link");
    let deadline = stepper.reactor.tick() + 40_000_000;
    stepper.reactor.set_deadline(id, Side::Receive, deadline);
    stepper.reactor.want(id, want::CONNECT);
    stepper.expect(Event::Connected(id));
    stepper.reactor.want(id, want::RECEIVE);
    stepper.until("the deadline to pass", |reactor, _| (reactor.tick() > deadline + 5_000_000).then_some(()));
    stepper.settle();
    assert_eq!(stepper.events, []);
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_connect_that_nobody_answers_expires_and_can_be_dropped() {
    let mut stepper = Stepper::new();
    let shared = config("line");
    // A listener whose accept queue is full answers no more.
    let narrow = OpenOptions { backlog: 0, ..how(libc::SOCK_STREAM) };
    let listener = stepper.reactor.listen(&loopback(), &narrow, &shared).expect("a listener");
    let address = stepper.reactor.local(listener).expect("bound");
    let mut ids = Vec::new();
    let waiting = stepper.until("a connect that waits", |reactor, events| {
        if let Some(id) = ids.last()
            && !events.contains(&Event::Connected(*id))
        {
            return Some(*id);
        }
        let id = reactor.connect(&address, &how(libc::SOCK_STREAM), &shared).expect("a link");
        reactor.want(id, want::CONNECT);
        ids.push(id);
        None
    });
    let deadline = stepper.reactor.tick() + 20_000_000;
    stepper.reactor.set_deadline(waiting, Side::Receive, deadline);
    stepper.expect(Event::Expired(waiting, Side::Receive));
    assert!(stepper.reactor.tick() >= deadline);
    ids.push(listener);
    stepper.close_all(&ids);
}

#[test]
fn receive_and_send_deadlines_are_told_once_and_forgotten_when_met() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&config_with("u8", 10_000, WhenFull::Wait));
    let soon = stepper.reactor.tick() + 5_000_000;
    stepper.reactor.want(id, want::RECEIVE);
    stepper.reactor.set_deadline(id, Side::Receive, soon);
    stepper.expect(Event::Expired(id, Side::Receive));
    assert_eq!(stepper.reactor.wanted(id), 0);
    while stepper.send(id, [0; 255]) == Ok(Queued::Yes) {}
    let soon = stepper.reactor.tick() + 5_000_000;
    stepper.reactor.want(id, want::SEND | want::FLUSH);
    stepper.reactor.set_deadline(id, Side::Send, soon);
    stepper.expect(Event::Expired(id, Side::Send));
    let soon = stepper.reactor.tick() + 1_000_000_000;
    stepper.reactor.set_deadline(id, Side::Send, soon);
    let reader = std::thread::spawn(move || peer.read_to_end(&mut Vec::new()).map(|_| ()));
    stepper.expect(Event::Sendable(id));
    stepper.expect(Event::Flushed(id));
    stepper.until("the deadline to pass", |reactor, _| (reactor.tick() > soon).then_some(()));
    stepper.settle();
    // What was read in the meantime may be told once more; a deadline may not.
    assert!(!stepper.events.iter().any(|event| matches!(event, Event::Expired(..))), "{:?}", stepper.events);
    stepper.close_all(&[id]);
    drop(reader.join());
}

#[test]
fn deadlines_set_and_met_over_and_over_leave_no_heap_behind_and_none_is_lost() {
    let mut stepper = Stepper::new();
    let (id, _peer) = stepper.stream(&config("u8"));
    let (other, _other_peer) = stepper.stream(&config("u8"));
    let start = stepper.reactor.tick();
    stepper.reactor.want(other, want::RECEIVE);
    stepper.reactor.set_deadline(other, Side::Receive, start + 30_000_000);
    // Later, then nearer again: the nearest entry counts.
    stepper.reactor.set_deadline(other, Side::Receive, start + 3_600_000_000_000);
    stepper.reactor.set_deadline(other, Side::Receive, start + 20_000_000);
    for round in 0..100_000 {
        stepper.reactor.want(id, want::RECEIVE);
        stepper.reactor.set_deadline(id, Side::Receive, start + 60_000_000_000 + round);
        stepper.reactor.unwant(id, want::RECEIVE);
    }
    stepper.expect(Event::Expired(other, Side::Receive));
    assert!(stepper.reactor.now() >= start + 20_000_000);
    // The timer for foreign loops follows the nearest deadline.
    stepper.reactor.want(id, want::RECEIVE);
    let soon = stepper.reactor.tick() + 2_000_000;
    stepper.reactor.set_deadline(id, Side::Receive, soon);
    stepper.reactor.arm_timer().expect("a timer");
    let watcher = epoll::Epoll::new().expect("an epoll");
    watcher.add(stepper.reactor.fd(), epoll::IN, 1).expect("watched");
    let mut reports = [epoll::Report { events: 0, u64: 0 }];
    assert_eq!(watcher.wait(&mut reports, Some(5_000_000_000)), Ok(1));
    stepper.expect(Event::Expired(id, Side::Receive));
    stepper.close_all(&[id, other]);
}

#[test]
fn a_duplicate_of_a_closed_links_descriptor_stirs_nobody() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("u8"));
    let fd = stepper.reactor.raw_fd(id).expect("a descriptor");
    // A child process or the owner keeps the socket open: epoll goes on watching it.
    // SAFETY: the link holds the descriptor open during the call.
    let duplicate = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().expect("a duplicate");
    stepper.reactor.abort(id);
    stepper.expect(Event::Gone(id));
    let (next, _other) = stepper.stream(&config("u8"));
    peer.write_all(b"\x01a").expect("the peer writes");
    stepper.settle();
    assert_eq!(stepper.events, []);
    assert_eq!(stepper.take(next), Taken::Nothing);
    drop(duplicate);
    stepper.close_all(&[next]);
}

#[test]
fn accepting_takes_what_waits_and_says_when_nothing_does() {
    let mut stepper = Stepper::new();
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &config("line")).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    assert_eq!(stepper.reactor.accept(listener), Ok(None));
    let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    // One is gone again before it is taken.
    drop(clients);
    let _alive = TcpStream::connect(address).expect("a connection");
    stepper.reactor.want(listener, want::RECEIVE);
    stepper.expect(Event::Receivable(listener));
    let mut ids = Vec::new();
    for _ in 0..11 {
        ids.extend(stepper.reactor.accept(listener).expect("accepts"));
        // One is taken at a time, and the next wait is told of the rest.
        if ids.len() < 11 {
            stepper.reactor.want(listener, want::RECEIVE);
            stepper.expect(Event::Receivable(listener));
        }
    }
    assert_eq!(ids.len(), 11);
    assert_eq!(stepper.reactor.accept(listener), Ok(None));
    assert_eq!(stepper.reactor.clients(listener), Some((11, 0)));
    ids.push(listener);
    stepper.close_all(&ids);
}

#[test]
fn a_flood_of_refusals_goes_on_in_later_turns() {
    let mut stepper = Stepper::new();
    let nobody = limited("line", 1000, 1000, WhenFull::Wait, 0);
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &nobody).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    let clients: Vec<_> = (0..300).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    stepper.reactor.want(listener, want::RECEIVE);
    stepper.expect(Event::Receivable(listener));
    assert_eq!(stepper.reactor.accept(listener), Ok(None));
    assert_eq!(stepper.reactor.clients(listener), Some((0, 256)));
    stepper.reactor.want(listener, want::RECEIVE);
    stepper.expect(Event::Receivable(listener));
    assert_eq!(stepper.reactor.accept(listener), Ok(None));
    assert_eq!(stepper.reactor.clients(listener), Some((0, 300)));
    drop(clients);
    stepper.close_all(&[listener]);
}

#[test]
fn an_adopted_listener_need_not_be_non_blocking() {
    let mut stepper = Stepper::new();
    let ours = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let listener = stepper.reactor.adopt_listener(ours.into(), libc::SOCK_STREAM, &config("line")).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    let _client = TcpStream::connect(address).expect("a connection");
    let id = stepper.accept(listener);
    assert_eq!(stepper.reactor.accept(listener), Ok(None), "and not a wait for ever");
    stepper.close_all(&[id, listener]);
}

#[test]
fn what_is_accepted_on_a_unix_socket_is_what_it_is() {
    let mut stepper = Stepper::new();
    for (socket_kind, kind) in [(libc::SOCK_STREAM, Kind::UnixStream), (libc::SOCK_SEQPACKET, Kind::Seqpacket)] {
        let name = unique_name();
        let listener = stepper.reactor.listen(&name, &how(socket_kind), &config("u8")).expect("a listener");
        let client = stepper.reactor.connect(&name, &how(socket_kind), &config("u8")).expect("a link");
        let accepted = stepper.accept(listener);
        assert_eq!((stepper.reactor.kind(client), stepper.reactor.kind(accepted)), (Some(kind), Some(kind)));
        let who = stepper.reactor.credentials(accepted).expect("a Unix peer");
        assert_eq!(who.pid, std::process::id() as i32);
        assert_eq!(stepper.send(client, "hello"), Ok(Queued::Yes));
        assert_eq!(stepper.receive(accepted), message("hello"));
        for id in [listener, client, accepted] {
            stepper.reactor.close(id, 0);
        }
        stepper.settle();
    }
    let (one, two) = stepper.reactor.pair(libc::SOCK_SEQPACKET, &config("none")).expect("a pair");
    assert_eq!(stepper.send(one, ""), Ok(Queued::Yes));
    stepper.reactor.close(one, 0);
    assert_eq!(stepper.receive(two), message(""));
    assert_eq!(stepper.receive(two), Taken::End);
    stepper.close_all(&[two]);
}

#[test]
fn connecting_to_a_full_unix_listener_is_an_error_and_leaves_nothing() {
    let mut stepper = Stepper::new();
    let name = unique_name();
    let narrow = OpenOptions { backlog: 0, ..how(libc::SOCK_STREAM) };
    let listener = stepper.reactor.listen(&name, &narrow, &config("u8")).expect("a listener");
    let mut ids = vec![listener];
    let error = loop {
        match stepper.reactor.connect(&name, &how(libc::SOCK_STREAM), &config("u8")) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Errno(libc::EAGAIN));
    let missing = SocketAddress::Unix(b"/nonexistent/socket".as_slice().into());
    let error = stepper.reactor.connect(&missing, &how(libc::SOCK_STREAM), &config("u8"));
    assert_eq!(error, Err(Errno(libc::ENOENT)));
    assert_eq!(stepper.reactor.len(), ids.len());
    stepper.close_all(&ids);
}

#[test]
fn foreign_descriptors_are_reported_as_they_are_and_not_twice() {
    let mut stepper = Stepper::new();
    let (watched, other) = socket::pair(libc::SOCK_STREAM).expect("a pair");
    let fd = watched.as_raw_fd();
    stepper.reactor.watch(fd, epoll::IN).expect("watched");
    stepper.turn(0);
    assert_eq!(stepper.reactor.take_foreign(), []);
    jackfield_engine::sys::io::send(other.as_fd(), b"x").expect("sent");
    // An owner that did not get round to it in one turn finds it once in the next.
    for _ in 0..3 {
        stepper.reactor.wait(Some(0), |wait| wait()).expect("the wait succeeds");
        assert!(stepper.reactor.is_busy());
    }
    assert_eq!(stepper.reactor.take_foreign(), [(fd, epoll::IN)]);
    stepper.reactor.rewatch(fd, epoll::IN | epoll::OUT).expect("watched");
    stepper.turn(0);
    assert_eq!(stepper.reactor.take_foreign(), [(fd, epoll::IN | epoll::OUT)]);
    stepper.turn(0);
    stepper.reactor.unwatch(fd).expect("watched");
    assert_eq!(stepper.reactor.take_foreign(), []);
    stepper.turn(0);
    assert_eq!(stepper.reactor.take_foreign(), []);
}

#[test]
fn a_wait_that_does_not_wait_keeps_its_locks() {
    let mut stepper = Stepper::new();
    let released = |stepper: &mut Stepper, timeout| {
        let mut released = false;
        stepper
            .reactor
            .wait(timeout, |wait| {
                released = true;
                wait()
            })
            .expect("the wait succeeds");
        released
    };
    assert!(!released(&mut stepper, Some(0)));
    assert!(released(&mut stepper, Some(1_000_000)));
    let (id, _peer) = stepper.stream(&config("u8"));
    stepper.reactor.want(id, want::FLUSH);
    assert!(!released(&mut stepper, None), "something is to be told");
    stepper.expect(Event::Flushed(id));
    assert_eq!(stepper.send(id, "x"), Ok(Queued::Yes));
    assert!(!released(&mut stepper, None), "something is to be flushed");
    stepper.reactor.flush();
    stepper.reactor.set_deadline(id, Side::Receive, 1);
    assert!(!released(&mut stepper, None), "a deadline has passed");
    stepper.close_all(&[id]);
}

#[test]
fn clear_drops_everything_without_a_word() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("u8"));
    peer.write_all(b"\x01a\x01b").expect("the peer writes");
    assert_eq!(stepper.receive(id), message("a"));
    let (other, mut second) = stepper.stream(&config("u8"));
    second.write_all(b"\x01x").expect("the peer writes");
    assert_eq!(stepper.receive(other), message("x"));
    assert!(stepper.reactor.parked() > 0);
    stepper.reactor.clear();
    assert!(stepper.reactor.is_empty());
    assert_eq!(stepper.reactor.parked(), 0);
    assert!(matches!(peer.read(&mut [0; 1]), Ok(0) | Err(_)));
    let (id, mut peer) = stepper.stream(&config("u8"));
    peer.write_all(b"\x01a").expect("the peer writes");
    assert_eq!(stepper.receive(id), message("a"));
    stepper.close_all(&[id]);
}
