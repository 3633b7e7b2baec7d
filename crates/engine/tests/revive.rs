//! Links that outlive their connections: what stays, what is lost, and that it is counted.

mod stepper;

use jackfield_engine::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::rc::Rc;
use stepper::*;

/// A link to a plain server, and the server's ends.
struct Scene {
    stepper: Stepper,
    server: TcpListener,
    config: Rc<Config>,
    id: LinkId,
    peer: TcpStream,
}

impl Scene {
    fn new(config: Rc<Config>) -> Scene {
        let mut stepper = Stepper::new();
        let server = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let (id, peer) = connect(&mut stepper, &server, &config);
        assert!(stepper.reactor.make_lasting(id));
        Scene { stepper, server, config, id, peer }
    }

    /// The server ends the connection by a reset; gives what was lost.
    fn reset(&mut self) -> Outage {
        jackfield_engine::sys::socket::set_linger(self.peer.as_fd(), 0).expect("an option");
        self.replace_peer();
        self.down()
    }

    fn replace_peer(&mut self) {
        let spare = TcpStream::connect(self.server.local_addr().expect("bound")).expect("a connection");
        let (accepted, _) = self.server.accept().expect("accepts");
        drop((std::mem::replace(&mut self.peer, accepted), spare));
    }

    fn down(&mut self) -> Outage {
        self.stepper.expect(Event::Down(self.id));
        assert!(self.stepper.reactor.is_down(self.id));
        self.stepper.reactor.outage(self.id).expect("an outage").clone()
    }

    fn revive(&mut self) {
        let (fresh, peer) = connect(&mut self.stepper, &self.server, &self.config);
        self.peer = peer;
        self.stepper.reactor.graft(self.id, fresh).expect("fits");
        self.stepper.expect(Event::Gone(fresh));
    }

    fn hears(&mut self, framing: &str, messages: &[&[u8]]) {
        let expected: Vec<u8> = messages.iter().flat_map(|one| framed(framing, one)).collect();
        self.stepper.settle();
        let mut heard = vec![0; expected.len()];
        self.peer.read_exact(&mut heard).expect("it comes");
        assert_eq!(heard, expected);
    }

    fn end(self) {
        drop(self.peer);
        self.stepper.close_all(&[self.id]);
    }
}

fn connect(stepper: &mut Stepper, server: &TcpListener, config: &Rc<Config>) -> (LinkId, TcpStream) {
    let address = server.local_addr().expect("bound");
    let to = jackfield_engine::sys::address::SocketAddress::ip(address.ip(), address.port());
    let id = stepper.reactor.connect(&to, &how(libc::SOCK_STREAM), config).expect("begins");
    stepper.reactor.want(id, want::CONNECT);
    stepper.expect(Event::Connected(id));
    stepper.reactor.connected(id).expect("connects");
    (id, patient_tcp(server.accept().expect("accepts").0))
}

#[test]
fn who_waits_goes_on_waiting_and_hears_from_the_next_connection() {
    let mut scene = Scene::new(config("u16"));
    scene.stepper.reactor.want(scene.id, want::RECEIVE);
    let outage = scene.reset();
    assert!(matches!(outage.fault, Some(Fault::Lost(_))), "{outage:?}");
    assert_eq!(outage.loss, Loss::default());
    assert_eq!(scene.stepper.reactor.wanted(scene.id), want::RECEIVE);
    scene.revive();
    scene.peer.write_all(&framed("u16", b"back again")).expect("writes");
    assert_eq!(scene.stepper.receive(scene.id), message("back again"));
    assert_eq!(scene.stepper.reactor.fault(scene.id), None);
    scene.end();
}

#[test]
fn an_orderly_end_is_an_outage_too_and_what_came_before_is_kept() {
    let mut scene = Scene::new(config("line"));
    scene.peer.write_all(b"one\ntwo\nlast words").expect("writes");
    scene.replace_peer();
    // Nobody receives, and still it is noticed.
    let outage = scene.down();
    assert_eq!(outage.fault, None);
    scene.revive();
    scene.peer.write_all(b"three\n").expect("writes");
    for expected in ["one", "two", "last words", "three"] {
        assert_eq!(scene.stepper.receive(scene.id), message(expected));
    }
    scene.end();
}

#[test]
fn a_message_cut_in_the_middle_does_not_run_into_the_next_connection() {
    for framing in ["u16", "u32", "netstring"] {
        let mut scene = Scene::new(config(framing));
        let large = vec![b'x'; 100_000];
        let last = if framing == "u16" { &large[..1000] } else { &large[..] };
        scene.peer.write_all(&framed(framing, b"whole")).expect("writes");
        let cut = framed(framing, last);
        scene.peer.write_all(&cut[..cut.len() - 1]).expect("writes");
        assert_eq!(scene.stepper.receive(scene.id), message("whole"));
        scene.stepper.reactor.want(scene.id, want::RECEIVE);
        scene.replace_peer();
        scene.down();
        scene.revive();
        scene.peer.write_all(&framed(framing, b"anew")).expect("writes");
        assert_eq!(scene.stepper.receive(scene.id), message("anew"), "{framing}");
        assert_eq!(scene.stepper.reactor.parked(), 0);
        scene.end();
    }
}

#[test]
fn what_is_sent_while_it_is_down_leaves_on_the_next_connection() {
    let mut scene = Scene::new(config_with("u8", 10, WhenFull::Wait));
    scene.reset();
    assert_eq!(scene.stepper.send(scene.id, b"one"), Ok(Queued::Yes));
    assert_eq!(scene.stepper.send(scene.id, b"two"), Ok(Queued::Yes));
    assert_eq!(scene.stepper.send(scene.id, b"three"), Ok(Queued::Full), "the mark holds while it is down");
    scene.stepper.settle();
    scene.revive();
    scene.hears("u8", &[b"one", b"two"]);
    scene.end();
}

