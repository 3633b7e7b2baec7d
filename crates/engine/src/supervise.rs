//! Whether the peer lives, and what became of the messages if it does not.
//!
//! Only links with data under way are looked at, and only they have a [`Watch`]: it begins with the first byte that
//! the kernel takes and ends when everything was acknowledged. Meanwhile one entry of the reactor's heap asks the
//! kernel (TCP_INFO, SIOCOUTQ) every eighth of `vanished_after`. A peer has vanished when nothing at all was heard of
//! it for that long, no acknowledgement has moved, and at least [`UNANSWERED`] retransmissions or window probes went
//! out meanwhile. One that lives and does not read answers these probes with its closed window, and so is
//! never taken for dead, however long it does not read (RFC 9293, 3.8.6.1).

use crate::host::Host;
use crate::link::{Fault, Kind, Link, LinkId, flag, want};
use crate::reactor::{Reactor, Side};
use crate::sealing::TLS_FAILED;
use crate::sys::tcp_info::TcpInfo;
use crate::sys::{Errno, socket};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

/// So many retransmissions or probes must have gone unanswered, whatever the time: on slow paths they take longer.
const UNANSWERED: u8 = 3;
/// The time between two looks at a link, as a part of `vanished_after`.
const LOOKS: u64 = 8;
const SHORTEST_LOOK_NS: u64 = 20_000_000;
/// How often a link is looked at that is not to be judged, to give its memory back.
pub(crate) const IDLE_LOOK_NS: u64 = 30_000_000_000;
/// The first look for an acknowledgement that is waited for, and the longest time between two.
pub(crate) const FIRST_STEP_NS: u64 = 200_000;
pub(crate) const LONGEST_STEP_NS: u64 = 100_000_000;
/// The kernel's longest time between two probes (linux/tcp.h since 6.15, TCP_RTO_MAX_MS), and its least value.
const TCP_RTO_MAX_MS: i32 = 44;
const SHORTEST_RTO_MAX_MS: u64 = 1000;
/// Runs of sizes that are kept before the acknowledged ones are looked for.
const RUNS: usize = 256;

/// The evidence that a peer has vanished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// What the kernel said, if it gave up first; else 0.
    pub errno: i32,
    /// How long nothing was heard of it.
    pub silent_ns: u64,
    /// Retransmissions and probes that it did not answer.
    pub unanswered: u32,
    /// Bytes that it did not acknowledge.
    pub unacknowledged: usize,
}

/// What became of the messages of a link that broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Messages of which no byte was handed to the kernel.
    pub unsent: usize,
    /// Messages that the kernel took, whole or in part, and that the peer's kernel did not acknowledge whole.
    pub unknown: usize,
}

/// Evidence that the peer lives and does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Since the kernel took something last.
    pub since_ns: u64,
    /// Bytes that wait, here and in the kernel.
    pub waiting: usize,
}

/// Data under way on one link.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Watch {
    /// The newest run of [`Watch::handed`]; of no messages if there is none. It stands here since one link of many that
    /// is sent a message now and then is not in the processor's caches: each place that is looked at costs.
    newest: (u32, u32),
    /// Sizes of the messages that the kernel took whole, the oldest first, as (size, how many in a row), but for the
    /// newest. The acknowledged ones among them are forgotten from time to time.
    handed: VecDeque<(u32, u32)>,
    /// From so many runs on the acknowledged ones are looked for.
    limit: usize,
    /// The position up to which the peer had acknowledged when that was looked at last ...
    acknowledged: u64,
    /// ... and since when it has stood there.
    pub since: u64,
    pub judge_at: u64,
    /// The position of the nearest wait for an acknowledgement, and the time between two looks for it; 0 for none.
    pub mark: u64,
    pub step: u64,
    /// Of the nearest wait for this kernel to take it; 0 for none.
    pub sent_mark: u64,
    /// The kernel's own longest time between two probes, if we have lowered it.
    rto_max_ms: Option<i32>,
    loss: Option<Loss>,
    /// At a close that ran out of time.
    pub stall: Option<Stall>,
}

impl Watch {
    #[inline]
    pub fn note(&mut self, size: u32) {
        let (last, count) = self.newest;
        if count > 0 && last == size && count < u32::MAX {
            self.newest.1 += 1;
            return;
        }
        if count > 0 {
            self.handed.push_back(self.newest);
        }
        self.newest = (size, 1);
    }

    /// The connection is gone, but not the waits for what was sent on it.
    pub fn reset(&mut self) {
        self.forget_all();
        (self.acknowledged, self.since, self.judge_at, self.step) = (0, 0, 0, 0);
        (self.rto_max_ms, self.stall, self.loss) = (None, None, None);
    }

