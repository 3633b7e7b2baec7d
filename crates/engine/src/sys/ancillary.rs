//! What travels beside the bytes: descriptors (unix(7), SCM_RIGHTS) and urgent data (tcp(7), MSG_OOB).

use super::{Errno, Result, check, check_len};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// So many descriptors go with one message at most (SCM_MAX_FD of the kernel).
pub const MAX_DESCRIPTORS: usize = 253;

/// Room for as many descriptors, and for the sender's credentials beside them.
const CONTROL: usize = 1152;

#[repr(align(8))]
struct Control([u8; CONTROL]);

/// What a receive gave.
pub struct Received {
    /// Bytes; of a packet its true length.
    pub length: usize,
    /// Descriptors or credentials came along.
    pub has_control: bool,
    /// Not all descriptors could be taken, most likely because this process may have no more.
    pub cut: bool,
}

/// recvmsg(2) that takes the descriptors that come along into `taken`, closed on exec.
pub fn receive(
    fd: BorrowedFd<'_>,
    first: &mut [MaybeUninit<u8>],
    second: &mut [u8],
    taken: &mut Vec<OwnedFd>,
) -> Result<Received> {
    let mut control = Control([0; CONTROL]);
    let mut parts = [
        libc::iovec { iov_base: first.as_mut_ptr().cast(), iov_len: first.len() },
        libc::iovec { iov_base: second.as_mut_ptr().cast(), iov_len: second.len() },
    ];
    // SAFETY: all zeroes is a valid msghdr: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = if second.is_empty() { 1 } else { 2 };
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | libc::MSG_TRUNC;
    let length = loop {
        // SAFETY: every pointer in `message` is valid for its length and outlives the call; a Unix stream ignores
        // MSG_TRUNC, and a packet's bytes beyond the parts are not written.
        match check_len(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) }) {
            Err(Errno(libc::EINTR)) => continue,
            result => break result?,
        }
    };
    take_descriptors(&message, taken);
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Received { length, has_control: message.msg_controllen != 0, cut })
}

fn take_descriptors(message: &libc::msghdr, taken: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel filled the control buffer; the CMSG macros stay within msg_controllen, and the descriptors in
    // it were just installed for this process, so nobody else owns them.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let fds = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for index in 0..bytes / size_of::<libc::c_int>() {
                    taken.push(OwnedFd::from_raw_fd(fds.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// sendmsg(2) with descriptors, at most [`MAX_DESCRIPTORS`]; they stay the sender's, too.
pub fn send(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], descriptors: &[OwnedFd]) -> Result<usize> {
    let count = descriptors.len().min(MAX_DESCRIPTORS);
    let bytes = (count * size_of::<libc::c_int>()) as u32;
    let mut control = Control([0; CONTROL]);
    // SAFETY: all zeroes is a valid msghdr: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice has iovec's layout by its documentation; sendmsg only reads through the pointer.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: pure arithmetic; 253 descriptors and a header are 1,032 bytes, less than the buffer.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as _;
    // SAFETY: the control buffer has room for one header and the descriptors, as computed above.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
        let to = libc::CMSG_DATA(header).cast::<libc::c_int>();
        for (index, descriptor) in descriptors[..count].iter().enumerate() {
            to.add(index).write_unaligned(descriptor.as_raw_fd());
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: every pointer in `message` is valid for its length and outlives the call.
        match check_len(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, flags) }) {
            Err(Errno(libc::EINTR)) => continue,
            result => break result,
        }
    }
}

/// Sends one byte as urgent data.
pub fn send_urgent(fd: BorrowedFd<'_>, byte: u8) -> Result<usize> {
    let flags = libc::MSG_OOB | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads one byte.
    check_len(unsafe { libc::send(fd.as_raw_fd(), (&raw const byte).cast(), 1, flags) })
}

/// The byte of urgent data that waits, if one does.
pub fn receive_urgent(fd: BorrowedFd<'_>) -> Result<Option<u8>> {
    let mut byte = 0_u8;
    // SAFETY: the kernel writes at most one byte.
    let taken =
        check_len(unsafe { libc::recv(fd.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_OOB | libc::MSG_DONTWAIT) });
    match taken {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(byte)),
        // There is none, or it is announced and still on its way.
        Err(Errno(libc::EINVAL | libc::EAGAIN | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the peer has ended its side, or the connection is over (poll(2), POLLRDHUP).
pub fn has_ended(fd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, valid for the call; it does not wait.
    let ready = check(unsafe { libc::poll(&mut poll, 1, 0) });
    ready.is_ok_and(|count| count > 0)
}
