//! The reactor's wait: how long it may be, polling before sleeping, and time that steps instead of passing.

use crate::busy_poll::{BusyPoll, BusyPollStatistics, Spin};
use crate::clock::Clock;
use crate::host::Host;
use crate::link::flag;
use crate::reactor::Reactor;
use crate::sys::epoll::{Epoll, Report};
use crate::sys::{Errno, Result, monotonic_ns};

/// A deadline so far away is left to the timer. Nearer ones mostly pass, or are set anew before the timer would be worth it.
const FAR: u64 = 50_000_000;

impl<H: Host> Reactor<H> {
    /// Waits for news at most `timeout_ns` (`None` is for ever, less if a deadline is nearer) and files it.
    ///
    /// `release` wraps the wait itself when it may really wait, so that an owner can let go of locks meanwhile. Gives
    /// whether anything happened.
    ///
    /// On a stepped clock nothing waits: without news the clock steps to the next deadline, or to the end of the
    /// time-out. `EDEADLK` if there is neither, since then nothing can ever happen.
    pub fn wait(
        &mut self,
        timeout_ns: Option<u64>,
        release: impl FnOnce(&mut dyn FnMut() -> Result<usize>) -> Result<usize>,
    ) -> Result<bool> {
        let timeout_ns = self.bounded_timeout(timeout_ns);
        let (epoll, reports) = (&self.epoll, &mut self.reports);
        let count = if timeout_ns == Some(0) {
            epoll.wait(reports, timeout_ns)?
        } else if let Clock::Stepped(_) = self.clock {
            let count = epoll.wait(reports, Some(0))?;
            if count == 0 {
                self.clock.step_to(self.clock.now() + timeout_ns.ok_or(Errno(libc::EDEADLK))?);
            }
            count
        } else {
            let mut spinner = self.busy_poll.as_mut();
            release(&mut || match &mut spinner {
                Some(spinner) => poll_then_wait(spinner, epoll, reports, timeout_ns),
                None => epoll.wait(reports, timeout_ns),
            })?
        };
        self.now = self.clock.now();
        self.begin_switching();
        // Level-triggered: what was not taken since the last time is reported again.
        self.foreign.clear();
        for id in std::mem::take(&mut self.put_off) {
            if let Some(link) = self.get_mut(id) {
                link.set(flag::READABLE);
                self.notify(id);
            }
        }
        for index in 0..count {
            let Report { events, u64: token } = self.reports[index];
            self.file(token, events);
        }
        let expired = self.expire();
        Ok(count > 0 || expired)
    }

    /// The wait that deadlines and unfinished work allow. A deadline that is far is left to the timer, which is set once: to
    /// give the kernel a time-out costs every wait its setting and its cancelling, and a look at the clock.
    fn bounded_timeout(&mut self, timeout_ns: Option<u64>) -> Option<u64> {
        if self.is_busy() || self.is_dirty() {
            return Some(0);
        }
        if timeout_ns == Some(0) {
            return timeout_ns;
        }
        let Some(at) = self.next_deadline() else { return timeout_ns };
        let timed = matches!(self.clock, Clock::Kernel);
        if timed && self.timer_wakes_by(at) {
            return timeout_ns;
        }
        let left = at.saturating_sub(self.clock.now());
        if timed && left >= FAR && self.arm_timer().is_ok() {
            return timeout_ns;
        }
        Some(timeout_ns.map_or(left, |timeout| timeout.min(left)))
    }

    /// The clock, read now: what a deadline is counted from. Within a turn [`Reactor::now`] is cheaper.
    #[inline]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Polls for so long before each sleep as long as that pays (see `busy_poll`); `None` never.
    pub fn set_busy_poll(&mut self, limit_ns: Option<u64>) {
        self.busy_poll = limit_ns.filter(|limit| *limit > 0).map(BusyPoll::new);
    }

    /// What polling did so far and whether it pauses now; `None` if it is off.
    pub fn busy_poll(&self) -> Option<(BusyPollStatistics, bool)> {
        self.busy_poll.as_ref().map(|poll| (poll.statistics(), poll.is_paused(self.clock.now())))
    }
}

/// Polls as long as it pays, then sleeps for what is left of the time-out.
///
/// Between two polls the core is offered to whoever else is ready to run on it: a peer on the same core can answer.
fn poll_then_wait(
    spinner: &mut BusyPoll,
    epoll: &Epoll,
    reports: &mut [Report],
    timeout_ns: Option<u64>,
) -> Result<usize> {
    let begun = monotonic_ns();
    let budget = spinner.budget(begun);
    if budget == 0 {
        return epoll.wait(reports, timeout_ns);
    }
    let limit = timeout_ns.map_or(budget, |timeout| timeout.min(budget));
    let mut polls = 0;
    loop {
        let count = epoll.wait(reports, Some(0))?;
        let now = monotonic_ns();
        let spent = now - begun;
        if count > 0 {
            // What was there already needed no polling.
            if polls > 0 {
                spinner.ended(Spin::Hit, spent, now);
            }
            return Ok(count);
        }
        if spent >= limit {
            let how = if limit < budget { Spin::CutShort } else { Spin::Miss };
            spinner.ended(how, spent, now);
            let left = timeout_ns.map(|timeout| timeout.saturating_sub(spent));
            return if left == Some(0) { Ok(0) } else { epoll.wait(reports, left) };
        }
        polls += 1;
        std::thread::yield_now();
    }
}
