//! `bytes` objects used again: of datagrams that arrive by the hundred and are dropped as fast.
//!
//! Above a small size, CPython asks the C library for memory for each object, and the C library's short ways hold a
//! handful of each size: a batch of datagrams takes the long way for each, and again to free it. So the objects handed out
//! last are held in a ring as well. The oldest is filled anew if nobody else holds it by now; if somebody does, the ring lets go
//! of it and it stays what it is.

use crate::raw;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::VecDeque;

/// CPython's own pools serve objects of up to 512 bytes, 33 of which are not payload.
const POOLED: usize = 512 - 33;
/// Bytes that the ring holds at most: what two batches bring, since one is handed out while the one before it is still held,
/// and half as much again.
const CAPACITY: usize = 384 * 1024;
/// A message that is long costs more to copy than to allocate, and few fit into the ring.
const LONGEST: usize = 16 * 1024;
/// Turns of the event loop without a datagram after which the ring is given up.
const PATIENCE: u32 = 64;

/// See the module.
#[derive(Default)]
pub struct Recycling {
    ring: VecDeque<Py<PyBytes>>,
    /// Of all payloads in the ring.
    bytes: usize,
    /// Turns since it was used.
    unused: u32,
}

impl Recycling {
    /// A `bytes` object with this content, as [`PyBytes::new`] gives it.
    #[inline]
    pub fn bytes<'py>(&mut self, py: Python<'py>, content: &[u8]) -> Bound<'py, PyBytes> {
        // The stable ABI does not show where the content is.
        if cfg!(feature = "abi3") || content.len() <= POOLED || content.len() > LONGEST {
            return PyBytes::new(py, content);
        }
        self.unused = 0;
        if let Some(oldest) = self.ring.pop_front() {
            match raw::refill(oldest.into_bound(py), content) {
                Ok(refilled) => {
                    self.ring.push_back(refilled.clone().unbind());
                    return refilled;
                }
                // Batches are of one size mostly, and so the ring grows to what is in use at a time.
                Err(held) if held.as_bytes().len() == content.len() && self.bytes + content.len() <= CAPACITY => {
                    self.ring.push_front(held.unbind());
                }
                Err(other) => self.bytes -= other.as_bytes().len(),
            }
        }
        let new = PyBytes::new(py, content);
        if self.bytes + content.len() <= CAPACITY {
            self.bytes += content.len();
            self.ring.push_back(new.clone().unbind());
        }
        new
    }

    /// A turn has passed: gives up the objects if none was needed for long.
    #[inline]
    pub fn turn(&mut self) {
        if !self.ring.is_empty() {
            self.unused += 1;
            if self.unused > PATIENCE {
                *self = Recycling::default();
            }
        }
    }
}
