//! Links that keep boundaries: seqpacket, UDP and Unix datagrams, and the peers of one datagram socket.

mod stepper;

use jackfield_engine::frame::FrameError;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::icmp::IcmpError;
use jackfield_engine::sys::{Errno, io, socket};
use jackfield_engine::*;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use stepper::*;

fn packet(fd: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 300_000];
    match io::receive_packet(fd.as_fd(), &mut buffer, None) {
        Ok(packet) => Some(buffer[..packet.length].to_vec()),
        Err(error) if error.would_block() => None,
        Err(error) => panic!("{error:?}"),
    }
}

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    socket
}

fn udp_address(socket: &UdpSocket) -> SocketAddress {
    let address = socket.local_addr().expect("bound");
    SocketAddress::ip(address.ip(), address.port())
}

#[test]
fn seqpacket_tells_an_empty_packet_from_the_end() {
    let mut stepper = Stepper::new();
    let (ours, theirs) = socket::pair(libc::SOCK_SEQPACKET).expect("a pair");
    // Sent before the link asks for credentials.
    io::send(theirs.as_fd(), b"").expect("sent");
    let id = stepper.reactor.adopt(ours, Kind::Seqpacket, &config("none")).expect("a link");
    for bytes in [&b"one"[..], b"", b"", b"two"] {
        io::send(theirs.as_fd(), bytes).expect("sent");
    }
    for expected in ["", "one", "", "", "two"] {
        assert_eq!(stepper.receive(id), message(expected));
    }
    assert_eq!(stepper.send(id, ""), Ok(Queued::Yes));
    assert_eq!(stepper.send(id, "back"), Ok(Queued::Yes));
    stepper.reactor.flush();
    assert_eq!(packet(&theirs), Some(Vec::new()));
    assert_eq!(packet(&theirs), Some(b"back".to_vec()));
    io::send(theirs.as_fd(), b"").expect("sent");
    drop(theirs);
    assert_eq!(stepper.receive(id), message(""));
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id]);
}

#[test]
fn a_seqpacket_reset_is_told_behind_the_packets() {
    let mut stepper = Stepper::new();
    let (id, theirs) = stepper.half(Kind::Seqpacket, &config("none"));
    assert_eq!(stepper.send(id, "unread"), Ok(Queued::Yes));
    stepper.reactor.flush();
    io::send(theirs.as_fd(), b"last").expect("sent");
    io::send(theirs.as_fd(), b"words").expect("sent");
    drop(theirs);
    assert_eq!(stepper.receive(id), message("last"));
    assert_eq!(stepper.receive(id), message("words"));
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Lost(Errno(libc::ECONNRESET))));
    stepper.close_all(&[id]);
}

#[test]
fn a_seqpacket_close_with_unread_packets_is_an_end() {
    let mut stepper = Stepper::new();
    let (id, theirs) = stepper.half(Kind::Seqpacket, &config("none"));
    for bytes in [&b"never"[..], b"", b"read"] {
        io::send(theirs.as_fd(), bytes).expect("sent");
    }
    assert_eq!(stepper.send(id, "goodbye"), Ok(Queued::Yes));
    stepper.close_all(&[id]);
    assert_eq!(packet(&theirs), Some(b"goodbye".to_vec()));
    assert_eq!(packet(&theirs), Some(Vec::new()), "the end");
}

#[test]
fn packets_larger_than_the_kernel_or_the_limit_takes() {
    let mut stepper = Stepper::new();
    let (id, theirs) = stepper.half(Kind::Seqpacket, &config("line"));
    assert_eq!(stepper.send(id, vec![0; 10 << 20]), Err(SendError::TooLarge { size: 10 << 20 }));
    assert_eq!(stepper.send(id, "framings\nare ignored"), Ok(Queued::Yes));
    stepper.reactor.flush();
    assert_eq!(packet(&theirs), Some(b"framings\nare ignored".to_vec()));
    stepper.close_all(&[id]);

    let peer = udp();
    let small = limited("none", 1000, 1 << 20, WhenFull::Wait, 1);
    let mut stepper = Stepper::new();
    let id = connected(&mut stepper, &peer, &small);
    assert_eq!(stepper.send(id, vec![0; 1001]), Err(SendError::TooLarge { size: 1001 }));
    assert_eq!(stepper.send(id, "hello"), Ok(Queued::Yes));
    stepper.reactor.flush();
    let (_, from) = peer.recv_from(&mut [0; 10]).expect("a packet");
    peer.send_to(&[0; 1001], from).expect("sent");
    peer.send_to(b"fits", from).expect("sent");
    let error = FrameError::TooLarge { size: Some(1001), limit: 1000 };
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(error)));
    assert_eq!(stepper.receive(id), message("fits"), "told once");
    stepper.close_all(&[id]);
}

