//! What the engine's owner provides: the objects that messages are received into, and the payloads that it lends.

use std::mem::MaybeUninit;

/// What the caller's side provides: its own message objects, filled in place, and payloads that it lends.
pub trait Host {
    /// A large message under construction.
    type Body: Body;
    /// A payload that is sent from where it lies.
    type Loan: AsRef<[u8]>;
}

/// A message that is received straight into its final object.
pub trait Body: Sized {
    /// Room for `capacity` bytes, none filled.
    fn with_capacity(capacity: usize) -> Self;
    /// The part not filled yet.
    fn spare(&mut self) -> &mut [MaybeUninit<u8>];
    /// `count` bytes of the spare part were filled.
    fn advance(&mut self, count: usize);
    /// Room for `capacity` bytes in all; what is filled stays.
    fn grow(&mut self, capacity: usize);
    /// Bytes filled.
    fn len(&self) -> usize;
    /// What is filled.
    fn filled(&self) -> &[u8];
    /// Nothing filled.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills from `bytes`, which fit into the spare part.
    fn extend(&mut self, bytes: &[u8]) {
        let spare = &mut self.spare()[..bytes.len()];
        for (to, from) in spare.iter_mut().zip(bytes) {
            to.write(*from);
        }
        self.advance(bytes.len());
    }
}

/// A host without objects of its own: plain vectors.
#[derive(Debug)]
pub struct Plain;

impl Host for Plain {
    type Body = PlainBody;
    type Loan = Vec<u8>;
}

/// The body of [`Plain`].
#[derive(Debug)]
pub struct PlainBody {
    bytes: Vec<u8>,
    filled: usize,
}

impl PlainBody {
    /// The message.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }
}

impl Body for PlainBody {
    fn with_capacity(capacity: usize) -> Self {
        PlainBody { bytes: vec![0; capacity], filled: 0 }
    }

    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        crate::sys::io::uninit(&mut self.bytes[self.filled..])
    }

    fn advance(&mut self, count: usize) {
        self.filled += count;
    }

    fn grow(&mut self, capacity: usize) {
        self.bytes.resize(capacity, 0);
    }

    fn len(&self) -> usize {
        self.filled
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}
