//! Links over streams: what arrives, what leaves, and how they end.

mod stepper;

use jackfield_engine::frame::{FrameError, Framer};
use jackfield_engine::sys::Errno;
use jackfield_engine::*;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use stepper::*;

const LARGE: usize = 300_000;

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 31 % 251) as u8).collect()
}

#[test]
fn messages_arrive_in_order_however_they_are_cut() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("u16"));
    let messages: Vec<Vec<u8>> = (0..200).map(|size| pattern(size * 7)).collect();
    let stream: Vec<u8> = messages.iter().flat_map(|one| framed("u16", one)).collect();
    let writer = std::thread::spawn(move || {
        for piece in stream.chunks(997) {
            peer.write_all(piece).expect("the peer writes");
        }
        peer
    });
    for one in &messages {
        assert_eq!(stepper.receive(id), message(one));
    }
    drop(writer.join());
    assert_eq!(stepper.receive(id), Taken::End);
    assert_eq!(stepper.receive(id), Taken::End, "the end stays");
    let counters = stepper.reactor.counters(id).expect("a link");
    assert_eq!(counters.messages_in, 200);
    stepper.close_all(&[id]);
}

#[test]
fn a_wait_with_something_unclaimed_is_told_at_once() {
    let mut stepper = Stepper::new();
    let (_, _, mut client) = {
        let (id, listener, client) = stepper.tcp(&config("u8"));
        stepper.reactor.want(id, want::RECEIVE);
        (id, listener, client)
    };
    client.write_all(b"\x01a\x01b").expect("the peer writes");
    let id = stepper.until("the first", |_, events| {
        events.iter().find_map(|event| match event {
            Event::Receivable(id) => Some(*id),
            _ => None,
        })
    });
    stepper.events.clear();
    assert_eq!(stepper.take(id), message("a"));
    // TCP's short read has shown that the kernel holds no more; the second message is in the reactor's buffer.
    stepper.reactor.want(id, want::RECEIVE);
    stepper.settle();
    assert_eq!(stepper.events, [Event::Receivable(id)]);
    assert_eq!(stepper.take(id), message("b"));
    assert_eq!(stepper.take(id), Taken::Nothing);
    drop(client);
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.events.clear();
    stepper.reactor.want(id, want::RECEIVE);
    stepper.settle();
    assert_eq!(stepper.events, [Event::Receivable(id)], "the end can be waited for again");
}

#[test]
fn an_unclaimed_rest_moves_aside_for_others_and_is_accounted() {
    let mut stepper = Stepper::new();
    let shared = config("u8");
    let (one, mut first) = stepper.stream(&shared);
    let (two, mut second) = stepper.stream(&shared);
    first.write_all(b"\x01a\x01b\x05par").expect("the peer writes");
    second.write_all(b"\x01x\x01y").expect("the peer writes");
    assert_eq!(stepper.receive(one), message("a"));
    assert_eq!(stepper.reactor.parked(), 0, "it lies in the shared buffer");
    assert_eq!(stepper.receive(two), message("x"));
    assert_eq!(stepper.reactor.parked(), 2 + 4);
    assert_eq!(stepper.receive(one), message("b"));
    assert_eq!(stepper.take(one), Taken::Nothing);
    assert_eq!(stepper.receive(two), message("y"));
    first.write_all(b"ts").expect("the peer writes");
    assert_eq!(stepper.receive(one), message("parts"));
    second.write_all(b"\x02.").expect("the peer writes");
    assert_eq!(stepper.take(two), Taken::Nothing);
    stepper.close_all(&[one, two]);
}

#[test]
fn long_lines_outgrow_the_shared_buffer_and_the_account_stays_right() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("line"));
    let (other, mut noise) = stepper.stream(&config("line"));
    let line = vec![b'x'; 700_000];
    let writer = {
        let line = line.clone();
        std::thread::spawn(move || {
            for _ in 0..3 {
                peer.write_all(b"short\n").expect("the peer writes");
                peer.write_all(&line).expect("the peer writes");
                peer.write_all(b"\n").expect("the peer writes");
            }
            peer
        })
    };
    for _ in 0..3 {
        noise.write_all(b"noise\nno").expect("the peer writes");
        assert_eq!(stepper.receive(id), message("short"));
        assert!(matches!(stepper.receive(other), Taken::Message(_)));
        assert_eq!(stepper.receive(id), message(&line));
    }
    assert_eq!(stepper.take(id), Taken::Nothing);
    drop(writer.join());
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id, other]);
}

