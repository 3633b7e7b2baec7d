//! How much of a large message must have arrived before its encrypted link is woken.
//!
//! Who decrypts faster than the peer encrypts is woken for every record, and a wake-up costs both ends more than the
//! record does. So while a large message lacks much, the kernel reports once [`ENOUGH`] of that have arrived, or the rest
//! (SO_RCVLOWAT, socket(7)): never more than is certain to come. The end of the connection is always reported, but a peer
//! may also stall, or end its side within a message; so after [`PATIENCE_NS`] anything is reported, until as much has
//! arrived again. Encrypted links alone have this: no descriptor is handed on with such a mark.

use crate::host::Host;
use crate::link::{Link, LinkId};
use crate::reactor::{Reactor, Side};
use crate::sys::socket;
use std::os::fd::AsFd;

/// What one wake-up should bring.
const ENOUGH: usize = 256 * 1024;
/// Less than this is not worth a system call.
const LITTLE: usize = 24 * 1024;
/// How long it may take to come.
const PATIENCE_NS: u64 = 10_000_000;
/// The plaintext of a full record, and what the shortest header and tag add to it (RFC 8446, 5.2).
const RECORD: usize = 16 * 1024;
const OVERHEAD: usize = 5 + 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct LowWater {
    /// What the kernel waits for.
    told: usize,
    /// Not before so many bytes have come in, since the peer was slow.
    from: u64,
    /// How many had come in when it last began to wait: who looks again meanwhile does not make it longer.
    since: u64,
}

/// What has to be received at least before `missing` bytes of plaintext are there, when there is anything to gain.
fn mark(missing: usize, unread: usize) -> usize {
    let encrypted = missing + missing.div_ceil(RECORD) * OVERHEAD;
    match encrypted.saturating_sub(unread).min(ENOUGH) {
        ..LITTLE => 1,
        bytes => bytes,
    }
}

impl<H: Host> Link<H> {
    /// The link is about to sleep: `missing` bytes of its message have not come, 0 when it has none. Whether a wait for
    /// more than a byte begins with this.
    fn tell_low_water(&mut self, missing: usize) -> bool {
        let (Some(session), Some(fd)) = (self.tls.as_deref(), self.fd.as_ref()) else { return false };
        let mut wanted = mark(missing, session.unread());
        if wanted == 1 && self.rare.low_water.is_none() {
            return false;
        }
        let begins = || Box::new(LowWater { told: 1, from: 0, since: u64::MAX });
        let low_water = self.rare.make().low_water.get_or_insert_with(begins);
        if self.counters.bytes_in < low_water.from {
            wanted = 1;
        }
        if low_water.told != wanted {
            low_water.told = wanted;
            // Where it cannot be said, every record is reported, as ever.
            let _ = socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, wanted as i32);
        }
        wanted > 1 && std::mem::replace(&mut low_water.since, self.counters.bytes_in) != self.counters.bytes_in
    }
}

impl<H: Host> Reactor<H> {
    /// A link without anything to read sleeps within a large message, which lacks `missing` bytes.
    pub(crate) fn sleep_within(&mut self, id: LinkId, missing: usize) {
        let until = self.now + PATIENCE_NS;
        if self.get_mut(id).is_some_and(|link| link.tell_low_water(missing)) {
            self.set_deadline(id, Side::Retry, until);
        }
    }

    /// What the link waits for has not come in time: whatever there is now, and comes soon, is reported by the kernel.
    pub(crate) fn low_water_expired(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let from = link.counters.bytes_in + ENOUGH as u64;
        let Some(low_water) = link.rare.low_water_mut().filter(|low_water| low_water.told > 1) else { return };
        low_water.from = from;
        link.tell_low_water(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_waited_for_than_must_come() {
        assert_eq!(mark(0, 0), 1);
        assert_eq!(mark(LITTLE - 1000, 0), 1);
        assert_eq!(mark(40_000, 0), 40_000 + 3 * OVERHEAD);
        assert_eq!(mark(40_000, 10_000), 30_000 + 3 * OVERHEAD);
        assert_eq!(mark(40_000, 50_000), 1);
        assert_eq!(mark(10 * ENOUGH, 10), ENOUGH);
    }
}
