//! Making, naming and setting sockets. Every socket is non-blocking and closed on exec.

use super::address::{RawAddress, SocketAddress};
use super::{Errno, Result, check};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The process, user and group of a Unix peer (unix(7), SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A new socket of `family` and `kind` (`SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_SEQPACKET`).
pub fn socket(family: i32, kind: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor returned is ours.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Two connected Unix sockets.
pub fn pair(kind: i32) -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: both were just made and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// bind(2).
pub fn bind(fd: BorrowedFd<'_>, address: &SocketAddress) -> Result<()> {
    let raw = address.to_raw();
    // SAFETY: `raw` holds an address of the length given.
    check(unsafe { libc::bind(fd.as_raw_fd(), raw.as_ptr(), raw.length) })?;
    Ok(())
}

/// listen(2).
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(())
}

/// Starts connect(2); `Ok(false)` means that it goes on and writability will tell.
pub fn connect(fd: BorrowedFd<'_>, address: &SocketAddress) -> Result<bool> {
    let raw = address.to_raw();
    // SAFETY: `raw` holds an address of the length given.
    match check(unsafe { libc::connect(fd.as_raw_fd(), raw.as_ptr(), raw.length) }) {
        Ok(_) => Ok(true),
        Err(Errno(libc::EINPROGRESS | libc::EINTR)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// accept4(2): the connection and who it is from.
pub fn accept(fd: BorrowedFd<'_>) -> Result<(OwnedFd, SocketAddress)> {
    let mut raw = RawAddress::empty();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `raw` has the room that its length says; the kernel writes the true length back.
    let new = check(unsafe { libc::accept4(fd.as_raw_fd(), raw.as_mut_ptr(), &mut raw.length, flags) })?;
    // SAFETY: `new` was just made and nobody else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(new) }, SocketAddress::from_raw(&raw)))
}

/// getsockname(2).
pub fn local_address(fd: BorrowedFd<'_>) -> Result<SocketAddress> {
    let mut raw = RawAddress::empty();
    // SAFETY: as in `accept`.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), raw.as_mut_ptr(), &mut raw.length) })?;
    Ok(SocketAddress::from_raw(&raw))
}

/// getpeername(2).
pub fn peer_address(fd: BorrowedFd<'_>) -> Result<SocketAddress> {
    let mut raw = RawAddress::empty();
    // SAFETY: as in `accept`.
    check(unsafe { libc::getpeername(fd.as_raw_fd(), raw.as_mut_ptr(), &mut raw.length) })?;
    Ok(SocketAddress::from_raw(&raw))
}

/// Makes the open socket non-blocking for all who share it (O_NONBLOCK).
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: F_GETFL and F_SETFL take and give integers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// shutdown(2) of the sending side: the peer reads the end after what is queued.
pub fn shutdown_send(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) })?;
    Ok(())
}

/// An integer option.
pub fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> Result<()> {
    set_option_bytes(fd, level, name, &value.to_ne_bytes())
}

/// An option of any form.
pub fn set_option_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
    // SAFETY: the pointer and the length describe `value`.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as libc::socklen_t)
    })?;
    Ok(())
}

/// Reads an integer option back.
pub fn option(fd: BorrowedFd<'_>, level: i32, name: i32) -> Result<i32> {
    let mut value: i32 = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &mut length) })?;
    Ok(value)
}

/// Reads an option of any form, at most `size` bytes of it.
pub fn option_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, size: usize) -> Result<Vec<u8>> {
    let mut value = vec![0; size];
    let mut length = size as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`; the kernel writes no more than `length` bytes.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut length) })?;
    value.truncate(length as usize);
    Ok(value)
}

/// Takes the pending error (SO_ERROR), if there is one.
pub fn take_error(fd: BorrowedFd<'_>) -> Option<Errno> {
    match option(fd, libc::SOL_SOCKET, libc::SO_ERROR) {
        Ok(0) | Err(_) => None,
        Ok(number) => Some(Errno(number)),
    }
}

/// SO_LINGER: close waits for `seconds`; 0 makes close send a reset and drop what is unsent.
pub fn set_linger(fd: BorrowedFd<'_>, seconds: i32) -> Result<()> {
    let value = libc::linger { l_onoff: 1, l_linger: seconds };
    // SAFETY: the pointer and the length describe `value`.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const value).cast(),
            size_of::<libc::linger>() as u32,
        )
    })?;
    Ok(())
}

/// Who is at the other end of a connected Unix socket (SO_PEERCRED).
pub fn credentials(fd: BorrowedFd<'_>) -> Option<Credentials> {
    let mut value = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`.
    let status = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut value).cast(), &mut length)
    };
    (status == 0 && value.pid != 0).then_some(Credentials { pid: value.pid, uid: value.uid, gid: value.gid })
}

/// How many messages the kernel has dropped instead of putting them into the receive buffer: the number that SO_RXQ_OVFL
/// sends along with messages, here without waiting for one (SO_MEMINFO, since Linux 4.12).
pub fn dropped(fd: BorrowedFd<'_>) -> Option<u32> {
    /// SK_MEMINFO_DROPS of linux/sock_diag.h.
    const DROPS: usize = 8;
    let mut values = [0_u32; 9];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `values`.
    let status = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, values.as_mut_ptr().cast(), &mut length)
    };
    (status == 0 && length as usize == size_of_val(&values)).then_some(values[DROPS])
}

/// How many bytes wait to be received (SIOCINQ).
pub fn unread(fd: BorrowedFd<'_>) -> usize {
    ioctl_count(fd, libc::FIONREAD)
}

/// How many bytes the peer's kernel has not acknowledged yet (SIOCOUTQ).
pub fn unacknowledged(fd: BorrowedFd<'_>) -> usize {
    ioctl_count(fd, libc::TIOCOUTQ)
}

fn ioctl_count(fd: BorrowedFd<'_>, request: libc::Ioctl) -> usize {
    let mut value: libc::c_int = 0;
    // SAFETY: both requests write one int.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut value) };
    if status < 0 { 0 } else { value.max(0) as usize }
}