#[test]
fn long_lines_back_to_back_leave_a_right_account() {
    let mut stepper = Stepper::new();
    let (id, listener, mut client) = stepper.tcp(&config("line"));
    // The receive that brings a line's end brings much of the next one, too.
    let lines: Vec<_> = (0..8).map(|index| vec![b'a' + index; 1_500_000 + 77_777 * usize::from(index)]).collect();
    let stream = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect::<Vec<u8>>();
    let writer = std::thread::spawn(move || client.write_all(&stream).map(|()| client));
    for line in &lines {
        assert_eq!(stepper.receive(id), message(line));
    }
    drop(writer.join());
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id, listener]);
}

#[test]
fn large_messages_arrive_whole_between_small_ones() {
    for framing in ["u32", "netstring", "varint", "length:size=4"] {
        let mut stepper = Stepper::new();
        let (id, mut peer) = stepper.stream(&config(framing));
        let dress = |payload: &[u8]| match framing {
            "length:size=4" => [&(payload.len() as u32).to_be_bytes()[..], payload].concat(),
            _ => framed(framing, payload),
        };
        let message_of = |payload: &[u8]| if framing.starts_with("length") { dress(payload) } else { payload.to_vec() };
        let sizes = [5, 40_000, 0, 1_000_000, 32_768, 3, 32_767, 262_144, 5_000_000, 1];
        let stream: Vec<u8> = sizes.iter().flat_map(|size| dress(&pattern(*size))).collect();
        let writer = std::thread::spawn(move || {
            for piece in stream.chunks(50_021) {
                peer.write_all(piece).expect("the peer writes");
            }
            peer
        });
        for size in sizes {
            let Taken::Message(got) = stepper.receive(id) else { panic!("no message") };
            assert!(got == message_of(&pattern(size)), "{framing}, {size} bytes");
        }
        drop(writer.join());
        assert_eq!(stepper.receive(id), Taken::End);
        stepper.close_all(&[id]);
    }
}

#[test]
fn a_large_message_byte_by_byte_at_its_edges() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("netstring"));
    let stream = framed("netstring", &pattern(40_000));
    let edges = [1, 5, 6, 7, 39_000, 40_005, 40_006];
    let mut from = 0;
    for to in edges {
        peer.write_all(&stream[from..to]).expect("the peer writes");
        stepper.settle();
        assert_eq!(stepper.take(id), Taken::Nothing, "after {to} of {} bytes", stream.len());
        from = to;
    }
    peer.write_all(&stream[from..]).expect("the peer writes");
    assert_eq!(stepper.receive(id), message(pattern(40_000)));
    stepper.close_all(&[id]);
}

#[test]
fn a_broken_end_mark_of_a_large_message_says_where() {
    for direct in [true, false] {
        let mut stepper = Stepper::new();
        let (id, mut peer) = stepper.stream(&config("netstring"));
        let mut stream = framed("netstring", &pattern(LARGE));
        *stream.last_mut().expect("an end mark") = b'!';
        let last = stream.len() - 1;
        let writer = std::thread::spawn(move || {
            if direct {
                peer.write_all(&stream).expect("the peer writes");
            } else {
                peer.write_all(&stream[..last]).expect("the peer writes");
            }
            (peer, stream)
        });
        if !direct {
            stepper.until("all but the end mark", |reactor, _| {
                assert_eq!(take(reactor, id), Taken::Nothing);
                reactor.want(id, want::RECEIVE);
                (reactor.counters(id)?.bytes_in == last as u64).then_some(())
            });
            let (mut peer, stream) = writer.join().expect("the peer wrote");
            peer.write_all(&stream[last..]).expect("the peer writes");
        }
        let error = FrameError::Invalid { position: last, expected: "','", found: b'!' };
        assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(error)));
        stepper.close_all(&[id]);
    }
}