    /// How many of the newest messages the last `bytes` bytes belong to, and how many runs of sizes that is.
    fn covering(&self, bytes: usize) -> (usize, usize) {
        let (mut left, mut messages, mut runs) = (bytes as u64, 0, 0);
        let newest = Some(&self.newest).filter(|(_, count)| *count > 0);
        for (size, count) in newest.into_iter().chain(self.handed.iter().rev()) {
            if left == 0 {
                break;
            }
            let need = left.div_ceil(u64::from((*size).max(1))).min(u64::from(*count));
            messages += need as usize;
            left = left.saturating_sub(need * u64::from(*size));
            runs += 1;
        }
        (messages, runs)
    }

    /// Forgets what lies before the last `bytes` bytes.
    fn forget_before(&mut self, bytes: usize) {
        let (_, runs) = self.covering(bytes);
        if runs == 0 {
            self.newest = (0, 0);
        }
        self.handed.drain(..self.handed.len() - runs.saturating_sub(1));
        self.limit = RUNS.max(2 * runs);
    }

    fn forget_all(&mut self) {
        (self.newest, self.handed) = Default::default();
    }
}

/// Bytes that the peer's kernel has not acknowledged: an end that was sent counts as one there.
pub(crate) fn unacknowledged<H: Host>(link: &Link<H>, fd: BorrowedFd<'_>) -> usize {
    // Of an encrypted link this is what the plaintext has become, and a little more.
    link.sealed() + socket::unacknowledged(fd).saturating_sub(usize::from(link.has(flag::END_SENT)))
}

/// What a failed call says of a connection: the kernel gave up because the peer did not answer, or something else.
pub(crate) fn lost<H: Host>(link: &Link<H>, error: Errno) -> Fault {
    if error == TLS_FAILED
        && let Some(failure) = link.tls.as_deref().and_then(|session| session.failure())
    {
        return Fault::Tls(Box::new(failure.clone()));
    }
    let silent = matches!(error.0, libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::EHOSTDOWN);
    if !silent || link.kind != Kind::Tcp || link.has(flag::CONNECTING) {
        return Fault::Lost(error);
    }
    let Some(fd) = link.borrow_fd() else { return Fault::Lost(error) };
    let info = TcpInfo::of(fd).unwrap_or_default();
    Fault::Vanished(silence_of(&info, unacknowledged(link, fd), error.0))
}

fn silence_of(info: &TcpInfo, unacknowledged: usize, errno: i32) -> Silence {
    let silent_ns = u64::from(info.silent_ms()) * 1_000_000;
    Silence { errno, silent_ns, unanswered: u32::from(info.retransmits.max(info.probes)), unacknowledged }
}

/// Whether the peer's window keeps everything back.
fn is_window_closed(info: &TcpInfo) -> bool {
    match info.send_window {
        Some(window) => info.not_sent.is_some_and(|bytes| bytes > 0) && window < info.send_mss.min(536),
        None => info.unacked == 0 && info.not_sent.is_some_and(|bytes| bytes > 0),
    }
}

impl<H: Host> Reactor<H> {
    /// The kernel took bytes of a TCP link.
    #[inline]
    pub(crate) fn supervise(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let begins = link.deadlines[Side::Watch as usize] == 0;
        let many = link.watch.as_ref().is_some_and(|watch| watch.handed.len() > watch.limit.max(RUNS));
        if begins || many {
            self.look_after(id, begins);
        }
    }

    #[cold]
    fn look_after(&mut self, id: LinkId, begins: bool) {
        let now = self.clock.now();
        let Some(link) = self.get_mut(id) else { return };
        let Some(fd) = link.borrow_fd() else { return };
        let left = unacknowledged(link, fd);
        let begun = link.out.as_ref().map_or(0, |queue| queue.begun());
        let (position, period) = (link.position(), link.look_ns());
        let watch = link.watch.get_or_insert_default();
        watch.forget_before(left.saturating_sub(begun));
        if begins {
            watch.since = now;
            watch.acknowledged = position.saturating_sub(left as u64);
            watch.judge_at = now + period;
            let first = if watch.mark == 0 { period } else { FIRST_STEP_NS };
            self.set_deadline(id, Side::Watch, now + first);
        }
    }