/// A UDP link to a socket of ours.
fn connected(stepper: &mut Stepper, peer: &UdpSocket, config: &Rc<Config>) -> LinkId {
    let id = stepper.reactor.connect(&udp_address(peer), &how(libc::SOCK_DGRAM), config).expect("a link");
    stepper.reactor.want(id, want::CONNECT);
    stepper.expect(Event::Connected(id));
    id
}

#[test]
fn answers_leave_before_more_is_read() {
    let mut stepper = Stepper::new();
    let peer = udp();
    let id = connected(&mut stepper, &peer, &config("none"));
    assert_eq!(stepper.send(id, "hello"), Ok(Queued::Yes));
    stepper.reactor.flush();
    let (_, from) = peer.recv_from(&mut [0; 10]).expect("a packet");
    for _ in 0..100 {
        peer.send_to(b"a question in a flood", from).expect("sent");
    }
    assert_eq!(stepper.receive(id), message("a question in a flood"));
    assert_eq!(stepper.send(id, "the answer"), Ok(Queued::Yes));
    peer.set_nonblocking(true).expect("a socket");
    let mut answer = [0; 20];
    let mut received = 1;
    while peer.recv(&mut answer).is_err() {
        assert_eq!(stepper.take(id), message("a question in a flood"), "after {received}");
        received += 1;
    }
    assert_eq!(&answer[..10], b"the answer");
    assert!(received < 100, "it left while questions were still there");
    stepper.close_all(&[id]);
}

#[test]
fn a_refused_datagram_is_an_error_once_and_costs_no_other_packet() {
    let mut stepper = Stepper::new();
    let peer = udp();
    let address = peer.local_addr().expect("bound");
    let id = connected(&mut stepper, &peer, &config("none"));
    let refused =
        Fault::Refused(IcmpError { errno: Errno(libc::ECONNREFUSED), offender: address.ip(), icmp_type: 3, code: 3 });
    let local = tcp_address(&stepper.reactor.local(id).expect("bound"));
    drop(peer);
    assert_eq!(stepper.send(id, "nobody there"), Ok(Queued::Yes));
    assert_eq!(stepper.receive(id), Taken::Fault(refused.clone()));
    assert_eq!(stepper.take(id), Taken::Nothing);
    // The sending side is told as well, if it comes first; what it queues afterwards leaves.
    assert_eq!(stepper.send(id, "nobody there"), Ok(Queued::Yes));
    stepper.reactor.flush();
    stepper.until("the answer", |reactor, _| {
        reactor.wait(Some(20_000_000), |wait| wait()).expect("the wait succeeds").then_some(())
    });
    let peer = UdpSocket::bind(address).expect("the port is free again");
    peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    assert_eq!(stepper.send(id, "here again"), Ok(Queued::Yes));
    stepper.reactor.flush();
    let mut buffer = [0; 100];
    let (size, _) = peer.recv_from(&mut buffer).expect("a packet");
    assert_eq!(&buffer[..size], b"here again");
    assert_eq!(stepper.send(id, "not yet"), Err(SendError::Fault(refused)));
    assert_eq!(stepper.send(id, "now"), Ok(Queued::Yes));
    stepper.reactor.flush();
    let (size, _) = peer.recv_from(&mut buffer).expect("a packet");
    assert_eq!(&buffer[..size], b"now");
    peer.send_to(b"", local).expect("sent");
    assert_eq!(stepper.receive(id), message(""));
    assert_eq!(stepper.reactor.counters(id).expect("a link").dropped_out, 0);
    stepper.close_all(&[id]);
}

#[test]
fn empty_packets_fill_a_queue_too() {
    let mut stepper = Stepper::new();
    for policy in [WhenFull::Wait, WhenFull::DropOldest] {
        let (id, theirs) = stepper.half(Kind::Seqpacket, &config_with("none", 1000, policy));
        let mut taken = 0;
        for _ in 0..10_000 {
            taken += usize::from(stepper.send(id, "") == Ok(Queued::Yes));
        }
        assert!(stepper.reactor.queued_of(id).1 <= 1001, "{:?}", stepper.reactor.queued_of(id));
        if policy == WhenFull::Wait {
            stepper.reactor.want(id, want::SEND);
            stepper.settle();
            assert_eq!(stepper.events, []);
        }
        let mut got = 0;
        stepper.until("all of them", |reactor, _| {
            while packet(&theirs).is_some() {
                got += 1;
            }
            (reactor.queued_of(id).1 == 0).then_some(())
        });
        while packet(&theirs).is_some() {
            got += 1;
        }
        let dropped = stepper.reactor.counters(id).expect("a link").dropped_out as usize;
        assert_eq!(got + dropped, taken);
        stepper.reactor.abort(id);
        stepper.expect(Event::Gone(id));
        stepper.events.clear();
    }
    stepper.close_all(&[]);
}