#[test]
fn an_end_inside_a_large_message_counts_the_whole_frame() {
    for (framing, sent, need) in [
        ("u32", 100_000, 4 + LARGE),
        ("u32", 3, 0),
        ("netstring", 100_000, 7 + LARGE + 1),
        ("netstring", 7 + LARGE, 7 + LARGE + 1),
    ] {
        let mut stepper = Stepper::new();
        let (id, mut peer) = stepper.stream(&config(framing));
        let stream = framed(framing, &pattern(LARGE));
        let writer = std::thread::spawn(move || peer.write_all(&stream[..sent]).expect("the peer writes"));
        let error = FrameError::Truncated { have: sent, need: (need > 0).then_some(need) };
        assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(error)), "{framing}, {sent}");
        writer.join().expect("the peer wrote");
        stepper.close_all(&[id]);
    }
}

#[test]
fn one_endless_message_does_not_keep_others_from_their_turn() {
    let mut stepper = Stepper::new();
    let (greedy, mut peer) = stepper.stream(&config("u32"));
    let (modest, mut other) = stepper.stream(&config("u32"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            peer.set_nonblocking(true).expect("a socket");
            let _ = peer.write(&(16u32 << 20).to_be_bytes());
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = peer.write(&[0; 65536]);
            }
        })
    };
    other.write_all(&framed("u32", b"hello")).expect("the peer writes");
    stepper.reactor.want(greedy, want::RECEIVE);
    assert_eq!(stepper.receive(modest), message("hello"));
    let mut most = 0;
    let mut before = stepper.reactor.counters(greedy).expect("a link").bytes_in;
    for _ in 0..1000 {
        stepper.turn(1_000_000);
        let after = stepper.reactor.counters(greedy).expect("a link").bytes_in;
        most = most.max(after - before);
        before = after;
        if after > 12 << 20 {
            break;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().expect("the peer wrote");
    assert!(before > 4 << 20, "it goes on in later turns: {before}");
    assert!(most < 6 << 20, "{most} bytes in one turn");
    stepper.reactor.abort(greedy);
    stepper.close_all(&[modest]);
}

#[test]
fn a_framing_can_be_swapped_in_the_middle_of_anything() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("none"));
    let swap = |stepper: &mut Stepper, framing: &str, max: usize| {
        stepper.reactor.swap_framer(id, Rc::new(Framer::parse(framing, max).expect("a framing"))).expect("a link")
    };
    let none = stepper.reactor.config(id).expect("a link").framer.clone();
    peer.write_all(b"header\r\n0123456789rest").expect("the peer writes");
    // The reactor has found a message already, by the framing that was.
    stepper.reactor.want(id, want::RECEIVE);
    stepper.expect(Event::Receivable(id));
    swap(&mut stepper, "delimiter:0x0d0a", 1000);
    assert_eq!(stepper.receive(id), message("header"));
    swap(&mut stepper, "fixed:10", 10);
    assert_eq!(stepper.receive(id), message("0123456789"));
    // Half of a large one is there when the receiver gives up; nothing of it is lost.
    swap(&mut stepper, "fixed:200000", 200_000);
    let body = pattern(200_000);
    let writer = {
        let (body, mut peer) = (body.clone(), peer.try_clone().expect("a socket"));
        std::thread::spawn(move || peer.write_all(&body[4..120_000]).expect("the peer writes"))
    };
    writer.join().expect("the peer wrote");
    stepper.reactor.want(id, want::RECEIVE);
    stepper.settle();
    assert_eq!(stepper.take(id), Taken::Nothing);
    stepper.reactor.swap_framer(id, none.clone());
    swap(&mut stepper, "fixed:4", 4);
    assert_eq!(stepper.receive(id), message("rest"));
    swap(&mut stepper, "fixed:119996", 119_996);
    assert_eq!(stepper.receive(id), message(&body[4..120_000]));
    // A limit that was too low is an error of that framing alone.
    peer.write_all(b"longer than five\n").expect("the peer writes");
    swap(&mut stepper, "line", 5);
    let error = FrameError::TooLarge { size: None, limit: 5 };
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(error)));
    stepper.reactor.swap_framer(id, none.clone());
    assert_eq!(stepper.receive(id), message("longer than five\n"));
    // And so is an end that comes too early.
    peer.write_all(b"1234").expect("the peer writes");
    drop(peer);
    swap(&mut stepper, "fixed:10", 10);
    let error = FrameError::Truncated { have: 4, need: Some(10) };
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(error)));
    stepper.reactor.swap_framer(id, none);
    assert_eq!(stepper.receive(id), message("1234"));
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id]);
}

