//! epoll(7) and timerfd(2).

use super::{Errno, Result, check};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Readable, or a connection waits to be accepted.
pub const IN: u32 = libc::EPOLLIN as u32;
/// Writable.
pub const OUT: u32 = libc::EPOLLOUT as u32;
/// The peer shut its sending side.
pub const RDHUP: u32 = libc::EPOLLRDHUP as u32;
/// Both directions are closed.
pub const HUP: u32 = libc::EPOLLHUP as u32;
/// An error is pending.
pub const ERR: u32 = libc::EPOLLERR as u32;
/// Urgent data.
pub const PRI: u32 = libc::EPOLLPRI as u32;
/// Report changes only.
pub const EDGE: u32 = libc::EPOLLET as u32;

/// One report of the kernel: the event bits and the token given at registration.
pub type Report = libc::epoll_event;

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new instance, closed on exec.
    pub fn new() -> Result<Epoll> {
        // SAFETY: no pointers; the descriptor returned is ours.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was just made and nobody else owns it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The instance's own descriptor, readable when an event waits.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Starts to watch `fd`.
    pub fn add(&self, fd: RawFd, events: u32, token: u64) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// Changes what is watched.
    pub fn modify(&self, fd: RawFd, events: u32, token: u64) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Stops watching `fd`.
    pub fn remove(&self, fd: RawFd) -> Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: u32, token: u64) -> Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` is valid for the call; the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) })?;
        Ok(())
    }

    /// Waits at most `timeout_ns` (`None` is for ever) and fills `reports`; gives how many.
    ///
    /// `EINTR` comes back as zero reports, so that the caller can look at its signals.
    pub fn wait(&self, reports: &mut [Report], timeout_ns: Option<u64>) -> Result<usize> {
        let milliseconds = match timeout_ns {
            None => -1,
            Some(0) => 0,
            // Rounded up, so that a deadline is never polled for in a busy loop.
            Some(ns) => ns.div_ceil(1_000_000).min(i32::MAX as u64) as i32,
        };
        // SAFETY: the kernel writes at most `reports.len()` entries into the slice.
        let count = check(unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), reports.as_mut_ptr(), reports.len() as i32, milliseconds)
        });
        match count {
            Ok(count) => Ok(count as usize),
            Err(Errno(libc::EINTR)) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// A timer that makes an epoll instance readable: how deadlines reach a foreign event loop.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A disarmed monotonic timer.
    pub fn new() -> Result<Timer> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no pointers; the descriptor returned is ours.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: `fd` was just made and nobody else owns it.
        Ok(Timer(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor to watch.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Fires at `at_ns` of [`super::monotonic_ns`]; 0 disarms. Re-arming clears an old expiry.
    pub fn arm(&self, at_ns: u64) -> Result<()> {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec { tv_sec: (at_ns / 1_000_000_000) as i64, tv_nsec: (at_ns % 1_000_000_000) as i64 };
        let spec = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: `spec` is valid; a null old value is allowed.
        check(unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &spec, std::ptr::null_mut())
        })?;
        Ok(())
    }
}
