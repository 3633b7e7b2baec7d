//! Keepalive in a crowd: thousands of idle connections do not ask for life at the same moment.
//!
//! Connections that came together are idle together, and the kernel's timers for a minute are two seconds coarse: it
//! sends all their probes at once. A device's queue holds about a thousand packets (net.core.netdev_max_backlog for
//! loopback, txqueuelen elsewhere), the rest is dropped, and the probes that follow are dropped in the same order; after
//! the third one live peers are taken for dead. So beyond a few connections each next lot asks a second earlier, at most
//! after half of the time that was asked for.

use crate::sys::socket;
use std::os::fd::BorrowedFd;

/// So many connections of one reactor may ask at the same moment.
pub(crate) const LOT: usize = 128;

/// Sets the idle time of a TCP connection with keepalive that is the `number`th of its reactor.
pub(crate) fn stagger(fd: BorrowedFd<'_>, number: usize) {
    if number < LOT || socket::option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE) != Ok(1) {
        return;
    }
    if let Ok(idle) = socket::option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) {
        let _ = socket::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle_time(idle, number));
    }
}

/// Seconds for the `number`th connection: `idle` for the first lot, then less, round and round.
fn idle_time(idle: i32, number: usize) -> i32 {
    let least = (idle + 1) / 2;
    let steps = idle - least + 1;
    idle - ((number / LOT) % steps.max(1) as usize) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lot_asks_at_another_moment_and_none_later_than_it_should() {
        assert_eq!(idle_time(60, 0), 60);
        assert_eq!(idle_time(60, LOT - 1), 60);
        assert_eq!(idle_time(60, LOT), 59);
        let mut lots = [0_usize; 61];
        for number in 0..10_000 {
            lots[idle_time(60, number) as usize] += 1;
        }
        assert!(lots[..30].iter().all(|lot| *lot == 0));
        assert!(lots[30..].iter().all(|lot| (200..=400).contains(lot)), "{lots:?}");
        assert_eq!((idle_time(1, 5_000), idle_time(2, 5_000)), (1, 1));
    }
}