#[test]
fn a_swap_lets_a_large_message_of_the_configured_framing_finish() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("netstring"));
    let stream = framed("netstring", &pattern(LARGE));
    let half = stream.len() / 2;
    let mut writer = peer.try_clone().expect("a socket");
    let first = stream[..half].to_vec();
    let thread = std::thread::spawn(move || writer.write_all(&first).expect("the peer writes"));
    stepper.until("the first half", |reactor, _| {
        assert_eq!(take(reactor, id), Taken::Nothing);
        reactor.want(id, want::RECEIVE);
        (reactor.counters(id)?.bytes_in == half as u64).then_some(())
    });
    thread.join().expect("the peer wrote");
    stepper.reactor.swap_framer(id, Rc::new(Framer::parse("line", 1000).expect("a framing")));
    let thread = std::thread::spawn(move || {
        peer.write_all(&stream[half..]).expect("the peer writes");
        peer.write_all(b"a line\n").expect("the peer writes");
    });
    assert_eq!(stepper.receive(id), message(pattern(LARGE)));
    assert_eq!(stepper.receive(id), message("a line"));
    thread.join().expect("the peer wrote");
    stepper.close_all(&[id]);
}

#[test]
fn the_last_words_of_a_peer_that_closes_are_heard_after_a_send_fails() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("line"));
    peer.write_all(b"first\nsecond\nlast").expect("the peer writes");
    drop(peer);
    assert_eq!(stepper.send(id, "too late"), Ok(Queued::Yes));
    stepper.reactor.flush();
    let fault = Fault::Lost(Errno(libc::EPIPE));
    assert_eq!(stepper.reactor.fault(id), Some(fault.clone()));
    assert_eq!(stepper.send(id, "again"), Err(SendError::Fault(fault)));
    assert_eq!(stepper.reactor.counters(id).expect("a link").dropped_out, 1, "no loss is silent");
    for words in ["first", "second", "last"] {
        assert_eq!(stepper.receive(id), message(words));
    }
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id]);
}

#[test]
fn a_reset_is_told_behind_what_came_before_it() {
    let mut stepper = Stepper::new();
    let (id, listener, mut client) = stepper.tcp(&config("line"));
    client.write_all(b"a\nb\n").expect("the peer writes");
    stepper.reactor.want(id, want::RECEIVE);
    stepper.expect(Event::Receivable(id));
    assert_eq!(stepper.take(id), message("a"));
    // Closing with unread bytes makes the client's kernel reset the connection.
    assert_eq!(stepper.send(id, "unread"), Ok(Queued::Yes));
    stepper.settle();
    drop(client);
    assert_eq!(stepper.receive(id), message("b"));
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Lost(Errno(libc::ECONNRESET))));
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_send_into_a_reset_connection_fails_and_the_receiver_is_told() {
    let mut stepper = Stepper::new();
    let (id, listener, client) = stepper.tcp(&config("line"));
    assert_eq!(stepper.send(id, "unread"), Ok(Queued::Yes));
    stepper.settle();
    drop(client);
    stepper.until("the sending side to fail", |reactor, _| {
        let _ = reactor.send(id, Payload::Bytes(b"more"), None);
        reactor.flush();
        reactor.fault(id)
    });
    let told = stepper.receive(id);
    assert!(matches!(told, Taken::End | Taken::Fault(Fault::Lost(_))), "{told:?}");
    stepper.close_all(&[id, listener]);
}

