//! How far what was queued has come: into this machine's kernel, or acknowledged by the peer's.
//!
//! A wait is for a position: so many bytes of the link must have left, or be acknowledged (SIOCOUTQ). The nearest position of
//! each kind stands in the link's watch; for acknowledgements it is looked at after a round trip, then ever more seldom.

use crate::host::Host;
use crate::link::{Kind, LinkId, want};
use crate::reactor::{Reactor, Side};
use crate::supervise::{FIRST_STEP_NS, IDLE_LOOK_NS, LONGEST_STEP_NS, unacknowledged};
use crate::sys::tcp_info::TcpInfo;

/// How far a link has come with what was queued at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Not yet.
    No,
    /// All of it.
    Yes,
    /// A connection was lost in the middle of it; the link goes on with another one.
    Lost,
}

impl<H: Host> Reactor<H> {
    /// Everything queued until now is at positions up to this one; see [`Reactor::passed`].
    pub fn queued_position(&self, id: LinkId) -> u64 {
        self.get(id).map_or(0, |link| link.position() + link.waiting().0 as u64)
    }

    /// Whether this kernel has taken what lies up to `position`, or the peer's kernel has acknowledged it.
    pub fn passed(&self, id: LinkId, position: u64, acknowledged: bool) -> Passed {
        let Some(link) = self.get(id) else { return Passed::No };
        let reached = link.position();
        // Messages that a policy dropped leave a gap.
        if let Some(passed) = link.rare.lasting.as_ref().and_then(|lasting| lasting.passed(position, acknowledged)) {
            return passed;
        }
        let position = position.min(reached + link.waiting().0 as u64);
        if acknowledged && link.kind == Kind::Tcp {
            let Some(fd) = link.borrow_fd() else { return Passed::No };
            let acknowledged = reached.saturating_sub(unacknowledged(link, fd) as u64);
            return if acknowledged >= position { Passed::Yes } else { Passed::No };
        }
        let empty = link.is_flushed() || !link.kind.is_packet();
        if reached >= position && empty { Passed::Yes } else { Passed::No }
    }

    /// The owner waits until [`Reactor::passed`] is true; [`crate::Event::Flushed`] tells.
    pub fn want_passed(&mut self, id: LinkId, position: u64, acknowledged: bool) {
        let now = self.clock.now();
        let Some(link) = self.get_mut(id) else { return };
        link.want |= want::PASSED;
        let rtt = link.borrow_fd().and_then(|fd| TcpInfo::of(fd).ok()).map_or(0, |info| info.rtt_us);
        let watch = link.watch.get_or_insert_default();
        let nearest = |mark: u64| if mark == 0 { position } else { mark.min(position) };
        if !acknowledged {
            watch.sent_mark = nearest(watch.sent_mark);
            return;
        }
        if watch.step == 0 {
            watch.step = (u64::from(rtt) * 1000).clamp(FIRST_STEP_NS, LONGEST_STEP_NS);
        }
        watch.mark = nearest(watch.mark);
        let at = now + watch.step;
        if watch.judge_at == 0 {
            // Nothing has left yet.
            watch.judge_at = now + IDLE_LOOK_NS;
            watch.since = now;
        }
        let before = self.get(id).map_or(0, |link| link.deadlines[Side::Watch as usize]);
        if before == 0 || at < before {
            self.set_deadline(id, Side::Watch, at);
        }
    }

    /// Whether the nearest of the waits of [`Reactor::want_passed`] is over.
    pub(crate) fn has_passed(&self, id: LinkId) -> bool {
        let Some(watch) = self.get(id).and_then(|link| link.watch.as_ref()) else { return true };
        let (mark, sent_mark) = (watch.mark, watch.sent_mark);
        (mark != 0 && self.passed(id, mark, true) != Passed::No)
            || (sent_mark != 0 && self.passed(id, sent_mark, false) != Passed::No)
    }

    /// Forgets these waits: whose are not over asks again.
    pub(crate) fn forget_passed(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        link.want &= !want::PASSED;
        if let Some(watch) = &mut link.watch {
            (watch.mark, watch.sent_mark, watch.step) = (0, 0, 0);
        }
    }
}
