//! Sockets that go to somebody else: a link gives its descriptor away with nothing lost, or not at all.

mod stepper;

use jackfield_engine::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use stepper::*;

#[test]
fn the_connection_goes_on_with_its_new_owner() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("line"));
    stepper.send(id, "before").expect("an open link");
    let fd = stepper.reactor.detach(id).expect("nothing is left here");
    stepper.expect(Event::Gone(id));
    assert_eq!(stepper.take(id), Taken::Closed);
    assert!(stepper.reactor.is_empty());

    let mut stream = patient(UnixStream::from(fd));
    stream.write_all(b"after\n").expect("a socket");
    let mut got = [0; 13];
    peer.read_exact(&mut got).expect("both");
    assert_eq!(&got, b"before\nafter\n");
    peer.write_all(b"back").expect("a socket");
    // The reactor does not hear of it any more.
    stepper.settle();
    assert_eq!(stepper.events, []);
    let mut got = [0; 4];
    stream.read_exact(&mut got).expect("the answer");
}

#[test]
fn what_would_be_lost_keeps_the_descriptor() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&config("line"));
    peer.write_all(b"one\ntwo\n").expect("a socket");
    assert_eq!(stepper.receive(id), message("one"));
    assert_eq!(stepper.reactor.detach(id).unwrap_err(), DetachError::Unclaimed);
    assert_eq!(stepper.receive(id), message("two"));

    stepper.send_all(id, &[b'x'; 200_000]);
    assert!(matches!(stepper.reactor.detach(id), Err(DetachError::Queued { messages: 1, .. })));
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 200_001];
        peer.read_exact(&mut all).map(|()| peer)
    });
    stepper.until("the queue to empty", |reactor, _| (reactor.queued_of(id).1 == 0).then_some(()));
    let mut peer = reader.join().expect("the reader").expect("everything");
    drop(stepper.reactor.detach(id).expect("nothing is left here"));
    assert_eq!(peer.read(&mut [0; 1]).expect("the end"), 0);
    stepper.close_all(&[]);
}

#[test]
fn what_has_no_descriptor_of_its_own_keeps_it() {
    let mut stepper = Stepper::new();
    let shared = config("none");
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_DGRAM), &shared).expect("a listener");
    let address = stepper.reactor.local(listener).expect("bound");
    let client = stepper.reactor.connect(&address, &how(libc::SOCK_DGRAM), &shared).expect("a link");
    stepper.send(client, "hello").expect("an open link");
    let peer = stepper.accept(listener);
    assert_eq!(stepper.reactor.detach(peer).unwrap_err(), DetachError::Shared);
    assert_eq!(stepper.reactor.detach(listener).unwrap_err(), DetachError::Shared);
    drop(stepper.reactor.detach(client).expect("a socket of its own"));
    assert_eq!(stepper.reactor.detach(client).unwrap_err(), DetachError::Closed);
    stepper.close_all(&[peer, listener]);
}

#[test]
fn an_end_that_was_asked_for_is_sent_before() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("line"));
    stepper.send(id, "last").expect("an open link");
    stepper.reactor.send_end(id).expect("an open link");
    let fd = stepper.reactor.detach(id).expect("nothing is left here");
    let mut all = Vec::new();
    peer.read_to_end(&mut all).expect("the end");
    assert_eq!(all, b"last\n");
    drop(fd);
    stepper.close_all(&[]);
}

#[test]
fn a_link_at_fault_and_one_of_a_group_keep_theirs() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("netstring"));
    peer.write_all(b"nonsense").expect("a socket");
    assert!(matches!(stepper.receive(id), Taken::Fault(Fault::Frame(_))));
    assert!(stepper.reactor.detach(id).is_err());
    let (member, _peer) = stepper.stream(&config("line"));
    let group = stepper.reactor.group(WhenFull::Wait);
    stepper.reactor.join(group, member);
    assert_eq!(stepper.reactor.detach(member).unwrap_err(), DetachError::Grouped);
    stepper.close_all(&[id, member]);
}
