//! What is known about bytes that are not in the framing: where in the stream they stand, and how they begin.
//!
//! The bytes of a broken frame stay unclaimed, so they can be shown to whoever has to find out what the peer speaks.

use crate::frame::FrameError;
use crate::host::Host;
use crate::link::{Fault, LinkId};
use crate::reactor::Reactor;

/// Bytes of a broken frame that are shown.
const SHOWN: usize = 32;

/// The beginning of a frame that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Bytes of the stream before the frame.
    pub start: u64,
    /// Bytes of the stream before the one at fault; of a frame that is too large, or was cut short, its start.
    pub position: u64,
    /// The frame's first bytes; empty if they were part of a large message, which is gone.
    pub beginning: Vec<u8>,
}

impl Garbage {
    /// Of a stream of which `bytes_in` bytes came and `unclaimed` are the last.
    pub(crate) fn of(error: &FrameError, unclaimed: &[u8], bytes_in: u64) -> Garbage {
        let before = bytes_in - unclaimed.len() as u64;
        let whole = Garbage { start: before, position: before, beginning: shown(unclaimed) };
        match *error {
            FrameError::Invalid { position, found, .. } if unclaimed.get(position) == Some(&found) => {
                Garbage { position: before + position as u64, ..whole }
            }
            // A large message was taken already, and what follows it is wrong: its first byte is the fault.
            FrameError::Invalid { position, .. } => {
                let start = before.saturating_sub(position as u64);
                Garbage { start, position: before, beginning: Vec::new() }
            }
            FrameError::Truncated { have, .. } if have > unclaimed.len() => {
                let start = bytes_in.saturating_sub(have as u64);
                Garbage { start, position: start, beginning: Vec::new() }
            }
            _ => whole,
        }
    }
}

impl<H: Host> Reactor<H> {
    /// What came instead of a frame; `None` as long as the link has no such fault, and where the kernel keeps
    /// boundaries.
    pub fn garbage(&self, id: LinkId) -> Option<Garbage> {
        let link = self.get(id)?;
        let Some(Fault::Frame(error)) = link.fault.as_deref() else { return None };
        if link.kind.is_packet() {
            return None;
        }
        let unclaimed = if self.rx_owner == id { &self.rx[self.rx_from..self.rx_to] } else { link.inbox.unclaimed() };
        Some(Garbage::of(error, unclaimed, link.counters.bytes_in))
    }
}

fn shown(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(SHOWN)].to_vec()
}
