//! Who said no: the error queue of a socket (IP_RECVERR in ip(7), IPV6_RECVERR in ipv6(7)).
//!
//! Hosts and routers refuse by ICMP. The kernel gives the error number alone, unless the socket has asked to keep
//! the message: then a queue beside the data tells who sent it and which type and code it had. On an established
//! TCP connection the same option lets one forged message end the connection, so there it must be off.

use super::socket::{set_option, take_error};
use super::{Errno, check_len};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Messages taken from a queue at a time: a flood of forged ones must not hold up the rest.
const MESSAGES_MAX: usize = 256;

/// An ICMP or ICMPv6 message about what a socket has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What the kernel makes of it.
    pub errno: Errno,
    /// The host that sent it: the target, a router, or this machine itself.
    pub offender: IpAddr,
    /// 3 is "destination unreachable" over IPv4 (RFC 792), 1 over IPv6 (RFC 4443).
    pub icmp_type: u8,
    /// What is unreachable, and why.
    pub code: u8,
}

/// Whether messages are kept for `family`; switching it off empties the queue.
pub fn keep_errors(fd: BorrowedFd<'_>, family: i32, keep: bool) {
    let value = i32::from(keep);
    // Without the option errors are only less telling. An IPv6 socket may talk to a mapped IPv4 address.
    if family == libc::AF_INET || family == libc::AF_INET6 {
        let _ = set_option(fd, libc::IPPROTO_IP, libc::IP_RECVERR, value);
    }
    if family == libc::AF_INET6 {
        let _ = set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, value);
    }
}

/// Empties the queue, and the pending error with it; gives the newest message with that error number.
pub fn take_errors(fd: BorrowedFd<'_>, errno: Errno) -> Option<IcmpError> {
    let mut found = None;
    for _ in 0..MESSAGES_MAX {
        match next_error(fd) {
            Ok(Some(error)) if error.errno == errno => found = Some(error),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // What was queued behind the error that is told now says the same again.
    take_error(fd);
    found
}

/// One message of the queue; `None` for one that did not come by ICMP.
fn next_error(fd: BorrowedFd<'_>) -> Result<Option<IcmpError>, Errno> {
    #[repr(align(8))]
    struct Control([u8; 512]);
    let mut control = Control([0; 512]);
    // SAFETY: all zeroes is a valid msghdr: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: the control buffer is valid for its length and outlives the call; nothing else is asked for.
    check_len(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) })?;
    // SAFETY: the kernel filled the control buffer; the CMSG macros stay within msg_controllen.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !header.is_null() {
        // SAFETY: `header` points to a whole header inside the control buffer.
        let (level, kind, length) = unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len as usize) };
        let wanted =
            matches!((level, kind), (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR));
        // SAFETY: CMSG_LEN only computes.
        if wanted && length >= unsafe { libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as u32) } as usize {
            // SAFETY: cmsg_len was checked: the data holds a whole sock_extended_err.
            let error = unsafe { libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned() };
            // SAFETY: CMSG_LEN only computes.
            let data = length - unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: the kernel wrote `data` bytes behind the header.
            let bytes = unsafe { std::slice::from_raw_parts(libc::CMSG_DATA(header), data) };
            return Ok(icmp_error(&error, &bytes[size_of::<libc::sock_extended_err>()..]));
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    Ok(None)
}

/// Puts it together; behind the fixed part stands the offender's address as a `sockaddr`.
fn icmp_error(error: &libc::sock_extended_err, offender: &[u8]) -> Option<IcmpError> {
    if error.ee_origin != libc::SO_EE_ORIGIN_ICMP && error.ee_origin != libc::SO_EE_ORIGIN_ICMP6 {
        return None;
    }
    let family = i32::from(u16::from_ne_bytes(*offender.first_chunk()?));
    let offender = match family {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*offender.get(4..)?.first_chunk::<4>()?)),
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(*offender.get(8..)?.first_chunk::<16>()?);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    let errno = Errno(i32::try_from(error.ee_errno).unwrap_or(0));
    Some(IcmpError { errno, offender, icmp_type: error.ee_type, code: error.ee_code })
}