#[test]
fn half_close_keeps_its_place_behind_what_is_queued() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&config("none"));
    let bytes = pattern(500_000);
    for part in bytes.chunks(10_000) {
        assert_eq!(stepper.send(id, part), Ok(Queued::Yes));
    }
    stepper.reactor.send_end(id).expect("an open link");
    assert_eq!(stepper.send(id, "more"), Err(SendError::Ended));
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("the peer reads");
        peer.write_all(b"thanks").expect("the peer writes");
        (got, peer)
    });
    assert_eq!(stepper.receive(id), message("thanks"));
    assert!(reader.join().expect("the peer read").0 == bytes);
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id]);
}

#[test]
fn close_delivers_what_is_queued_and_then_says_gone() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&config("none"));
    let bytes = pattern(300_000);
    assert_eq!(stepper.send(id, &bytes), Ok(Queued::Yes));
    stepper.reactor.want(id, want::RECEIVE);
    stepper.reactor.close(id, 0);
    stepper.reactor.close(id, 0);
    assert_eq!(stepper.send(id, "more"), Err(SendError::Closed));
    assert_eq!(stepper.take(id), Taken::Closed);
    stepper.expect(Event::Receivable(id));
    assert!(stepper.reactor.is_closing(id));
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("an orderly end");
        got
    });
    stepper.expect(Event::Gone(id));
    assert!(reader.join().expect("the peer read") == bytes);
    let ending = stepper.reactor.ending();
    assert!(ending.complete);
    assert_eq!((ending.counters.messages_out, ending.counters.bytes_out), (1, 300_000));
    assert!(stepper.reactor.is_empty());
    assert_eq!(stepper.reactor.kind(id), None);
}

#[test]
fn a_close_that_cannot_deliver_is_cut_at_its_deadline() {
    let mut stepper = Stepper::stepped();
    let (id, peer) = stepper.narrow_stream(&config("u32"));
    for _ in 0..20 {
        assert_eq!(stepper.send(id, vec![0; 10_000]), Ok(Queued::Yes));
    }
    let deadline = stepper.reactor.tick() + 30_000_000;
    stepper.reactor.close(id, deadline);
    stepper.settle();
    assert_eq!(stepper.events, []);
    stepper.expect(Event::Gone(id));
    assert!(stepper.reactor.tick() >= deadline);
    let ending = stepper.reactor.ending();
    assert!(!ending.complete);
    assert_eq!(ending.counters.messages_out + u64::from(ending.counters.dropped_out), 20);
    drop(peer);
}

#[test]
fn closing_with_unread_bytes_is_an_end_and_no_reset() {
    let mut stepper = Stepper::new();
    let shared = config("line");
    let (tcp, listener, mut client) = stepper.tcp(&shared);
    let (unix, mut peer) = stepper.stream(&shared);
    client.write_all(b"never read\n").expect("the peer writes");
    peer.write_all(b"never read\n").expect("the peer writes");
    stepper.settle();
    for id in [tcp, unix] {
        assert_eq!(stepper.send(id, "goodbye"), Ok(Queued::Yes));
        stepper.reactor.close(id, 0);
    }
    stepper.settle();
    let mut got = String::new();
    client.read_to_string(&mut got).expect("an end");
    assert_eq!(got, "goodbye\n");
    got.clear();
    peer.read_to_string(&mut got).expect("an end");
    assert_eq!(got, "goodbye\n");
    stepper.close_all(&[listener]);
}

#[test]
fn abort_resets() {
    let mut stepper = Stepper::new();
    let (id, listener, mut client) = stepper.tcp(&config("line"));
    assert_eq!(stepper.send(id, "never sent"), Ok(Queued::Yes));
    stepper.reactor.abort(id);
    stepper.reactor.abort(id);
    stepper.expect(Event::Gone(id));
    assert!(!stepper.reactor.ending().complete);
    assert_eq!(stepper.reactor.ending().counters.dropped_out, 1);
    let error = client.read(&mut [0; 10]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    stepper.close_all(&[listener]);
}

/// Sends until the queue is full; gives how many were taken.
fn fill(stepper: &mut Stepper, id: LinkId, size: usize) -> (usize, Queued) {
    for taken in 0..10_000 {
        let payload = [&(taken as u32).to_be_bytes()[..], &vec![0; size - 4]].concat();
        match stepper.send(id, payload).expect("can be sent") {
            Queued::Yes => {}
            other => return (taken, other),
        }
    }
    panic!("the queue has no end");
}

fn numbers(peer: &mut std::os::unix::net::UnixStream, size: usize) -> Vec<u32> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("the peer reads");
    all.chunks(size + 4).map(|one| u32::from_be_bytes(one[4..8].try_into().expect("four bytes"))).collect()
}