#[test]
fn the_unsent_leave_in_order_and_the_unknown_are_counted() {
    let mut scene = Scene::new(config_with("u32", 300_000, WhenFull::Wait));
    let mut sent: u32 = 0;
    let mut full = 0;
    while full < 20 {
        let payload = sent.to_be_bytes().repeat(250);
        match scene.stepper.send(scene.id, payload).expect("can be sent") {
            Queued::Yes => sent += 1,
            _ => full += 1,
        }
        scene.stepper.turn(if full > 0 { 10_000_000 } else { 0 });
    }
    let unread = jackfield_engine::sys::socket::unread(scene.peer.as_fd());
    let outage = scene.reset();
    let acknowledged = unread / 1004;
    assert!(outage.loss.unsent > 0);
    assert_eq!(acknowledged + outage.loss.unknown + outage.loss.unsent, sent as usize);
    assert_eq!(scene.stepper.reactor.queued_of(scene.id).1, outage.loss.unsent, "the unsent are still there");
    scene.revive();
    let expected: Vec<u8> = (sent - outage.loss.unsent as u32..sent)
        .flat_map(|number| framed("u32", &number.to_be_bytes().repeat(250)))
        .collect();
    let mut peer = scene.peer.try_clone().expect("a socket");
    let reader = std::thread::spawn(move || {
        let mut heard = vec![0; expected.len()];
        peer.read_exact(&mut heard).expect("it comes");
        assert!(heard == expected);
    });
    let id = scene.id;
    scene.stepper.until("all to leave", |reactor, _| (reactor.queued_of(id).1 == 0).then_some(()));
    reader.join().expect("the same messages");
    scene.end();
}

#[test]
fn a_wait_for_an_acknowledgement_ends_with_the_connection_unless_it_is_unsent() {
    let mut scene = Scene::new(config_with("u32", 100_000, WhenFull::Wait));
    let payload = vec![1; 8 << 20];
    assert_eq!(scene.stepper.send(scene.id, &payload), Ok(Queued::Yes));
    let cut = scene.stepper.reactor.queued_position(scene.id);
    scene.stepper.settle();
    assert!(scene.stepper.reactor.queued_of(scene.id).0 > 0, "the kernel does not take it whole");
    scene.stepper.reactor.want_passed(scene.id, cut, true);
    let outage = scene.reset();
    assert_eq!(outage.loss, Loss { unsent: 0, unknown: 1 });
    scene.stepper.expect(Event::Flushed(scene.id));
    assert_eq!(scene.stepper.reactor.passed(scene.id, cut, true), Passed::Lost);
    assert_eq!(scene.stepper.send(scene.id, b"next"), Ok(Queued::Yes));
    let next = scene.stepper.reactor.queued_position(scene.id);
    assert_eq!(scene.stepper.reactor.passed(scene.id, next, true), Passed::No);
    scene.stepper.reactor.want_passed(scene.id, next, true);
    scene.revive();
    scene.hears("u32", &[b"next"]);
    scene.stepper.expect(Event::Flushed(scene.id));
    assert_eq!(scene.stepper.reactor.passed(scene.id, next, true), Passed::Yes);
    assert_eq!(scene.stepper.reactor.passed(scene.id, cut, true), Passed::Lost);
    scene.end();
}

#[test]
fn giving_up_is_a_lost_link() {
    let mut scene = Scene::new(config("u16"));
    scene.reset();
    scene.stepper.send(scene.id, b"never").expect("can be sent");
    scene.stepper.reactor.give_up(scene.id, jackfield_engine::sys::Errno(libc::ECONNREFUSED));
    let refused = Fault::Lost(jackfield_engine::sys::Errno(libc::ECONNREFUSED));
    assert_eq!(scene.stepper.receive(scene.id), Taken::Fault(refused.clone()));
    assert_eq!(scene.stepper.send(scene.id, b"x"), Err(SendError::Fault(refused)));
    assert_eq!(scene.stepper.reactor.loss(scene.id), Some(Loss { unsent: 1, unknown: 0 }));
    scene.end();
}

#[test]
fn half_closed_it_ends_with_its_connection() {
    let mut scene = Scene::new(config("u16"));
    scene.stepper.reactor.send_end(scene.id).expect("can end");
    scene.stepper.settle();
    scene.peer.write_all(&framed("u16", b"good bye")).expect("writes");
    scene.replace_peer();
    assert_eq!(scene.stepper.receive(scene.id), message("good bye"));
    assert_eq!(scene.stepper.receive(scene.id), Taken::End);
    scene.end();
}

#[test]
fn descriptors_of_a_message_that_was_cut_go_to_no_other() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("u8"));
    assert!(stepper.reactor.make_lasting(id));
    assert!(matches!(stepper.reactor.take_with_descriptors(id), Take::Nothing));
    peer.write_all(b"\x03one").expect("the peer writes");
    send_with_descriptor(&peer, b"\x03two");
    send_with_descriptor(&peer, b"\x09thr");
    peer.shutdown(Shutdown::Both).expect("a socket");
    stepper.expect(Event::Down(id));
    for (text, count) in [("one", 0), ("two", 1)] {
        assert!(matches!(stepper.reactor.take_with_descriptors(id), Take::Bytes(bytes) if bytes == text.as_bytes()));
        let (fds, lost) = stepper.reactor.take_descriptors(id);
        assert_eq!((fds.len(), lost), (count, false), "{text}");
    }
    assert!(matches!(stepper.reactor.take_with_descriptors(id), Take::Nothing));
    stepper.reactor.abort(id);
    stepper.expect(Event::Gone(id));
}
