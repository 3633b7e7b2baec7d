//! Numbers that come back: of links and of descriptors. Alone in its process, so that the kernel's lowest free
//! descriptor is the one that this test has just closed.

mod stepper;

use jackfield_engine::{Event, SendError, Side, want};
use std::io::Write;
use stepper::*;

#[test]
fn old_ids_and_descriptors_that_are_used_again_mean_nobody() {
    let mut stepper = Stepper::new();
    let shared = config("u8");
    let mut old = Vec::new();
    for round in 0..50 {
        let (id, mut peer) = stepper.stream(&shared);
        let fd = stepper.reactor.raw_fd(id);
        // Its report is in the kernel's list when the link goes, and the descriptor's number comes back at once.
        peer.write_all(b"\x01a").expect("the peer writes");
        if round % 2 == 0 {
            stepper.reactor.abort(id);
        } else {
            stepper.reactor.wait(Some(0), |wait| wait()).expect("the wait succeeds");
            stepper.reactor.close(id, 0);
        }
        let (next, mut peer) = stepper.stream(&shared);
        assert_eq!(stepper.reactor.raw_fd(next), fd);
        peer.write_all(b"\x01b").expect("the peer writes");
        assert_eq!(stepper.receive(next), message("b"));
        stepper.expect(Event::Gone(id));
        stepper.reactor.abort(next);
        stepper.expect(Event::Gone(next));
        old.extend([id, next]);
    }
    assert!(old.iter().all(|id| id.index() < 3));
    for id in old {
        assert_eq!(stepper.take(id), Taken::Closed);
        assert_eq!(stepper.send(id, "x"), Err(SendError::Closed));
        stepper.reactor.want(id, want::RECEIVE);
        stepper.reactor.set_deadline(id, Side::Receive, 1);
        stepper.reactor.close(id, 0);
    }
    stepper.events.clear();
    stepper.settle();
    assert_eq!(stepper.events, []);
    assert!(stepper.reactor.is_empty());
}
