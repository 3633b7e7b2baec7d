//! Waiting in a system call: blocking receives and sends, ppoll(2), a gate for threads (futex(2)).
//!
//! For callers without a reactor. `EINTR` is given back, not retried: a signal is the caller's affair.

use super::io::{Packet, close_received_descriptors, message_for};
use super::{Errno, Result, check, check_len};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// Readable, or at an end, or at fault.
pub const READABLE: i16 = libc::POLLIN;
/// Room to write, or at fault.
pub const WRITABLE: i16 = libc::POLLOUT;

fn waiting(wait: bool) -> i32 {
    if wait { 0 } else { libc::MSG_DONTWAIT }
}

/// recv(2); with `wait` it blocks until something is there.
#[inline]
pub fn receive(fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>], flags: i32, wait: bool) -> Result<usize> {
    let flags = flags | waiting(wait);
    // SAFETY: the kernel writes at most `into.len()` bytes into the slice, also when MSG_TRUNC lets it return more.
    check_len(unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) })
}

/// recvmsg(2) of one packet; descriptors that come along are closed.
pub fn receive_packet(fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>], wait: bool) -> Result<Packet> {
    #[repr(align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = [libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() }];
    let mut message = message_for(&mut part);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC | waiting(wait);
    // SAFETY: every pointer in `message` is valid for its length and outlives the call.
    let length = check_len(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) })?;
    let lost = close_received_descriptors(&message);
    Ok(Packet { length, has_control: message.msg_controllen != 0, lost })
}

/// send(2); with `wait` a stream blocks until all is taken, unless a signal comes.
#[inline]
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8], wait: bool) -> Result<usize> {
    let flags = libc::MSG_NOSIGNAL | waiting(wait);
    // SAFETY: the kernel reads at most `bytes.len()` bytes.
    check_len(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// sendmsg(2) of several parts as one stream write or one packet.
pub fn send_parts(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], wait: bool) -> Result<usize> {
    let mut message = message_for(&mut []);
    // IoSlice has iovec's layout by its documentation; sendmsg only reads through the pointer.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    let flags = libc::MSG_NOSIGNAL | waiting(wait);
    // SAFETY: every pointer in `message` is valid for its length and outlives the call.
    check_len(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, flags) })
}

/// ppoll(2) of one descriptor, and of a second one for reading; false when `timeout_ns` (None: never) has passed.
pub fn poll(fd: BorrowedFd<'_>, events: i16, second: Option<BorrowedFd<'_>>, timeout_ns: Option<u64>) -> Result<bool> {
    let mut list = [libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }; 2];
    let mut count = 1;
    if let Some(second) = second {
        list[1] = libc::pollfd { fd: second.as_raw_fd(), events: READABLE, revents: 0 };
        count = 2;
    }
    let timeout = timeout_ns.map(timespec);
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `list` has at least `count` entries; `timeout` is null or lives in this frame.
    let ready = check(unsafe { libc::ppoll(list.as_mut_ptr(), count, timeout, std::ptr::null()) })?;
    Ok(ready > 0)
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ }
}

/// Makes the open socket blocking for all who share it.
pub fn set_blocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: F_GETFL and F_SETFL take and give integers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK != 0 {
        // SAFETY: as above.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) })?;
    }
    Ok(())
}

/// shutdown(2) of the receiving side, of both with `sending`: wakes whoever waits in a call on this socket.
pub fn wake_waiting(fd: BorrowedFd<'_>, sending: bool) {
    let how = if sending { libc::SHUT_RDWR } else { libc::SHUT_RD };
    // SAFETY: no pointers. A socket that is not connected any more wakes its waiters all the same.
    unsafe { libc::shutdown(fd.as_raw_fd(), how) };
}

/// A descriptor that becomes and stays readable once [`signal`] was called, until [`clear`] is (eventfd(2)).
pub fn event() -> Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor returned is ours.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// See [`event`].
pub fn signal(fd: BorrowedFd<'_>) {
    let one: u64 = 1;
    // SAFETY: eight bytes that live until the call returns. It fails only when it is signalled already.
    unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
}

/// Not readable any more, until it is signalled again; see [`event`].
pub fn clear(fd: BorrowedFd<'_>) {
    let mut count: u64 = 0;
    // SAFETY: eight bytes that live until the call returns. It fails only when it is not signalled.
    unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
}

/// Where threads wait until another one opens it; see futex(2).
#[derive(Debug, Default)]
pub struct Gate(AtomicU32);

impl Gate {
    /// How often it was opened, to be given to [`Gate::wait`].
    pub fn opened(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Waits until it was opened after `seen` was read, or `timeout_ns` has passed. Only `EINTR` is an error.
    pub fn wait(&self, seen: u32, timeout_ns: Option<u64>) -> Result<()> {
        let timeout = timeout_ns.map(timespec);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word lives as long as `self`; `timeout` is null or lives in this frame.
        match unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), operation, seen, timeout) } {
            -1 if Errno::last() == Errno(libc::EINTR) => Err(Errno(libc::EINTR)),
            _ => Ok(()),
        }
    }

    /// Wakes everybody who waits.
    pub fn open(&self) {
        self.0.fetch_add(1, Ordering::Release);
        // SAFETY: the word lives as long as `self`; FUTEX_WAKE does not write to it.
        unsafe {
            libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX)
        };
    }
}