    /// The link's time to be looked at has come.
    pub(crate) fn watch_expired(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.get_mut(id) else { return };
        link.deadlines[Side::Watch as usize] = 0;
        if link.has(flag::GONE | flag::CONNECTING) || link.is_broken() {
            return;
        }
        let Some(fd) = link.borrow_fd() else { return };
        let all = link.sealed() + socket::unacknowledged(fd);
        let left = unacknowledged(link, fd);
        let (position, period, vanished_ns) = (link.position(), link.look_ns(), link.config.vanished_ns);
        let begun = link.out.as_ref().map_or(0, |queue| queue.begun());
        let waited_for = link.want & want::PASSED != 0;
        if all == 0 {
            self.unwatch_link(id);
            if waited_for {
                self.notify(id);
            }
            return;
        }
        let Some(watch) = &mut link.watch else { return };
        watch.forget_before(left.saturating_sub(begun));
        let acknowledged = position.saturating_sub(left as u64);
        if acknowledged != watch.acknowledged {
            (watch.acknowledged, watch.since) = (acknowledged, now);
        }
        let since = watch.since;
        let (told, stepping) = (watch.mark != 0 && acknowledged >= watch.mark, watch.mark != 0 && waited_for);
        if stepping {
            watch.step = (watch.step * 3 / 2).clamp(FIRST_STEP_NS, LONGEST_STEP_NS);
        }
        let mut judge_at = watch.judge_at;
        let step = if stepping && !told { watch.step } else { u64::MAX };
        if told && waited_for {
            self.notify(id);
        }
        if now >= judge_at {
            judge_at = now + period;
            if vanished_ns > 0 && since < now {
                judge_at = match self.judge(id, since) {
                    Some(at) => at,
                    None => return,
                };
            }
        }
        if let Some(watch) = self.get_mut(id).and_then(|link| link.watch.as_mut()) {
            watch.judge_at = judge_at;
        }
        self.set_deadline(id, Side::Watch, judge_at.min(now.saturating_add(step)));
    }

    /// Looks whether the peer, of which no acknowledgement has moved since then, is still heard. Gives when to look
    /// again; `None`: it has vanished, and the link is at fault.
    fn judge(&mut self, id: LinkId, since: u64) -> Option<u64> {
        let now = self.now;
        let link = self.get_mut(id)?;
        let (vanished_ns, period) = (link.config.vanished_ns, link.look_ns());
        let fd = link.borrow_fd()?;
        let info = TcpInfo::of(fd).ok()?;
        let mut silence = silence_of(&info, unacknowledged(link, fd), 0);
        silence.silent_ns = silence.silent_ns.min(now - since);
        if silence.silent_ns >= vanished_ns && silence.unanswered >= u32::from(UNANSWERED) {
            self.lose(id, Fault::Vanished(silence));
            return None;
        }
        if is_window_closed(&info) {
            self.probe_often(id);
        }
        let left = vanished_ns.saturating_sub(silence.silent_ns);
        Some(now + if left == 0 { period } else { left.min(period) }.max(SHORTEST_LOOK_NS))
    }

    /// A peer that does not read is probed at growing intervals, up to two minutes; if it vanished meanwhile, that
    /// would be found as late. Where the kernel lets us (6.15), the intervals stay short.
    fn probe_often(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let wanted = (link.config.vanished_ns / 4_000_000).max(SHORTEST_RTO_MAX_MS) as i32;
        if link.watch.as_ref().is_none_or(|watch| watch.rto_max_ms.is_some()) {
            return;
        }
        let Some(fd) = link.borrow_fd() else { return };
        let Ok(before) = socket::option(fd, libc::IPPROTO_TCP, TCP_RTO_MAX_MS) else { return };
        if before > wanted {
            let _ = socket::set_option(fd, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, wanted);
        }
        if let Some(watch) = &mut link.watch {
            watch.rto_max_ms = Some(before);
        }
    }

    /// The kernel is left as it was: it goes on delivering by its own rules, also after the socket is closed.
    pub(crate) fn probe_as_before(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let Some(before) = link.watch.as_mut().and_then(|watch| watch.rto_max_ms.take()) else { return };
        if let Some(fd) = link.borrow_fd() {
            let _ = socket::set_option(fd, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, before);
        }
    }

    /// Everything was acknowledged.
    fn unwatch_link(&mut self, id: LinkId) {
        self.probe_as_before(id);
        let Some(link) = self.get_mut(id) else { return };
        let Some(watch) = &mut link.watch else { return };
        if watch.loss.is_none() && link.want & want::PASSED == 0 {
            link.watch = None;
        } else {
            watch.forget_all();
        }
    }

    /// The connection broke while it was sent to or watched: what waits is counted and dropped.
    pub(crate) fn lose(&mut self, id: LinkId, fault: Fault) {
        let Some(link) = self.get_mut(id) else { return };
        let garbled = matches!(link.receive_fault(), Some(Fault::Frame(_)));
        let lasts = link.has(flag::LASTING) && !link.has(flag::CLOSING | flag::END_ASKED) && !garbled;
        if lasts {
            link.fail_sending(fault);
            return self.salvage(id);
        }
        self.count_loss(id);
        let Some(link) = self.get_mut(id) else { return };
        match fault {
            // Of a peer that has vanished nothing more will be heard.
            Fault::Vanished(Silence { errno: 0, .. }) => {
                if let Some(fd) = link.borrow_fd() {
                    // Once closed, the kernel need not go on sending to nobody.
                    let _ = socket::set_linger(fd, 0);
                }
                link.fail_receiving(fault);
            }
            fault => link.fail_sending(fault),
        }
        self.abandon_queue(id);
        self.notify(id);
        self.transmitted(id);
    }