#[test]
fn a_full_queue_waits_rejects_drops_or_disconnects() {
    for (policy, outcome) in [
        (WhenFull::Wait, Queued::Full),
        (WhenFull::Reject, Queued::Rejected),
        (WhenFull::DropNewest, Queued::Dropped),
        (WhenFull::Disconnect, Queued::Disconnected),
    ] {
        let mut stepper = Stepper::new();
        let (id, mut peer) = stepper.narrow_stream(&config_with("u32", 20_000, policy));
        let (taken, refused) = fill(&mut stepper, id, 1000);
        assert_eq!(refused, outcome);
        assert!(stepper.reactor.queued_of(id).0 <= 20_000 || policy == WhenFull::Disconnect);
        let counters = stepper.reactor.counters(id).expect("a link");
        if policy == WhenFull::Disconnect {
            assert_eq!(stepper.reactor.fault(id), Some(Fault::TooSlow));
            assert_eq!(stepper.reactor.queued_of(id), (0, 0));
            assert_eq!(counters.messages_out + u64::from(counters.dropped_out), taken as u64);
            assert_eq!(stepper.receive(id), Taken::Fault(Fault::TooSlow));
            stepper.close_all(&[id]);
            continue;
        }
        assert_eq!(counters.dropped_out, u32::from(policy == WhenFull::DropNewest));
        assert_eq!(counters.messages_out + stepper.reactor.queued_of(id).1 as u64, taken as u64);
        // Room comes at half the mark, and once only.
        stepper.reactor.want(id, want::SEND);
        stepper.settle();
        assert_eq!(stepper.events, []);
        let reader = std::thread::spawn(move || numbers(&mut peer, 1000));
        stepper.expect(Event::Sendable(id));
        assert!(stepper.reactor.queued_of(id).0 <= 10_000);
        stepper.reactor.want(id, want::FLUSH);
        stepper.expect(Event::Flushed(id));
        assert_eq!(stepper.reactor.queued_of(id), (0, 0));
        stepper.close_all(&[id]);
        assert_eq!(reader.join().expect("the peer read"), (0..taken as u32).collect::<Vec<_>>());
    }
}

#[test]
fn dropping_the_oldest_keeps_what_is_begun_and_the_order() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&config_with("u32", 20_000, WhenFull::DropOldest));
    for number in 0..200u32 {
        let payload = [&number.to_be_bytes()[..], &[0; 996]].concat();
        assert_eq!(stepper.send(id, payload), Ok(Queued::Yes));
        assert!(stepper.reactor.queued_of(id).0 <= 20_000 + 1004);
    }
    let dropped = stepper.reactor.counters(id).expect("a link").dropped_out;
    assert!(dropped > 0);
    let reader = std::thread::spawn(move || numbers(&mut peer, 1000));
    stepper.close_all(&[id]);
    let got = reader.join().expect("the peer read");
    assert_eq!(got.len() + dropped as usize, 200);
    assert!(got.is_sorted());
    assert_eq!(got.last(), Some(&199));
}

#[test]
fn a_message_above_the_mark_is_taken_by_an_empty_queue_and_loans_go_out_unchanged() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&config_with("u32", 1000, WhenFull::Reject));
    let loan = pattern(200_000);
    assert_eq!(stepper.reactor.send(id, Payload::Loan(loan.clone()), None), Ok(Queued::Yes));
    assert_eq!(stepper.send(id, "no room"), Ok(Queued::Rejected));
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("the peer reads");
        got
    });
    stepper.close_all(&[id]);
    assert!(reader.join().expect("the peer read") == framed("u32", &loan));
}

