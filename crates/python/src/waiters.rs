//! Who waits on which link, and on which group.

use crate::core::Core;
use crate::operation::Operation;
use jackfield_engine::{LinkId, Side, want};
use pyo3::prelude::*;
use std::collections::VecDeque;

/// Who waits on one link, or one group.
#[derive(Default)]
pub struct Waiters {
    pub receive: Option<Py<Operation>>,
    pub send: Option<Box<Senders>>,
}

impl Waiters {
    /// Sets who waits for what arrives; false if somebody else does already.
    pub fn receive_with(&mut self, operation: Py<Operation>) -> bool {
        if self.receive.as_ref().is_some_and(|other| !other.is(&operation)) {
            return false;
        }
        self.receive = Some(operation);
        true
    }
}

/// Who waits to send or to have sent, in their order.
#[derive(Default)]
pub struct Senders {
    pub queue: VecDeque<Py<Operation>>,
    /// Who waits for what is queued already: later senders need not stand behind them.
    pub watchers: VecDeque<Py<Operation>>,
    /// The nearest deadline of them, or an earlier one; 0 for none.
    deadline: u64,
}

impl Senders {
    /// Everyone.
    pub fn into_all(self) -> impl Iterator<Item = Py<Operation>> {
        self.queue.into_iter().chain(self.watchers)
    }

    fn forget(&mut self, operation: &Py<Operation>) {
        self.queue.retain(|waiting| !waiting.is(operation));
        self.watchers.retain(|waiting| !waiting.is(operation));
    }
}

impl Core {
    /// Wakes all that wait to send or to have sent; those that still cannot wait again, in their order.
    pub fn wake_senders(&self, py: Python<'_>, id: LinkId, expired: bool) -> PyResult<()> {
        let senders = self.slot(id, |waiters| waiters.send.take());
        let Some(mut senders) = senders else { return Ok(()) };
        let now = self.reactor()?.now();
        while let Some(operation) = senders.queue.pop_front().or_else(|| senders.watchers.pop_front()) {
            let late = expired && operation.get().is_late(now);
            if let Err(error) = Operation::wake(py, operation, late) {
                self.slot(id, |waiters| {
                    // Those that were woken and wait again stand before those that were not.
                    let mut all = waiters.send.take().unwrap_or_default();
                    all.queue.append(&mut senders.queue);
                    all.watchers.append(&mut senders.watchers);
                    waiters.send = Some(all);
                });
                return Err(error);
            }
        }
        Ok(())
    }

    pub fn take_receiver(&self, id: LinkId) -> Option<Py<Operation>> {
        self.slot(id, |waiters| waiters.receive.take())
    }

    /// The waiters of a link.
    #[inline]
    pub fn slot<R>(&self, id: LinkId, with: impl FnOnce(&mut Waiters) -> R) -> R {
        with(slot_of(&mut self.waiters.borrow_mut(), id.index()))
    }

    /// The waiters of a group.
    pub fn group_slot<R>(&self, group: usize, with: impl FnOnce(&mut Waiters) -> R) -> R {
        with(slot_of(&mut self.group_waiters.borrow_mut(), group))
    }

    /// Whether somebody waits to send on the link already.
    #[inline]
    pub fn has_senders(&self, id: LinkId) -> bool {
        self.waiters.borrow().get(id.index()).is_some_and(|waiters| match &waiters.send {
            Some(senders) => !senders.queue.is_empty(),
            None => false,
        })
    }

    /// Adds who waits to send; the link's deadline is the nearest of all of them.
    pub fn add_sender(&self, id: LinkId, operation: Py<Operation>, wants: u8, deadline: u64) -> PyResult<()> {
        self.add_waiter(id, wants, deadline, |senders| senders.queue.push_back(operation))
    }

    /// Adds who waits for what is queued already.
    pub fn add_watcher(&self, id: LinkId, operation: Py<Operation>, wants: u8, deadline: u64) -> PyResult<()> {
        self.add_waiter(id, wants, deadline, |senders| senders.watchers.push_back(operation))
    }

    fn add_waiter(&self, id: LinkId, wants: u8, deadline: u64, add: impl FnOnce(&mut Senders)) -> PyResult<()> {
        let nearest = self.slot(id, |waiters| {
            let senders = waiters.send.get_or_insert_default();
            add(senders);
            if deadline != 0 && (senders.deadline == 0 || deadline < senders.deadline) {
                senders.deadline = deadline;
            }
            senders.deadline
        });
        let mut reactor = self.reactor()?;
        reactor.want(id, wants);
        if nearest != 0 {
            reactor.set_deadline(id, Side::Send, nearest);
        }
        Ok(())
    }

    /// Takes a sender or receiver off the lists, after a cancellation.
    pub fn forget(&self, id: LinkId, operation: &Py<Operation>) {
        let (receives, sends_left) = self.slot(id, |waiters| {
            let receives = waiters.receive.take_if(|waiting| waiting.is(operation)).is_some();
            let left = waiters.send.as_mut().map(|senders| {
                senders.forget(operation);
                senders.queue.len() + senders.watchers.len()
            });
            if left == Some(0) {
                waiters.send = None;
            }
            (receives, left)
        });
        if let Ok(mut reactor) = self.reactor.try_borrow_mut() {
            if receives {
                reactor.unwant(id, want::RECEIVE | want::CONNECT);
            }
            match sends_left {
                Some(0) => reactor.unwant(id, want::SEND | want::FLUSH | want::PASSED | want::URGENT),
                Some(_) => reactor.reconsider_room(id),
                None => {}
            }
        }
    }

    /// The same for a group.
    pub fn forget_in_group(&self, group: usize, operation: &Py<Operation>) {
        let read = self.group_slot(group, |waiters| {
            if let Some(senders) = &mut waiters.send {
                senders.queue.retain(|sender| !sender.is(operation));
            }
            waiters.receive.take_if(|reader| reader.is(operation)).is_some()
        });
        if read && let Ok(mut reactor) = self.reactor.try_borrow_mut() {
            reactor.group_unwant(group);
        }
    }
}

fn slot_of(table: &mut Vec<Waiters>, index: usize) -> &mut Waiters {
    if index >= table.len() {
        table.resize_with(index + 1, Waiters::default);
    }
    &mut table[index]
}
