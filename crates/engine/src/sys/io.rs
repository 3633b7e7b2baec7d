//! Moving bytes: recv(2), recvmsg(2), send(2), sendmsg(2). Never blocking, never raising SIGPIPE.

use super::address::RawAddress;
use super::{Errno, Result, check_len};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Views initialised memory as memory to fill.
#[inline]
pub fn uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: same layout; the receivers below only ever write initialised bytes into it.
    unsafe { &mut *(bytes as *mut [u8] as *mut [MaybeUninit<u8>]) }
}

macro_rules! retry {
    ($call:expr) => {
        loop {
            match check_len($call) {
                Err(Errno(libc::EINTR)) => continue,
                result => break result,
            }
        }
    };
}

/// recv(2); 0 is the end of a stream, or an empty datagram.
#[inline]
pub fn receive(fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>], flags: i32) -> Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most `into.len()` bytes into the slice. With MSG_TRUNC the value returned can
    // be larger than that, but nothing is written beyond.
    retry!(unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) })
}

/// What a stream gave.
pub struct Chunk {
    /// Bytes; 0 is the end.
    pub length: usize,
    /// The read was cut short by descriptors or credentials that came along (and were discarded): more may wait.
    pub cut: bool,
    /// Descriptors among them were discarded.
    pub lost: bool,
}

/// recvmsg(2) of a Unix stream, which tells why a read was short.
#[inline]
pub fn receive_unix(fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>]) -> Result<Chunk> {
    receive_parts(fd, &mut [libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() }])
}

/// recvmsg(2) into two buffers, the first one filled first.
pub fn receive_two(fd: BorrowedFd<'_>, first: &mut [MaybeUninit<u8>], second: &mut [u8]) -> Result<Chunk> {
    receive_parts(
        fd,
        &mut [
            libc::iovec { iov_base: first.as_mut_ptr().cast(), iov_len: first.len() },
            libc::iovec { iov_base: second.as_mut_ptr().cast(), iov_len: second.len() },
        ],
    )
}

#[inline]
fn receive_parts(fd: BorrowedFd<'_>, parts: &mut [libc::iovec]) -> Result<Chunk> {
    let mut message = message_for(parts);
    // SAFETY: the callers made the parts from exclusive borrows of the lengths given.
    let length = retry!(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) })?;
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Chunk { length, cut, lost: cut })
}

/// What a packet socket gave.
pub struct Packet {
    /// The packet's true length, which can exceed the buffer.
    pub length: usize,
    /// Whether sender credentials came along: with SO_PASSCRED a message has them and the end does not.
    pub has_control: bool,
    /// Descriptors came along and were discarded.
    pub lost: bool,
}

/// recvmsg(2) of one packet with its sender; `from` may be skipped.
pub fn receive_packet(fd: BorrowedFd<'_>, into: &mut [u8], from: Option<&mut RawAddress>) -> Result<Packet> {
    #[repr(align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = [libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() }];
    let mut message = message_for(&mut part);
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let mut from = from;
    if let Some(raw) = from.as_deref_mut() {
        message.msg_name = raw.as_mut_ptr().cast();
        message.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: every pointer in `message` is valid for its length and outlives the call.
    let length = retry!(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) })?;
    if let Some(raw) = from {
        raw.length = message.msg_namelen;
    }
    let closed = close_received_descriptors(&message);
    let lost = closed || message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Packet { length, has_control: message.msg_controllen != 0, lost })
}

/// Descriptors that nobody asked for are closed, or a peer could use up ours; whether there were any.
pub(super) fn close_received_descriptors(message: &libc::msghdr) -> bool {
    let mut any = false;
    // SAFETY: the kernel filled the control buffer; the CMSG macros stay within msg_controllen.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let fds = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for index in 0..bytes / size_of::<libc::c_int>() {
                    libc::close(fds.add(index).read_unaligned());
                    any = true;
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    any
}

/// send(2).
#[inline]
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes.
    retry!(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// sendmsg(2) of several parts as one stream write or one packet.
#[inline]
pub fn send_parts(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize> {
    send_parts_to(fd, parts, None)
}

/// sendmsg(2) of several parts as one packet, to `to` if the socket is not connected.
pub fn send_parts_to(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], to: Option<&RawAddress>) -> Result<usize> {
    let mut message = message_for(&mut []);
    // IoSlice has iovec's layout by its documentation; sendmsg only reads through the pointer.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    if let Some(raw) = to {
        message.msg_name = raw.as_ptr().cast_mut().cast();
        message.msg_namelen = raw.length;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: every pointer in `message` is valid for its length and outlives the call.
    retry!(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, flags) })
}

pub(super) fn message_for(parts: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    message
}