#[test]
fn what_the_framing_cannot_carry_is_refused_and_nothing_is_queued() {
    let mut stepper = Stepper::new();
    let (id, peer) = stepper.stream(&limited("line", 10, 1000, WhenFull::Wait, 1));
    assert!(matches!(stepper.send(id, "two\nlines"), Err(SendError::Frame(FrameError::Unsendable { .. }))));
    assert!(matches!(stepper.send(id, "more than ten bytes"), Err(SendError::Frame(FrameError::TooLarge { .. }))));
    assert_eq!(stepper.reactor.queued_of(id), (0, 0));
    drop(peer);
    stepper.close_all(&[id]);
}

#[test]
fn what_is_queued_still_leaves_after_the_peer_broke_the_framing() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&limited("u32", 100, 1 << 20, WhenFull::Wait, 1));
    let mut messages: Vec<u8> = (0..500).flat_map(|_| framed("u32", &[7; 100])).collect();
    for _ in 0..500 {
        assert_eq!(stepper.send(id, [7; 100]), Ok(Queued::Yes));
    }
    peer.write_all(b"GET / HTTP/1.1").expect("the peer writes");
    let error = FrameError::TooLarge { size: Some(u64::from(u32::from_be_bytes(*b"GET "))), limit: 100 };
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(error)));
    assert_eq!(stepper.send(id, "what was that?"), Ok(Queued::Yes));
    messages.extend(framed("u32", b"what was that?"));
    stepper.reactor.close(id, 0);
    let mut got = vec![0; messages.len()];
    let reader = std::thread::spawn(move || {
        peer.read_exact(&mut got).expect("everything");
        got
    });
    stepper.expect(Event::Gone(id));
    assert!(stepper.reactor.ending().complete);
    assert!(reader.join().expect("the peer read") == messages);
}

#[test]
fn descriptors_in_a_unix_stream_cut_reads_short_and_nothing_stalls() {
    let mut stepper = Stepper::new();
    let (id, peer) = stepper.stream(&config("line"));
    send_with_descriptor(&peer, b"one\n");
    send_with_descriptor(&peer, b"two\n");
    (&peer).write_all(b"three\n").expect("the peer writes");
    for text in ["one", "two", "three"] {
        assert_eq!(stepper.receive(id), message(text));
    }
    peer.shutdown(Shutdown::Write).expect("a socket");
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id]);
}

#[test]
fn urgent_data_does_not_stall_a_connection() {
    let mut stepper = Stepper::new();
    let (id, listener, client) = stepper.tcp(&config("line"));
    (&client).write_all(b"one\n").expect("the peer writes");
    send_urgent(&client);
    (&client).write_all(b"two\n").expect("the peer writes");
    assert_eq!(stepper.receive(id), message("one"));
    assert_eq!(stepper.receive(id), message("two"));
    drop(client);
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_sender_whose_message_needs_more_than_half_the_queue_waits_without_a_spin() {
    let mut stepper = Stepper::new();
    let shared = config_with("u32", 1_000, WhenFull::Wait);
    let (id, mut peer) = stepper.narrow_stream(&shared);
    // The kernel is full, and little is queued: less than half of the mark.
    while stepper.reactor.queued_of(id).0 == 0 {
        assert_eq!(stepper.send(id, [b'x'; 300]), Ok(Queued::Yes));
        stepper.settle();
    }
    assert!(stepper.reactor.queued_of(id).0 <= 500);
    assert_eq!(stepper.send(id, [b'y'; 990]), Ok(Queued::Full));
    stepper.reactor.want(id, want::SEND);
    for _ in 0..3 {
        stepper.turn(0);
        assert_eq!(stepper.events, []);
        assert!(!stepper.reactor.is_busy(), "it would be told again and again, without any room");
    }
    // Another one's message is small: when the large one is given up, it need not wait.
    stepper.reactor.reconsider_room(id);
    stepper.turn(0);
    assert_eq!(stepper.events, [Event::Sendable(id)]);
    stepper.events.clear();
    assert_eq!(stepper.send(id, [b'y'; 990]), Ok(Queued::Full));
    stepper.reactor.want(id, want::SEND);
    let mut buffer = [0; 4_096];
    while !stepper.events.contains(&Event::Sendable(id)) {
        assert!(peer.read(&mut buffer).expect("bytes") > 0);
        stepper.settle();
    }
    assert_eq!(stepper.send(id, [b'y'; 990]), Ok(Queued::Yes));
    stepper.close_all(&[id]);
}
