//! The only place with `unsafe` in the engine: thin, checked wrappers around system calls.
//!
//! Every wrapper takes and returns owned or borrowed descriptors, slices and integers, turns `-1` into
//! [`Errno`], and retries `EINTR` where the call cannot be left half-done.

pub mod address;
pub mod ancillary;
pub mod batch;
pub mod epoll;
pub mod file;
pub mod icmp;
pub mod io;
pub mod limits;
pub mod socket;
pub mod tcp_info;
pub mod wait;

use std::fmt;

/// A system call's error number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The calling thread's current `errno`.
    pub fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Whether the call would have had to wait.
    #[inline]
    pub fn would_block(self) -> bool {
        self.0 == libc::EAGAIN || self.0 == libc::EWOULDBLOCK
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {})", self.0, std::io::Error::from_raw_os_error(self.0))
    }
}

/// What system calls give.
pub type Result<T> = std::result::Result<T, Errno>;

/// Turns the C convention into a `Result`.
#[inline]
pub(crate) fn check(value: libc::c_int) -> Result<libc::c_int> {
    if value < 0 { Err(Errno::last()) } else { Ok(value) }
}

/// Turns the C convention for lengths into a `Result`.
#[inline]
pub(crate) fn check_len(value: libc::ssize_t) -> Result<usize> {
    if value < 0 { Err(Errno::last()) } else { Ok(value as usize) }
}

/// Monotonic time in nanoseconds (clock_gettime(2), CLOCK_MONOTONIC).
#[inline]
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Wall-clock time in nanoseconds since 1970 (CLOCK_REALTIME).
pub fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
