//! Whether to poll for a while before sleeping; pure.
//!
//! Waking a core that sleeps takes tens of microseconds. Who polls instead has the news at once, and burns the core when none
//! come. So polling has to earn its keep:
//!
//! - A credit pays for it. A spin that found news (*hit*) earns two, one that found none in its time (*miss*) costs one: less
//!   than one hit in three, and the credit runs out.
//! - Without credit polling pauses, for 1 ms at first, then for twice as long each time, up to 1 s. After a pause it is tried
//!   again with a small credit. A full credit makes the next pause short again.
//! - A spin that a deadline ended says nothing about the peer and counts as neither.
//!
//! So what useless polling costs falls to four spins a second, and a peer that begins to answer quickly is noticed within one.

const FULL_CREDIT: u32 = 16;
const TRIAL_CREDIT: u32 = 4;
const HIT_EARNS: u32 = 2;
const SHORTEST_PAUSE_NS: u64 = 1_000_000;
const LONGEST_PAUSE_NS: u64 = 1_000_000_000;

/// How a spin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spin {
    /// News came.
    Hit,
    /// The whole time passed without any.
    Miss,
    /// A deadline came first.
    CutShort,
}

/// What polling did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusyPollStatistics {
    /// Waits that began with polling.
    pub spins: u64,
    /// Those in which news came.
    pub hits: u64,
    /// Nanoseconds spent polling.
    pub spent_ns: u64,
    /// How often polling was given up for a while.
    pub pauses: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct BusyPoll {
    limit_ns: u64,
    /// 0 only while `paused_until` is not 0.
    credit: u32,
    paused_until: u64,
    next_pause_ns: u64,
    statistics: BusyPollStatistics,
}

impl BusyPoll {
    /// Polls for `limit_ns` at most before each sleep.
    pub fn new(limit_ns: u64) -> BusyPoll {
        BusyPoll {
            limit_ns,
            credit: FULL_CREDIT,
            paused_until: 0,
            next_pause_ns: SHORTEST_PAUSE_NS,
            statistics: BusyPollStatistics::default(),
        }
    }

    /// How long to poll before the wait that begins at `now`; 0 for not at all.
    pub fn budget(&mut self, now: u64) -> u64 {
        if self.paused_until != 0 {
            if now < self.paused_until {
                return 0;
            }
            self.paused_until = 0;
            self.credit = TRIAL_CREDIT;
        }
        self.limit_ns
    }

    /// A spin of `spent_ns` ended at `now`.
    pub fn ended(&mut self, spin: Spin, spent_ns: u64, now: u64) {
        self.statistics.spins += 1;
        self.statistics.spent_ns += spent_ns;
        match spin {
            Spin::CutShort => {}
            Spin::Hit => {
                self.statistics.hits += 1;
                self.credit = (self.credit + HIT_EARNS).min(FULL_CREDIT);
                if self.credit == FULL_CREDIT {
                    self.next_pause_ns = SHORTEST_PAUSE_NS;
                }
            }
            Spin::Miss => {
                self.credit = self.credit.saturating_sub(1);
                if self.credit == 0 {
                    self.paused_until = now + self.next_pause_ns;
                    self.next_pause_ns = (2 * self.next_pause_ns).min(LONGEST_PAUSE_NS);
                    self.statistics.pauses += 1;
                }
            }
        }
    }

    /// Whether it is given up for now.
    pub fn is_paused(&self, now: u64) -> bool {
        now < self.paused_until
    }

    /// What it did so far.
    pub fn statistics(&self) -> BusyPollStatistics {
        self.statistics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 50_000;

    /// Waits one after the other on a clock of its own; `every` is the distance of the waits.
    struct Stepper {
        poll: BusyPoll,
        now: u64,
    }

    impl Stepper {
        fn new() -> Stepper {
            Stepper { poll: BusyPoll::new(LIMIT), now: 1 }
        }

        /// One wait whose news come after `after` nanoseconds; gives how it ended, or None without a spin.
        fn wait(&mut self, after: u64) -> Option<Spin> {
            let budget = self.poll.budget(self.now);
            let spin = if after < budget { Spin::Hit } else { Spin::Miss };
            let spent = after.min(budget);
            self.now += after;
            if budget == 0 {
                return None;
            }
            self.poll.ended(spin, spent, self.now);
            Some(spin)
        }

        fn spins(&mut self, waits: u32, after: u64) -> u32 {
            (0..waits).filter(|_| self.wait(after).is_some()).count() as u32
        }
    }

    #[test]
    fn quick_answers_are_polled_for_without_end() {
        let mut stepper = Stepper::new();
        assert_eq!(stepper.spins(100_000, 10_000), 100_000);
        let statistics = stepper.poll.statistics();
        assert_eq!((statistics.hits, statistics.pauses), (100_000, 0));
        assert_eq!(statistics.spent_ns, 100_000 * 10_000);
    }

    #[test]
    fn useless_polling_backs_off_to_four_spins_a_second() {
        let mut stepper = Stepper::new();
        assert_eq!(stepper.spins(FULL_CREDIT, 100_000), FULL_CREDIT);
        assert!(stepper.poll.is_paused(stepper.now));
        assert_eq!(stepper.wait(100_000), None);
        // Ten thousand waits a second: after some seconds hardly any spins.
        stepper.spins(50_000, 100_000);
        let spins = stepper.spins(100_000, 100_000);
        assert!((4..=10 * TRIAL_CREDIT + 4).contains(&spins), "{spins}");
        assert!(stepper.poll.statistics().hits == 0);
    }

    #[test]
    fn it_comes_back_within_a_second_when_answers_become_quick() {
        let mut stepper = Stepper::new();
        stepper.spins(100_000, 100_000);
        let from = stepper.now;
        while stepper.wait(10_000) != Some(Spin::Hit) {}
        assert!(stepper.now - from <= LONGEST_PAUSE_NS + 20_000, "{}", stepper.now - from);
        assert_eq!(stepper.spins(1_000, 10_000), 1_000);
        // A full credit has made the next pause short.
        stepper.spins(FULL_CREDIT, 100_000);
        assert!(stepper.poll.is_paused(stepper.now));
        assert!(!stepper.poll.is_paused(stepper.now + SHORTEST_PAUSE_NS));
    }

    #[test]
    fn one_hit_in_three_is_enough_and_one_in_four_is_not() {
        for (misses, goes_on) in [(2, true), (3, false)] {
            let mut stepper = Stepper::new();
            for _ in 0..100 {
                stepper.wait(10_000);
                stepper.spins(misses, 60_000);
            }
            assert_eq!(stepper.poll.statistics().pauses == 0, goes_on, "{misses}");
        }
    }

    #[test]
    fn what_a_deadline_ends_counts_as_neither() {
        let mut poll = BusyPoll::new(LIMIT);
        for now in 1..1_000 {
            assert_eq!(poll.budget(now), LIMIT);
            poll.ended(Spin::CutShort, 100, now);
        }
        let statistics = poll.statistics();
        assert_eq!((statistics.spins, statistics.hits, statistics.pauses), (999, 0, 0));
    }
}
