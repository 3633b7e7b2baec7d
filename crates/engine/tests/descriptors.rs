//! A process without descriptors to spare. Alone in its process: the limit is everybody's.

mod stepper;

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use stepper::*;

#[test]
fn without_descriptors_newcomers_are_refused_and_later_ones_taken() {
    let mut stepper = Stepper::new();
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &config("line")).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    let mut clients: Vec<TcpStream> =
        (0..3).map(|_| patient_tcp(TcpStream::connect(address).expect("a connection"))).collect();
    let mut hoard: Vec<OwnedFd> = Vec::new();
    while let Ok(fd) = jackfield_engine::sys::socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM) {
        hoard.push(fd);
        assert!(hoard.len() < 2_000_000, "the limit of open files is out of reach");
    }
    // One place: one connection is taken, the next refused with the descriptor kept back; then nothing waits, and that
    // is no error.
    hoard.pop();
    let id = stepper.accept(listener);
    assert_eq!(stepper.reactor.accept(listener), Ok(None));
    assert_eq!(stepper.reactor.clients(listener), Some((1, 2)));
    for client in &mut clients[1..] {
        let error = client.read(&mut [0; 1]).expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    // The one kept back is lost to somebody quicker: an error, and the listener looks again by itself.
    hoard.pop();
    let client = patient_tcp(TcpStream::connect(address).expect("a connection"));
    assert_eq!(stepper.until("a refusal", |reactor, _| (reactor.accept(listener) == Ok(None)).then_some(())), ());
    drop(client);
    hoard.truncate(hoard.len() / 2);
    let _client = TcpStream::connect(address).expect("a connection");
    let another = stepper.accept(listener);
    drop(hoard);
    stepper.close_all(&[id, another, listener]);
}
