//! How often each address may come: a bucket of tokens for each one that came lately.
//!
//! A bucket is one time: when it is full again (the generic cell rate algorithm, ITU-T I.371). Hosts of one IPv6 /64 are
//! one address, as one machine has them all.

use crate::sys::address::SocketAddress;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// So much of a rate may come at once.
const BURST_NS: u64 = 5_000_000_000;
/// Addresses that are known at a time; whoever comes beyond them is not held to the rate.
const MOST: usize = 65_536;

/// What counts as one address; none for those of this machine's sockets.
pub(crate) fn origin(address: &SocketAddress) -> Option<IpAddr> {
    match address {
        SocketAddress::Ip { ip: IpAddr::V6(ip), .. } => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
        SocketAddress::Ip { ip, .. } => Some(*ip),
        SocketAddress::Unix(_) | SocketAddress::Unnamed => None,
    }
}

/// Who came how often.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    full_at: HashMap<IpAddr, u64>,
    swept: u64,
}

impl Rate {
    /// Whether one more of that address is within one in `interval_ns`; it is counted if it is.
    pub fn admits(&mut self, address: IpAddr, interval_ns: u64, now: u64) -> bool {
        if self.full_at.len() >= MOST && now >= self.swept + BURST_NS {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let full_at = self.full_at.get(&address).copied().unwrap_or(0).max(now);
        // A burst is one at least, however slow the rate.
        if full_at + interval_ns > now + BURST_NS.max(interval_ns) {
            return false;
        }
        if self.full_at.len() < MOST || self.full_at.contains_key(&address) {
            self.full_at.insert(address, full_at + interval_ns);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SECOND: u64 = 1_000_000_000;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn admitted(rate: &mut Rate, number: u32, interval: u64, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| rate.admits(address(number), interval, now)).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut rate, interval) = (Rate::default(), SECOND / 20);
        let begin = 100 * SECOND;
        assert_eq!(admitted(&mut rate, 1, interval, begin, 1000), 100);
        assert_eq!(admitted(&mut rate, 2, interval, begin, 3), 3);
        assert_eq!(admitted(&mut rate, 1, interval, begin + SECOND, 1000), 20);
        assert_eq!(admitted(&mut rate, 1, interval, begin + SECOND + interval - 1, 1000), 0);
        assert_eq!(admitted(&mut rate, 1, interval, begin + 60 * SECOND, 1000), 100);
    }

    #[test]
    fn a_rate_below_one_in_a_burst_admits_one() {
        let (mut rate, interval) = (Rate::default(), 60 * SECOND);
        assert_eq!(admitted(&mut rate, 1, interval, SECOND, 10), 1);
        assert_eq!(admitted(&mut rate, 1, interval, 60 * SECOND, 10), 0);
        assert_eq!(admitted(&mut rate, 1, interval, 61 * SECOND, 10), 1);
    }

    #[test]
    fn memory_is_bounded_and_those_who_are_known_stay_held() {
        let (mut rate, interval) = (Rate::default(), SECOND);
        for number in 0..MOST as u32 + 1000 {
            assert!(rate.admits(address(number), interval, SECOND));
        }
        assert_eq!(rate.full_at.len(), MOST);
        assert_eq!(admitted(&mut rate, 7, interval, SECOND, 10), 4);
        assert!(rate.admits(address(u32::MAX), interval, 60 * SECOND));
        assert_eq!(rate.full_at.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| origin(&SocketAddress::Ip { ip: text.parse().unwrap(), port: 1, scope: 0 });
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(origin(&SocketAddress::Unnamed), None);
    }
}
