//! Datagrams in batches and in runs: boundaries, order, and what is put aside, for any sequence of sizes.

mod stepper;

use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::socket;
use jackfield_engine::*;
use proptest::prelude::*;
use std::os::fd::BorrowedFd;
use stepper::*;

const BUFFER: i32 = 4 << 20;

fn endpoint(stepper: &mut Stepper, max: usize) -> (LinkId, SocketAddress) {
    let value = BUFFER.to_ne_bytes().to_vec();
    let options = [libc::SO_RCVBUF, libc::SO_SNDBUF].map(|name| SocketOption {
        level: libc::SOL_SOCKET,
        name,
        value: value.clone(),
    });
    let wide = OpenOptions { options: &options, ..how(libc::SOCK_DGRAM) };
    let config = limited("none", max, 16 << 20, WhenFull::Wait, 1);
    let id = stepper.reactor.bind(&loopback(), &wide, &config).expect("an endpoint");
    let address = stepper.reactor.local(id).expect("bound");
    (id, address)
}

fn send(stepper: &mut Stepper, from: LinkId, to: &SocketAddress, bytes: &[u8]) {
    let to = stepper.reactor.sendable(from, to).expect("of its family");
    assert_eq!(stepper.reactor.send_to(from, Payload::Bytes(bytes), Some(&to), None), Ok(Queued::Yes));
}

/// Bytes that tell datagrams apart.
fn content(index: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (index * 31 + at * 7) as u8).collect()
}

fn drops(stepper: &Stepper, id: LinkId) -> u32 {
    stepper.reactor.counters(id).expect("a link").kernel_dropped
}

#[test]
fn an_answer_goes_to_where_the_question_came_from() {
    let mut stepper = Stepper::new();
    let (one, at_one) = endpoint(&mut stepper, 1 << 16);
    let (two, at_two) = endpoint(&mut stepper, 1 << 16);
    send(&mut stepper, one, &at_two, b"question");
    assert_eq!(stepper.receive(two), message("question"));
    assert_eq!(stepper.reactor.origin().from, at_one);
    send(&mut stepper, two, &at_one, b"answer");
    assert_eq!(stepper.receive(one), message("answer"));
    assert_eq!(stepper.reactor.origin().from, at_two);
    let nowhere = stepper.reactor.send(one, Payload::Bytes(b"whither"), None);
    assert_eq!(nowhere, Err(SendError::Unanswerable));
    stepper.close_all(&[one, two]);
}

#[test]
fn a_run_crosses_the_kernel_as_one() {
    let mut stepper = Stepper::new();
    let (one, at_one) = endpoint(&mut stepper, 1 << 16);
    let (two, _) = endpoint(&mut stepper, 1 << 16);
    for index in 0..50 {
        send(&mut stepper, two, &at_one, &content(index, 1200));
    }
    stepper.reactor.flush();
    let fd = stepper.reactor.raw_fd(one).expect("open");
    // SAFETY: the reactor holds the descriptor open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    assert_eq!(socket::unread(fd), 50 * 1200, "one message of the kernel");
    for index in 0..50 {
        assert_eq!(stepper.receive(one), message(content(index, 1200)));
    }
    stepper.close_all(&[one, two]);
}

#[test]
fn what_another_link_needs_the_buffer_for_is_put_aside() {
    let mut stepper = Stepper::new();
    let (one, at_one) = endpoint(&mut stepper, 1 << 16);
    let (two, at_two) = endpoint(&mut stepper, 1 << 16);
    for index in 0..20 {
        send(&mut stepper, one, &at_two, &content(index, 700));
        send(&mut stepper, two, &at_one, &content(index, 800));
    }
    for index in 0..20 {
        assert_eq!(stepper.receive(one), message(content(index, 800)));
        assert_eq!(stepper.reactor.origin().from, at_two);
        assert_eq!(stepper.receive(two), message(content(index, 700)));
        assert_eq!(stepper.reactor.origin().from, at_one);
    }
    assert_eq!((stepper.take(one), stepper.take(two)), (Taken::Nothing, Taken::Nothing));
    assert_eq!(stepper.reactor.parked(), 0);
    stepper.close_all(&[one, two]);
}

#[test]
fn unclaimed_datagrams_end_with_their_link() {
    let mut stepper = Stepper::new();
    let (one, at_one) = endpoint(&mut stepper, 1 << 16);
    let (two, at_two) = endpoint(&mut stepper, 1 << 16);
    for index in 0..20 {
        send(&mut stepper, two, &at_one, &content(index, 100));
        send(&mut stepper, one, &at_two, &content(index, 100));
    }
    assert_eq!(stepper.receive(one), message(content(0, 100)));
    assert_eq!(stepper.receive(two), message(content(0, 100)));
    stepper.reactor.abort(one);
    stepper.reactor.abort(two);
    stepper.settle();
    assert_eq!((stepper.reactor.parked(), stepper.reactor.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_sizes_keep_their_boundaries(
        sizes in proptest::collection::vec(
            prop_oneof![
                Just(0usize),
                1..4usize,
                Just(1200),
                Just(1200),
                Just(1200),
                1100..1300usize,
                1..9000usize,
                Just(65_507),
            ],
            0..120,
        ),
        batch in 1..50usize,
        turn in any::<bool>(),
    ) {
        let mut stepper = Stepper::new();
        let (one, at_one) = endpoint(&mut stepper, 1 << 16);
        let (two, at_two) = endpoint(&mut stepper, 1 << 16);
        let (mut got, mut sent) = (Vec::new(), 0);
        for chunk in sizes.chunks(batch) {
            for size in chunk {
                send(&mut stepper, two, &at_one, &content(sent, *size));
                // Two places in turn: runs must not mix them.
                if turn && sent.is_multiple_of(3) {
                    send(&mut stepper, two, &at_two, b"to itself");
                }
                sent += 1;
            }
            while got.len() < sent {
                match stepper.receive(one) {
                    Taken::Message(bytes) => got.push(bytes),
                    other => panic!("{other:?}"),
                }
                stepper.reactor.take_arrived(one, batch, |bytes, origin| {
                    assert_eq!(origin.from, at_two);
                    got.push(bytes.to_vec());
                    true
                });
            }
        }
        prop_assert_eq!(drops(&stepper, one), 0);
        let expected: Vec<_> = sizes.iter().enumerate().map(|(index, size)| content(index, *size)).collect();
        prop_assert_eq!(got, expected);
        let counters = stepper.reactor.counters(one).expect("a link");
        prop_assert_eq!(counters.messages_in, sizes.len() as u64);
        prop_assert_eq!(counters.bytes_in, sizes.iter().sum::<usize>() as u64);
        stepper.close_all(&[one, two]);
    }
}