/// A UDP listener and its address.
fn listener(stepper: &mut Stepper, config: &Rc<Config>) -> (LinkId, std::net::SocketAddr) {
    let id = stepper.reactor.listen(&loopback(), &how(libc::SOCK_DGRAM), config).expect("a listener");
    (id, tcp_address(&stepper.reactor.local(id).expect("bound")))
}

#[test]
fn each_sender_is_a_peer_with_an_order_of_its_own() {
    let mut stepper = Stepper::new();
    let (id, address) = listener(&mut stepper, &config("none"));
    let (one, two) = (udp(), udp());
    stepper.reactor.want(id, want::RECEIVE);
    for bytes in [&b"a"[..], b"", b"b"] {
        one.send_to(bytes, address).expect("sent");
    }
    two.send_to(b"x", address).expect("sent");
    stepper.expect(Event::Receivable(id));
    let first = stepper.accept(id);
    let second = stepper.accept(id);
    assert_eq!(stepper.reactor.peer(first), Some(&udp_address(&one)));
    for text in ["a", "", "b"] {
        stepper.events.clear();
        stepper.reactor.want(first, want::RECEIVE);
        stepper.settle();
        assert_eq!(stepper.events, [Event::Receivable(first)], "a packet that waits is told of");
        assert_eq!(stepper.take(first), message(text));
    }
    assert_eq!(stepper.take(first), Taken::Nothing);
    assert_eq!(stepper.receive(second), message("x"));
    assert_eq!(stepper.send(second, "back"), Ok(Queued::Yes));
    stepper.reactor.flush();
    let mut buffer = [0; 10];
    assert_eq!(two.recv(&mut buffer).expect("a packet"), 4);
    // A peer that was closed and speaks again is a new one.
    stepper.reactor.close(first, 0);
    stepper.expect(Event::Gone(first));
    one.send_to(b"again", address).expect("sent");
    let third = stepper.accept(id);
    assert_ne!(third, first);
    assert_eq!(stepper.receive(third), message("again"));
    assert_eq!(stepper.reactor.parked(), 6, "the packets lent last");
    assert_eq!((stepper.take(second), stepper.take(third)), (Taken::Nothing, Taken::Nothing));
    assert_eq!(stepper.reactor.parked(), 0);
    assert_eq!(stepper.reactor.clients(id), Some((2, 0)));
    stepper.close_all(&[second, third, id]);
}

#[test]
fn a_slow_owner_loses_packets_by_count_and_a_flood_leaves_turns_to_others() {
    let mut stepper = Stepper::new();
    let (id, address) = listener(&mut stepper, &config("none"));
    let (stream, mut other) = stepper.stream(&config("u8"));
    let sender = udp();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sender.send_to(&[0; 500], address).expect("sent");
            }
        })
    };
    std::io::Write::write_all(&mut other, b"\x05hello").expect("the peer writes");
    let peer = stepper.accept(id);
    assert_eq!(stepper.receive(stream), message("hello"));
    let dropped = stepper.until("losses", |reactor, _| {
        let counters = reactor.counters(peer)?;
        (counters.dropped_in > 1000).then_some(counters.dropped_in)
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().expect("sent");
    assert!(dropped > 0 && stepper.reactor.parked() <= 256 * 1024);
    let mut got = 0;
    stepper.settle();
    while let Taken::Message(bytes) = stepper.take(peer) {
        assert_eq!(bytes.len(), 500);
        got += 1;
    }
    let counters = stepper.reactor.counters(peer).expect("a link");
    assert_eq!(counters.messages_in, got);
    assert_eq!(counters.bytes_in, 500 * (got + u64::from(counters.dropped_in)));
    assert_eq!(stepper.reactor.parked(), 0);
    stepper.close_all(&[peer, id, stream]);
}

#[test]
fn more_packets_than_one_turn_takes_need_no_further_report() {
    let mut stepper = Stepper::new();
    let size = 400_000i32.to_ne_bytes().to_vec();
    let options = [SocketOption { level: libc::SOL_SOCKET, name: libc::SO_RCVBUF, value: size }];
    let wide = OpenOptions { options: &options, ..how(libc::SOCK_DGRAM) };
    let id = stepper.reactor.listen(&loopback(), &wide, &config("none")).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(id).expect("bound"));
    let sender = udp();
    for _ in 0..400 {
        sender.send_to(b"x", address).expect("sent");
    }
    stepper.turn(0);
    let first = stepper.reactor.counters(id).expect("a link").messages_in;
    assert!((256..400).contains(&first), "{first} in one turn");
    stepper.settle();
    assert!(stepper.reactor.counters(id).expect("a link").messages_in > first);
    let peer = stepper.accept(id);
    stepper.close_all(&[peer, id]);
}

