//! Files that epoll takes and recv(2) does not: terminal lines (termios(3), ioctl_tty(2)), pipes. Never blocking, since
//! their descriptors are.

use super::{Errno, Result, check, check_len};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// read(2); 0 is the end. A terminal line that was hung up, because its device has gone, says EIO.
pub fn read(fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>]) -> Result<usize> {
    loop {
        // SAFETY: the kernel writes at most `into.len()` bytes into the slice.
        match check_len(unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) }) {
            Err(Errno(libc::EINTR)) => continue,
            Ok(0) if !into.is_empty() && is_hung_up(fd) => return Err(Errno(libc::EIO)),
            result => return result,
        }
    }
}

/// writev(2).
pub fn write(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize> {
    loop {
        // SAFETY: IoSlice has iovec's layout by its documentation; the kernel only reads through it.
        match check_len(unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr().cast(), parts.len() as i32) }) {
            Err(Errno(libc::EINTR)) => continue,
            result => return result,
        }
    }
}

/// Bytes that a terminal line has taken and not yet sent (TIOCOUTQ); 0 for anything else.
pub fn unsent(fd: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let result = check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) });
    if result.is_ok() { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Drops what a terminal line has taken and not yet sent (TCFLSH): closing would wait for it.
pub fn discard_unsent(fd: BorrowedFd<'_>) {
    // SAFETY: no pointers. What is no terminal line has nothing to discard.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCFLSH, libc::TCOFLUSH) };
}

fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut settings = Settings::zeroed();
    // SAFETY: TCGETS2 fills one termios2.
    let result = check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCGETS2, &mut settings.0) });
    result == Err(Errno(libc::EIO))
}

#[derive(Clone, Copy)]
struct Settings(libc::termios2);

impl Settings {
    fn zeroed() -> Settings {
        // SAFETY: termios2 is integers alone.
        Settings(unsafe { std::mem::zeroed() })
    }
}

/// Puts a terminal line's settings back when it is dropped: those that it had before it was opened here.
pub struct Restore {
    fd: OwnedFd,
    /// `None`: they stay as they are.
    settings: Option<Settings>,
}

impl std::fmt::Debug for Restore {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Restore").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Restore {
    /// For the line `fd`, with a duplicate of the descriptor: it may be closed before. `settings` are what TCGETS2 gave,
    /// as bytes.
    pub fn new(fd: BorrowedFd<'_>, settings: &[u8]) -> Result<Restore> {
        let mut before = Settings::zeroed();
        if settings.len() != size_of::<libc::termios2>() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: as many bytes as the structure has, which is integers alone.
        unsafe {
            let target = (&raw mut before.0).cast::<u8>();
            std::ptr::copy_nonoverlapping(settings.as_ptr(), target, settings.len());
        }
        // SAFETY: F_DUPFD_CLOEXEC gives a new descriptor.
        let copy = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?;
        // SAFETY: `copy` was just made and nobody else owns it.
        Ok(Restore { fd: unsafe { OwnedFd::from_raw_fd(copy) }, settings: Some(before) })
    }
}

impl Restore {
    /// The line goes on with somebody else, as it is.
    pub fn keep(mut self) {
        self.settings = None;
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let Some(settings) = &self.settings else { return };
        let fd = self.fd.as_fd().as_raw_fd();
        // SAFETY: TCSETS2 reads one termios2; TIOCNXCL takes nothing. A device that has gone refuses, which is no matter.
        unsafe {
            libc::ioctl(fd, libc::TIOCNXCL);
            libc::ioctl(fd, libc::TCSETS2, &settings.0);
        }
    }
}
