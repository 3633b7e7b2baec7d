//! How a reactor waits: on a clock that steps, and polling before it sleeps.

mod stepper;

use jackfield_engine::sys::Errno;
use jackfield_engine::*;
use std::io::Write;
use stepper::*;

const SECOND: u64 = 1_000_000_000;

fn stepped() -> Stepper {
    Stepper { reactor: Reactor::on_clock(Clock::Stepped(0)).expect("a reactor"), events: Vec::new() }
}

#[test]
fn a_stepped_clock_goes_to_the_next_deadline_at_once() {
    let mut stepper = stepped();
    let (id, _peer) = stepper.stream(&config("line"));
    let hour = stepper.reactor.clock().after(Some(3600.0));
    stepper.reactor.want(id, want::RECEIVE);
    stepper.reactor.set_deadline(id, Side::Receive, hour);
    stepper.turn(5_000 * SECOND);
    assert_eq!(stepper.events, [Event::Expired(id, Side::Receive)]);
    assert_eq!(stepper.reactor.clock().shown(), 3600 * SECOND);
    // Without a deadline: to the end of the time-out.
    stepper.turn(400 * SECOND);
    assert_eq!(stepper.reactor.clock().shown(), 4000 * SECOND);
}

#[test]
fn news_come_before_the_clock_steps() {
    let mut stepper = stepped();
    let (id, mut peer) = stepper.stream(&config("line"));
    let hour = stepper.reactor.clock().after(Some(3600.0));
    stepper.reactor.want(id, want::RECEIVE);
    stepper.reactor.set_deadline(id, Side::Receive, hour);
    peer.write_all(b"now\n").expect("room");
    stepper.turn(5_000 * SECOND);
    assert_eq!(stepper.events, [Event::Receivable(id)]);
    assert_eq!(stepper.reactor.clock().shown(), 0);
    assert_eq!(stepper.take(id), message("now"));
}

#[test]
fn a_stepped_wait_for_nothing_is_a_deadlock() {
    let mut stepper = stepped();
    let (_id, _peer) = stepper.stream(&config("line"));
    assert_eq!(stepper.reactor.wait(None, |_| panic!("a stepped wait never waits")), Err(Errno(libc::EDEADLK)));
}

#[test]
fn polling_that_never_pays_is_given_up_and_deadlines_are_kept() {
    let mut stepper = Stepper::new();
    stepper.reactor.set_busy_poll(Some(20_000));
    let (id, mut peer) = stepper.stream(&config("line"));
    let mut waits = 0;
    // On a busy machine a deadline may have passed before the wait begins: then there is nothing to poll for.
    while stepper.reactor.busy_poll().is_some_and(|(_, is_paused)| !is_paused) {
        waits += 1;
        assert!(waits < 10_000, "it never pauses");
        let deadline = stepper.reactor.tick() + 200_000;
        stepper.reactor.want(id, want::RECEIVE);
        stepper.reactor.set_deadline(id, Side::Receive, deadline);
        stepper.expect(Event::Expired(id, Side::Receive));
        assert!(stepper.reactor.tick() >= deadline);
    }
    let (statistics, _) = stepper.reactor.busy_poll().expect("it is on");
    assert_eq!(statistics.hits, 0);
    assert!(statistics.pauses > 0 && statistics.spins <= waits, "{statistics:?}");
    // What comes is received while it pauses, too.
    peer.write_all(b"still here\n").expect("room");
    assert_eq!(stepper.receive(id), message("still here"));
    stepper.reactor.set_busy_poll(None);
    assert_eq!(stepper.reactor.busy_poll(), None);
}

#[test]
fn a_spin_sees_what_comes_while_it_polls() {
    let mut stepper = Stepper::new();
    // Longer than any test machine stands still: the spin ends by the news.
    stepper.reactor.set_busy_poll(Some(5 * SECOND));
    let (id, mut peer) = stepper.stream(&config("line"));
    let (sender, receiver) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        receiver.recv().expect("the wait has begun");
        peer.write_all(b"while it polls\n").expect("room");
        peer
    });
    stepper.reactor.want(id, want::RECEIVE);
    stepper.reactor.flush();
    let happened = stepper.reactor.wait(Some(60 * SECOND), |wait| {
        sender.send(()).expect("the writer listens");
        wait()
    });
    assert_eq!(happened, Ok(true));
    assert_eq!(stepper.take(id), message("while it polls"));
    let (statistics, paused) = stepper.reactor.busy_poll().expect("it is on");
    // The writer may have been quicker than the first poll: then there was nothing to poll for.
    assert!(statistics.spins <= 1 && statistics.hits == statistics.spins && !paused, "{statistics:?}");
    writer.join().expect("it wrote");
}

/// Waits without a time-out, as often as it takes, for a deadline to pass.
fn expire(stepper: &mut Stepper, id: LinkId) {
    for _ in 0..10 {
        stepper.reactor.wait(None, |wait| wait()).expect("the wait succeeds");
        if let Some(event) = stepper.reactor.next_event() {
            assert_eq!(event, Event::Expired(id, Side::Receive));
            return;
        }
    }
    panic!("woken ten times for nothing");
}

#[test]
fn far_deadlines_wake_a_wait_without_end() {
    const MILLISECOND: u64 = 1_000_000;
    let mut stepper = Stepper::new();
    let (id, _peer) = stepper.stream(&config("line"));
    let set = |stepper: &mut Stepper, far: u64| {
        let deadline = stepper.reactor.clock().now() + far * MILLISECOND;
        stepper.reactor.want(id, want::RECEIVE);
        stepper.reactor.set_deadline(id, Side::Receive, deadline);
        deadline
    };
    // Twice the same way: the timer is set anew. Then one that is near, with a far one still set; then one that was put off
    // after the timer had been set for it.
    for far in [80, 60] {
        let deadline = set(&mut stepper, far);
        expire(&mut stepper, id);
        assert!(stepper.reactor.now() >= deadline);
    }
    set(&mut stepper, 3_600_000);
    stepper.reactor.wait(Some(1), |wait| wait()).expect("the wait succeeds");
    let deadline = set(&mut stepper, 10);
    expire(&mut stepper, id);
    assert!(stepper.reactor.now() >= deadline);
    set(&mut stepper, 70);
    stepper.reactor.wait(Some(1), |wait| wait()).expect("the wait succeeds");
    let deadline = set(&mut stepper, 140);
    expire(&mut stepper, id);
    assert!(stepper.reactor.now() >= deadline);
}