#[test]
fn peers_beyond_the_limit_are_refused_and_counted() {
    let mut stepper = Stepper::new();
    let (id, address) = listener(&mut stepper, &limited("none", 1000, 1000, WhenFull::Wait, 2));
    let senders: Vec<_> = (0..4).map(|_| udp()).collect();
    for sender in &senders {
        sender.send_to(b"hello", address).expect("sent");
    }
    stepper.until("all packets", |reactor, _| (reactor.counters(id)?.messages_in == 4).then_some(()));
    assert_eq!(stepper.reactor.clients(id), Some((2, 2)));
    assert_eq!(stepper.reactor.counters(id).expect("a link").dropped_in, 2);
    let peers = [stepper.accept(id), stepper.accept(id)];
    assert_eq!(stepper.reactor.accept(id), Ok(None));
    // Larger than its peers may send: dropped and counted, nobody ends.
    senders[0].send_to(&[0; 1001], address).expect("sent");
    senders[0].send_to(b"fits", address).expect("sent");
    assert_eq!(stepper.receive(peers[0]), message("hello"));
    assert_eq!(stepper.receive(peers[0]), message("fits"));
    assert_eq!(stepper.reactor.counters(peers[0]).expect("a link").dropped_in, 1);
    stepper.close_all(&[peers[0], peers[1], id]);
}

#[test]
fn an_idle_peer_ends_and_a_busy_one_does_not() {
    let mut stepper = Stepper::stepped();
    let framer = config("none").framer.clone();
    let brief = Rc::new(Config {
        framer,
        high_water: 1000,
        when_full: WhenFull::Wait,
        vanished_ns: 0,
        idle_ns: 30_000_000,
        max_clients: 10,
        tls: None,
    });
    let (id, address) = listener(&mut stepper, &brief);
    let (quiet, busy) = (udp(), udp());
    quiet.send_to(b"once", address).expect("sent");
    let silent = stepper.accept(id);
    busy.send_to(b"often", address).expect("sent");
    let alive = stepper.accept(id);
    assert_eq!(stepper.receive(silent), message("once"));
    stepper.reactor.want(silent, want::RECEIVE);
    for _ in 0..10 {
        busy.send_to(b"often", address).expect("sent");
        stepper.turn(0);
        while let Taken::Message(_) = stepper.take(alive) {}
        // No news: ten milliseconds pass.
        stepper.turn(10_000_000);
    }
    stepper.expect(Event::Receivable(silent));
    assert_eq!(stepper.take(silent), Taken::End);
    assert!(stepper.reactor.is_idle(silent) && !stepper.reactor.is_idle(alive));
    stepper.close_all(&[silent, alive, id]);
}

#[test]
fn a_listener_that_closes_lets_its_peers_last_words_out_and_ends_them() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let (id, address) = listener(&mut stepper, &config("none"));
    let (one, two, three) = (udp(), udp(), udp());
    one.send_to(b"hello", address).expect("sent");
    let peer = stepper.accept(id);
    two.send_to(b"hello", address).expect("sent");
    let member = stepper.accept(id);
    assert!(stepper.reactor.join(group, member));
    three.send_to(b"never accepted", address).expect("sent");
    stepper.until("all packets", |reactor, _| (reactor.counters(id)?.messages_in == 3).then_some(()));
    assert_eq!(stepper.send(peer, "bye"), Ok(Queued::Yes));
    stepper.reactor.broadcast(group, b"bye all").expect("can be sent");
    stepper.reactor.close(id, 0);
    let mut buffer = [0; 10];
    assert_eq!(one.recv(&mut buffer).expect("a packet"), 3);
    assert_eq!(two.recv(&mut buffer).expect("a packet"), 7);
    stepper.expect(Event::Gone(id));
    assert_eq!(stepper.receive(peer), message("hello"));
    let gone = Fault::Lost(Errno(libc::ESHUTDOWN));
    assert_eq!(stepper.receive(peer), Taken::Fault(gone.clone()));
    assert_eq!(stepper.send(peer, "x"), Err(SendError::Fault(gone.clone())));
    assert_eq!(stepper.told(group), Told::Joined(member));
    assert_eq!(stepper.told(group), Told::Message(member, b"hello".into()));
    assert_eq!(stepper.told(group), Told::Left(member, Some(gone)));
    stepper.close_all(&[peer, member]);
}