    /// Counts what became of the messages, once.
    pub(crate) fn count_loss(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        if !matches!(link.kind, Kind::Tcp | Kind::UnixStream | Kind::Seqpacket | Kind::File)
            || link.watch.as_ref().is_some_and(|watch| watch.loss.is_some())
        {
            return;
        }
        let loss = link.loss();
        link.watch.get_or_insert_default().loss = Some(loss);
    }

    /// What became of the messages of a link that is at fault.
    pub fn loss(&self, id: LinkId) -> Option<Loss> {
        self.get(id)?.watch.as_ref()?.loss
    }

    /// Whether, and since when, the peer lives and does not read while something waits for it.
    pub fn stall(&self, id: LinkId) -> Option<Stall> {
        let link = self.get(id)?;
        let fd = link.borrow_fd()?;
        let queued = link.backlog();
        let waiting = match link.kind {
            Kind::Tcp => {
                let info = TcpInfo::of(fd).ok()?;
                if !is_window_closed(&info) || info.probes >= UNANSWERED || info.retransmits >= UNANSWERED {
                    return None;
                }
                queued + unacknowledged(link, fd)
            }
            Kind::UnixStream | Kind::Seqpacket | Kind::File if queued > 0 && !link.has(flag::WRITABLE) => queued,
            _ => return None,
        };
        Some(Stall { since_ns: self.clock.now().saturating_sub(link.counters.last_out), waiting })
    }

    /// Keeps the evidence beyond the end of the link.
    pub(crate) fn note_stall(&mut self, id: LinkId) {
        if let (Some(stall), Some(link)) = (self.stall(id), self.get_mut(id)) {
            link.watch.get_or_insert_default().stall = Some(stall);
        }
    }
}

impl<H: Host> Link<H> {
    /// How many bytes have gone: the kernel has taken them, or they were lost with an earlier connection.
    pub fn position(&self) -> u64 {
        self.counters.bytes_out + self.rare.lasting.as_ref().map_or(0, |lasting| lasting.skipped)
    }

    fn look_ns(&self) -> u64 {
        match self.config.vanished_ns {
            0 => IDLE_LOOK_NS,
            time => (time / LOOKS).max(SHORTEST_LOOK_NS),
        }
    }

    /// What would become of the messages if the connection broke now, or has just broken.
    pub fn loss(&self) -> Loss {
        let (messages, begun) = self.out.as_ref().map_or((0, 0), |queue| (queue.messages(), queue.begun()));
        let cut = usize::from(begun > 0);
        let handed = match (&self.watch, self.borrow_fd()) {
            (Some(watch), Some(fd)) if self.kind == Kind::Tcp => {
                watch.covering(unacknowledged(self, fd).saturating_sub(begun)).0
            }
            _ => 0,
        };
        Loss { unsent: messages - cut, unknown: handed + cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_run_together_and_are_found_from_the_newest() {
        let mut watch = Watch::default();
        for size in [10, 10, 10, 4, 4, 7] {
            watch.note(size);
        }
        assert_eq!((&*watch.handed.make_contiguous(), watch.newest), ([(10, 3), (4, 2)].as_slice(), (7, 1)));
        let expected = [(0, 0), (1, 1), (7, 1), (8, 2), (11, 2), (12, 3), (15, 3), (16, 4), (25, 4), (26, 5), (45, 6)];
        for (bytes, messages) in expected {
            assert_eq!(watch.covering(bytes).0, messages, "{bytes} bytes");
        }
        watch.forget_before(12);
        assert_eq!((&*watch.handed.make_contiguous(), watch.newest), ([(4, 2)].as_slice(), (7, 1)));
        watch.forget_before(3);
        assert_eq!((watch.handed.len(), watch.newest), (0, (7, 1)));
        watch.forget_before(0);
        assert_eq!((watch.handed.len(), watch.newest), (0, (0, 0)));
        watch.note(5);
        assert_eq!((watch.handed.len(), watch.newest), (0, (5, 1)));
    }

    #[test]
    fn a_window_is_closed_when_it_keeps_everything_back() {
        let open = TcpInfo { send_mss: 1000, not_sent: Some(10), send_window: Some(2000), ..TcpInfo::default() };
        let closed = TcpInfo { send_window: Some(0), ..open };
        let old = TcpInfo { send_window: None, ..open };
        assert!(!is_window_closed(&open) && is_window_closed(&closed) && is_window_closed(&old));
        assert!(!is_window_closed(&TcpInfo { unacked: 1, ..old }));
        assert!(!is_window_closed(&TcpInfo { not_sent: Some(0), ..closed }));
    }
}
