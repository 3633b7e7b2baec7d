//! The bytes before a payload, held in place: made for every message that is sent.

/// What goes before a payload on the wire; at most 24 bytes, often none.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; Header::CAPACITY],
    /// At most `CAPACITY`; the bytes past it are zero.
    length: u8,
}

impl Header {
    /// The longest is a netstring's: the 20 digits of a 64-bit length and a colon.
    const CAPACITY: usize = 24;

    /// No header.
    pub(super) const EMPTY: Header = Header { bytes: [0; Header::CAPACITY], length: 0 };

    /// The bytes to send.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// Appends; a byte beyond the capacity is dropped, which no framing comes near.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    /// A header of `N` bytes, `N` at most the capacity.
    #[inline]
    pub(super) fn of<const N: usize>(source: [u8; N]) -> Header {
        const { assert!(N <= Header::CAPACITY) };
        let mut header = Header::EMPTY;
        header.bytes[..N].copy_from_slice(&source);
        header.length = N as u8;
        header
    }
}
