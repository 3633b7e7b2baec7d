//! Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), and runs of equal datagrams that cross the kernel as
//! one: UDP_SEGMENT when sending, UDP_GRO when receiving (udp(7)).

use super::address::{RawAddress, SocketAddress};
use super::socket::{option, set_option};
use super::{Errno, Result, check_len};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams, or runs of them, that one call moves at most.
pub const MAX_BATCH: usize = 64;
/// Datagrams in one run at most (UDP_MAX_SEGMENTS of Linux before 6.9).
pub const MAX_SEGMENTS: usize = 64;

/// Has the kernel hand over runs of equal datagrams from one peer as one; it stays as it was where that is unknown.
pub fn join_received(fd: BorrowedFd<'_>) {
    let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
}

/// Whether the kernel divides what is sent into datagrams (since Linux 4.18). Without it the length of a datagram that
/// comes along with a message would be ignored.
pub fn can_segment(fd: BorrowedFd<'_>) -> bool {
    option(fd, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok()
}

/// Which of our addresses a datagram was sent to, and the interface that it came in by (IP_PKTINFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Our address, or the group's.
    pub ip: IpAddr,
    /// The interface's index.
    pub interface: u32,
}

/// What one message of a batch brought.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its true length, which can exceed the room.
    pub length: usize,
    /// The length of each datagram in it but the last, which may be shorter; 0: it is one datagram.
    pub segment: usize,
    /// Who sent it.
    pub from: SocketAddress,
    /// Known when IP_PKTINFO or IPV6_RECVPKTINFO is set.
    pub to: Option<Destination>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 128]);

/// The kernel's view of a batch, reused from call to call.
pub struct Receiver {
    headers: Vec<libc::mmsghdr>,
    parts: Vec<libc::iovec>,
    names: Vec<RawAddress>,
    controls: Vec<Control>,
}

impl Default for Receiver {
    fn default() -> Self {
        // SAFETY: all zeroes are valid message headers and parts: no name, no data, no control.
        let (header, part) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Receiver {
            headers: vec![header; MAX_BATCH],
            parts: vec![part; MAX_BATCH],
            names: vec![RawAddress::empty(); MAX_BATCH],
            controls: vec![Control([0; 128]); MAX_BATCH],
        }
    }
}

impl Receiver {
    /// Receives up to `count` messages, one into each `stride` bytes of `into`; gives how many came.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, into: &mut [u8], stride: usize, count: usize) -> Result<usize> {
        let count = count.min(MAX_BATCH).min(into.len() / stride);
        for (index, room) in into.chunks_exact_mut(stride).take(count).enumerate() {
            self.parts[index] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.parts[index];
            header.msg_iovlen = 1;
            header.msg_name = self.names[index].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
        let (fd, headers) = (fd.as_raw_fd(), self.headers.as_mut_ptr());
        loop {
            // SAFETY: the first `count` headers were just made to point at rooms, names and control buffers that are
            // exclusively ours and outlive the call, with their true lengths.
            let got = unsafe { libc::recvmmsg(fd, headers, count as u32, flags as _, std::ptr::null_mut()) };
            match check_len(got as isize) {
                Err(Errno(libc::EINTR)) => {}
                result => return result,
            }
        }
    }

    /// The message in the room of this index, after [`Receiver::receive`] gave more than that many.
    pub fn arrival(&mut self, index: usize) -> Arrival {
        let message = &self.headers[index];
        self.names[index].length = message.msg_hdr.msg_namelen;
        let mut arrival =
            Arrival { length: message.msg_len as usize, segment: 0, from: SocketAddress::Unnamed, to: None };
        if message.msg_hdr.msg_namelen > 0 {
            arrival.from = SocketAddress::from_raw(&self.names[index]);
        }
        let _ = super::io::close_received_descriptors(&message.msg_hdr);
        // SAFETY: the kernel filled the control buffer; the CMSG macros stay within msg_controllen, and each kind of
        // control message has the data that is read from it.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&message.msg_hdr);
            while !header.is_null() {
                let data = libc::CMSG_DATA(header);
                match ((*header).cmsg_level, (*header).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        arrival.segment = data.cast::<libc::c_int>().read_unaligned().max(0) as usize;
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        let ip = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into();
                        arrival.to = Some(Destination { ip, interface: info.ipi_ifindex as u32 });
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                        let ip = ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::from);
                        arrival.to = Some(Destination { ip, interface: info.ipi6_ifindex });
                    }
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(&message.msg_hdr, header);
            }
        }
        arrival
    }
}

/// One message to send: a datagram, or a run of them for the kernel to divide.
#[derive(Clone, Copy)]
pub struct Departure<'a> {
    /// How many of the parts belong to it.
    pub parts: usize,
    /// The length of each datagram but the last, which may be shorter; 0: it is one datagram.
    pub segment: u16,
    /// Where it goes; `None` where the socket is connected.
    pub to: Option<&'a RawAddress>,
}

/// Sends the departures in order, whose bytes lie in `parts`; gives how many were taken. An error is about the first.
pub fn send_batch(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], departures: &[Departure<'_>]) -> Result<usize> {
    const SPACE: usize = 32;
    #[derive(Clone, Copy)]
    #[repr(C, align(8))]
    struct Length([u8; SPACE]);
    let count = departures.len().min(MAX_BATCH);
    // SAFETY: all zeroes are valid headers: no name, no parts, no control data.
    let mut headers: [libc::mmsghdr; MAX_BATCH] = unsafe { std::mem::zeroed() };
    let mut lengths = [Length([0; SPACE]); MAX_BATCH];
    let mut left = parts;
    for (index, departure) in departures[..count].iter().enumerate() {
        let (own, rest) = left.split_at(departure.parts.min(left.len()));
        left = rest;
        let header = &mut headers[index].msg_hdr;
        // IoSlice has iovec's layout by its documentation; sendmmsg only reads through the pointer.
        header.msg_iov = own.as_ptr().cast_mut().cast();
        header.msg_iovlen = own.len() as _;
        if let Some(raw) = departure.to {
            header.msg_name = raw.as_ptr().cast_mut().cast();
            header.msg_namelen = raw.length;
        }
        if departure.segment > 0 {
            header.msg_control = lengths[index].0.as_mut_ptr().cast();
            // SAFETY: CMSG_SPACE of two bytes fits into SPACE; the first header lies at the start of the buffer, which
            // is aligned for it.
            unsafe {
                header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = libc::UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                libc::CMSG_DATA(control).cast::<u16>().write_unaligned(departure.segment);
            }
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: the first `count` headers point at parts, names and control data that outlive the call.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count as u32, flags as _) };
        match check_len(sent as isize) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}
