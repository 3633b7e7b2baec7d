//! A crowd of connections does not ask for life at the same moment. Alone in its process: it needs many descriptors.

mod stepper;

use jackfield_engine::sys::socket;
use jackfield_engine::*;
use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use stepper::*;

const CONNECTIONS: usize = 300;

#[test]
fn keepalive_of_a_crowd_is_spread() {
    let mut stepper = Stepper::new();
    let options: Vec<SocketOption> =
        [(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1), (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 60)]
            .map(|(level, name, value): (i32, i32, i32)| SocketOption {
                level,
                name,
                value: value.to_ne_bytes().to_vec(),
            })
            .into();
    let how = OpenOptions { options: &options, ..how(libc::SOCK_STREAM) };
    let listener = stepper.reactor.listen(&loopback(), &how, &config("u32")).expect("a listener");
    let at = stepper.reactor.local(listener).expect("an address");
    stepper.reactor.want(listener, want::RECEIVE);
    let mut peers = Vec::new();
    let mut ids = vec![listener];
    let mut idle = Vec::new();
    while ids.len() <= CONNECTIONS {
        peers.push(std::net::TcpStream::connect(tcp_address(&at)).expect("a connection"));
        let id = stepper.until("a client", |reactor, _| reactor.accept(listener).expect("an accept"));
        let fd = stepper.reactor.raw_fd(id).expect("a descriptor");
        // SAFETY: the link owns the descriptor and is open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        idle.push(socket::option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE).expect("an option"));
        ids.push(id);
    }
    assert_eq!(idle[..100], [60; 100], "few connections ask as they were told");
    assert_eq!(idle.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([58, 59, 60]));
    stepper.close_all(&ids);
}
