//! Objects of datagrams used again: of those that arrive by the hundred and are dropped as fast.
//!
//! Above a small size, CPython asks the C library for memory for each `bytes` object, and the C library's short ways hold a
//! handful of each size: a batch of datagrams takes the long way for each, and again to free it. A tuple that names the
//! peer beside it costs the garbage collector's book-keeping as well. So the objects handed out last are held in a ring,
//! too. The oldest is filled anew if nobody else holds it by now; if somebody does, the ring lets go of it and it stays what
//! it is.

use crate::raw;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use std::collections::VecDeque;

/// CPython's own pools serve objects of up to 512 bytes, 33 of which are not payload.
const POOLED: usize = 512 - 33;
/// Bytes that a ring holds at most: what two batches bring, since one is handed out while the one before it is still held,
/// and half as much again.
const CAPACITY: usize = 512 * 1024;
/// A message that is long costs more to copy than to allocate, and few fit into the ring.
const LONGEST: usize = 16 * 1024;
/// What a datagram costs beside its payload: the head of its `bytes`, and the tuple.
const DATAGRAM_OVERHEAD: usize = 112;
/// With so many bytes in hand, a call that takes many datagrams asks the kernel for no more, ...
pub const ENOUGH: usize = 96 * 1024;
/// ... and with so many it leaves the rest for the next call.
pub const MOST: usize = 256 * 1024;
/// Turns of the event loop without a datagram after which the rings are given up.
const PATIENCE: u32 = 64;

/// See the module.
#[derive(Default)]
pub struct Recycling {
    /// The `bytes` of channels.
    payloads: Ring<PyBytes>,
    /// The named tuples of endpoints, each with its own `bytes`.
    datagrams: Ring<PyAny>,
    /// Turns since they were used.
    unused: u32,
}

/// Objects, the one first that was handed out first.
struct Ring<T> {
    objects: VecDeque<Py<T>>,
    /// What they hold in all.
    bytes: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Ring { objects: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Ring<T> {
    /// Puts a new object last, if there is room for it.
    fn add(&mut self, object: Py<T>, cost: usize) {
        if self.bytes + cost <= CAPACITY {
            self.bytes += cost;
            self.objects.push_back(object);
        }
    }

    /// The oldest object was taken out and is in use: back to its place if the ring may still grow, to what is in use at
    /// a time; else it is let go.
    fn put_back(&mut self, object: Py<T>, cost: usize, grows: bool) {
        if grows {
            self.objects.push_front(object);
        } else {
            self.bytes -= cost;
        }
    }
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
        let ring = &mut self.payloads;
        if let Some(oldest) = ring.objects.pop_front() {
            match raw::refill(oldest.into_bound(py), content) {
                Ok(refilled) => {
                    ring.objects.push_back(refilled.clone().unbind());
                    return refilled;
                }
                Err(held) => {
                    // Batches are of one size mostly.
                    let cost = held.as_bytes().len();
                    let grows = cost == content.len() && ring.bytes + cost <= CAPACITY;
                    ring.put_back(held.unbind(), cost, grows);
                }
            }
        }
        let new = PyBytes::new(py, content);
        ring.add(new.clone().unbind(), content.len());
        new
    }

    /// A named tuple of `class` with this content and these further fields, as [`raw::named_tuple`] gives it.
    #[inline]
    pub fn datagram<'py>(
        &mut self,
        class: &Bound<'py, PyType>,
        content: &[u8],
        others: &[Py<PyAny>; 3],
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let fresh = || {
            let [peer, local, interface] = others.each_ref().map(|field| field.bind(py).clone());
            raw::named_tuple(class, [PyBytes::new(py, content).into_any(), peer, local, interface])
        };
        if cfg!(feature = "abi3") || content.len() > LONGEST {
            return fresh();
        }
        self.unused = 0;
        let ring = &mut self.datagrams;
        if let Some(oldest) = ring.objects.pop_front() {
            let oldest = oldest.into_bound(py);
            let before = raw::first_length(&oldest);
            match raw::refill_named_tuple(oldest, class, content, others) {
                Ok(refilled) => {
                    ring.bytes = ring.bytes - before + content.len();
                    ring.objects.push_back(refilled.clone().unbind());
                    return Ok(refilled);
                }
                Err(held) => {
                    let cost = before + DATAGRAM_OVERHEAD;
                    ring.put_back(held.unbind(), cost, ring.bytes + content.len() + DATAGRAM_OVERHEAD <= CAPACITY);
                }
            }
        }
        let new = fresh()?;
        ring.add(new.clone().unbind(), content.len() + DATAGRAM_OVERHEAD);
        Ok(new)
    }

    /// A turn has passed: gives up the objects if none was needed for long.
    #[inline]
    pub fn turn(&mut self) {
        if !self.payloads.objects.is_empty() || !self.datagrams.objects.is_empty() {
            self.unused += 1;
            if self.unused > PATIENCE {
                *self = Recycling::default();
            }
        }
    }
}