#[test]
fn a_full_unix_datagram_receiver_is_tried_again() {
    let mut stepper = Stepper::new();
    let name = unique_name();
    let id = stepper.reactor.listen(&name, &how(libc::SOCK_DGRAM), &config_with("none", 50_000, WhenFull::Wait));
    let id = id.expect("a listener");
    let client = || {
        let fd = socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM).expect("a socket");
        socket::bind(fd.as_fd(), &SocketAddress::Unnamed).expect("a name of its own");
        socket::connect(fd.as_fd(), &name).expect("connected");
        io::send(fd.as_fd(), b"hello").expect("sent");
        fd
    };
    let (slow, quick) = (client(), client());
    let stuck = stepper.accept(id);
    let alive = stepper.accept(id);
    let mut sent = 0;
    while stepper.send(stuck, vec![0; 1000]) == Ok(Queued::Yes) {
        stepper.reactor.flush();
        sent += 1;
    }
    assert!(stepper.reactor.queued_of(stuck).1 > 0);
    // Others hear at once if the kernel's limit was the receiver's queue, a little later if it was our send buffer.
    assert_eq!(stepper.send(alive, "still here"), Ok(Queued::Yes));
    // Close goes on trying until the receiver has read everything.
    stepper.reactor.close(stuck, 0);
    let mut got = 0;
    stepper.until("all packets", |_, events| {
        while packet(&slow).is_some() {
            got += 1;
        }
        events.contains(&Event::Gone(stuck)).then_some(())
    });
    while packet(&slow).is_some() {
        got += 1;
    }
    assert_eq!(got, sent);
    stepper.until("the other one's packet", |_, _| (packet(&quick)? == b"still here").then_some(()));
    // A receiver that is gone is a fault of that peer.
    drop(quick);
    assert_eq!(stepper.send(alive, "x"), Ok(Queued::Yes));
    stepper.reactor.flush();
    assert_eq!(stepper.receive(alive), message("hello"));
    assert_eq!(stepper.receive(alive), Taken::Fault(Fault::Lost(Errno(libc::ECONNREFUSED))));
    stepper.close_all(&[alive, id]);
}

#[test]
fn a_sender_without_a_name_is_heard_and_cannot_be_answered() {
    let mut stepper = Stepper::new();
    let name = unique_name();
    let id = stepper.reactor.listen(&name, &how(libc::SOCK_DGRAM), &config("none")).expect("a listener");
    let fd = socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM).expect("a socket");
    socket::connect(fd.as_fd(), &name).expect("connected");
    io::send(fd.as_fd(), b"hello").expect("sent");
    let peer = stepper.accept(id);
    assert_eq!(stepper.receive(peer), message("hello"));
    assert_eq!(stepper.send(peer, "x"), Err(SendError::Unanswerable));
    stepper.close_all(&[peer, id]);
}

#[test]
fn one_oversized_broadcast_is_dropped_for_datagram_members_and_none_leaves() {
    let mut stepper = Stepper::new();
    let group = stepper.reactor.group(WhenFull::DropNewest);
    let peer = udp();
    let udp_member = connected(&mut stepper, &peer, &config("none"));
    let (unix_member, theirs) = stepper.half(Kind::Seqpacket, &config("none"));
    for id in [udp_member, unix_member] {
        assert!(stepper.reactor.join(group, id));
        assert_eq!(stepper.told(group), Told::Joined(id));
    }
    for payload in [&[0; 10][..], &vec![0; 1 << 20], &[0; 20]] {
        assert_eq!(stepper.reactor.broadcast(group, payload), Ok(2));
    }
    stepper.settle();
    let mut buffer = [0; 100];
    for size in [10, 20] {
        assert_eq!(peer.recv(&mut buffer).expect("a packet"), size);
        assert_eq!(packet(&theirs).map(|packet| packet.len()), Some(size));
    }
    assert_eq!(stepper.reactor.group_facts(group), (2, 2));
    assert_eq!(told(&mut stepper.reactor, group), None);
    stepper.reactor.drop_group(group);
    stepper.close_all(&[]);
}
