//! What the kernel knows of a TCP connection (tcp(7), TCP_INFO), as a plain struct.
//!
//! Kernels return as much as they know: fields that came with later ones are `None` where the answer was shorter.

use super::{Result, check};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The part that every kernel since 3.2 fills.
const SHORTEST: usize = 104;
/// The size of the longest answer that is decoded here.
const LONGEST: usize = 248;

/// See the module. Times are in the units that the names say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// As in `TCP_ESTABLISHED` (1) and its like.
    pub state: u8,
    /// Congestion control: 0 open, 1 disorder, 2 window reduced, 3 recovery, 4 loss.
    pub congestion_state: u8,
    /// Time-outs of the retransmission timer since something was acknowledged last.
    pub retransmits: u8,
    /// Probes of a closed window, or of keepalive, since the peer was heard last.
    pub probes: u8,
    /// How often the timer has been doubled.
    pub backoff: u8,
    /// Retransmission time-out.
    pub rto_us: u32,
    /// Bytes of a segment sent.
    pub send_mss: u32,
    /// Bytes of a segment received.
    pub receive_mss: u32,
    /// Segments that were sent and are not acknowledged.
    pub unacked: u32,
    /// Segments that the network is thought to have lost.
    pub lost: u32,
    /// Segments sent again that are not acknowledged.
    pub retransmitted: u32,
    /// Since data was sent last.
    pub last_data_sent_ms: u32,
    /// Since data was received last.
    pub last_data_received_ms: u32,
    /// Since an acknowledgement was received last, with data or without.
    pub last_ack_received_ms: u32,
    /// The largest packet that the path carries.
    pub path_mtu: u32,
    /// Smoothed round-trip time.
    pub rtt_us: u32,
    /// Its variation.
    pub rtt_variation_us: u32,
    /// Congestion window, in segments.
    pub congestion_window: u32,
    /// Round-trip time as the receiver guesses it.
    pub receive_rtt_us: u32,
    /// Segments sent again since the beginning.
    pub total_retransmits: u32,
    /// Bytes a second that pacing allows (kernel 3.15).
    pub pacing_rate: Option<u64>,
    /// Bytes acknowledged by the peer's kernel (4.1).
    pub bytes_acked: Option<u64>,
    /// Bytes received in order (4.1).
    pub bytes_received: Option<u64>,
    /// Bytes that wait in the kernel and were never sent (4.6).
    pub not_sent: Option<u32>,
    /// Smallest round-trip time seen lately (4.6).
    pub smallest_rtt_us: Option<u32>,
    /// Bytes a second that arrived lately (4.9).
    pub delivery_rate: Option<u64>,
    /// Time with data under way (4.10).
    pub busy_us: Option<u64>,
    /// Time held up by the peer's window (4.10).
    pub window_limited_us: Option<u64>,
    /// Time held up by our own send buffer (4.10).
    pub buffer_limited_us: Option<u64>,
    /// Bytes sent, without those sent again (4.19).
    pub bytes_sent: Option<u64>,
    /// Bytes sent again (4.19).
    pub bytes_retransmitted: Option<u64>,
    /// Bytes that the peer's window has room for (5.4).
    pub send_window: Option<u32>,
    /// Bytes that our own window has room for (6.2).
    pub receive_window: Option<u32>,
}

impl TcpInfo {
    /// Reads it from the kernel. An error on anything but TCP.
    pub fn of(fd: BorrowedFd<'_>) -> Result<TcpInfo> {
        let mut raw = [0u8; LONGEST];
        let mut length = raw.len() as libc::socklen_t;
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        // SAFETY: the kernel writes at most `length` bytes into `raw` and says how many in `length`.
        check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, raw.as_mut_ptr().cast(), &mut length) })?;
        Ok(TcpInfo::decode(&raw[..(length as usize).min(LONGEST)]))
    }

    /// Decodes what the kernel returned (linux/tcp.h, `struct tcp_info`); what is missing is zero or `None`.
    pub fn decode(raw: &[u8]) -> TcpInfo {
        let byte = |at: usize| raw.get(at).copied().unwrap_or(0);
        let word = |at: usize| Some(u32::from_ne_bytes(raw.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_ne_bytes(raw.get(at..at + 8)?.try_into().ok()?));
        let old = |at: usize| {
            debug_assert!(at + 4 <= SHORTEST);
            word(at).unwrap_or(0)
        };
        TcpInfo {
            state: byte(0),
            congestion_state: byte(1),
            retransmits: byte(2),
            probes: byte(3),
            backoff: byte(4),
            rto_us: old(8),
            send_mss: old(16),
            receive_mss: old(20),
            unacked: old(24),
            lost: old(32),
            retransmitted: old(36),
            last_data_sent_ms: old(44),
            last_data_received_ms: old(52),
            last_ack_received_ms: old(56),
            path_mtu: old(60),
            rtt_us: old(68),
            rtt_variation_us: old(72),
            congestion_window: old(80),
            receive_rtt_us: old(92),
            total_retransmits: old(100),
            pacing_rate: long(104),
            bytes_acked: long(120),
            bytes_received: long(128),
            not_sent: word(144),
            smallest_rtt_us: word(148),
            delivery_rate: long(160),
            busy_us: long(168),
            window_limited_us: long(176),
            buffer_limited_us: long(184),
            bytes_sent: long(200),
            bytes_retransmitted: long(208),
            send_window: word(228),
            receive_window: word(232),
        }
    }

    /// Since the peer was heard last, by an acknowledgement or by data.
    pub fn silent_ms(&self) -> u32 {
        self.last_ack_received_ms.min(self.last_data_received_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_connection_tells_its_state() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let info = TcpInfo::of(client.as_fd()).expect("TCP_INFO");
        assert_eq!(info.state, 1, "established");
        assert!(info.send_mss > 500 && info.path_mtu > 500 && info.congestion_window > 0);
        assert!(TcpInfo::of(std::io::stdin().as_fd()).is_err());
    }

    #[test]
    fn a_shorter_answer_has_fewer_fields() {
        let raw: Vec<u8> = (0..LONGEST as u32).map(|at| at as u8).collect();
        let whole = TcpInfo::decode(&raw);
        assert_eq!(whole.rtt_us, u32::from_ne_bytes([68, 69, 70, 71]));
        assert_eq!(whole.send_window, Some(u32::from_ne_bytes([228, 229, 230, 231])));
        let old = TcpInfo::decode(&raw[..SHORTEST]);
        assert_eq!((old.rtt_us, old.pacing_rate, old.send_window), (whole.rtt_us, None, None));
        for length in 0..LONGEST {
            TcpInfo::decode(&raw[..length]);
        }
    }
}
