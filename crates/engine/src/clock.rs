//! Where a reactor's time comes from: the kernel, or a clock that steps.

use crate::sys::monotonic_ns;

/// What a stepped clock shows at its begin; 0 would mean "no deadline" and "never".
const BEGIN_NS: u64 = 1_000_000_000;

/// The clock that every deadline of a reactor follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// CLOCK_MONOTONIC.
    Kernel,
    /// So many nanoseconds since its begin. It stands still, but for [`Clock::step_to`]: [`crate::Reactor::wait`] steps to
    /// the next deadline when nothing happens before.
    Stepped(u64),
}

impl Clock {
    /// Nanoseconds that only grow; never 0.
    #[inline]
    pub fn now(self) -> u64 {
        match self {
            Clock::Kernel => monotonic_ns(),
            Clock::Stepped(elapsed) => BEGIN_NS + elapsed,
        }
    }

    /// What users read as the time, in nanoseconds: a stepped clock begins with 0.
    pub fn shown(self) -> u64 {
        match self {
            Clock::Kernel => monotonic_ns(),
            Clock::Stepped(elapsed) => elapsed,
        }
    }

    /// The time so many seconds from now, rounded up; 0 for none.
    pub fn after(self, seconds: Option<f64>) -> u64 {
        seconds.map_or(0, |seconds| self.now() + (seconds.clamp(0.0, 1e9) * 1e9).ceil() as u64)
    }

    /// Goes on to `at` (of [`Clock::now`]), never back. The kernel's clock goes by itself.
    pub fn step_to(&mut self, at: u64) {
        if let Clock::Stepped(elapsed) = self {
            *elapsed = (*elapsed).max(at.saturating_sub(BEGIN_NS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepped_clock_stands_still_and_never_goes_back() {
        let mut clock = Clock::Stepped(0);
        let begin = clock.now();
        assert!(begin > 0 && clock.now() == begin);
        assert_eq!(clock.shown(), 0);
        clock.step_to(begin + 5);
        assert_eq!((clock.now(), clock.shown()), (begin + 5, 5));
        clock.step_to(begin);
        assert_eq!(clock.shown(), 5);
    }

    #[test]
    fn the_kernels_clock_cannot_be_stepped() {
        let mut clock = Clock::Kernel;
        let before = clock.now();
        clock.step_to(u64::MAX);
        assert!((before..u64::MAX / 2).contains(&clock.now()));
    }
}
