//! What goes with messages beside their bytes, and leaves with the first of them.

use super::OutQueue;
use std::os::fd::OwnedFd;

/// What goes with a message beside its bytes.
#[derive(Debug)]
pub enum Attachment {
    /// Open descriptors (unix(7), SCM_RIGHTS); closed here once they are sent or dropped.
    Descriptors(Vec<OwnedFd>),
    /// The message is one byte, and urgent (tcp(7), MSG_OOB).
    Urgent,
}

impl<L: AsRef<[u8]>> OutQueue<L> {
    /// Something goes with the message that was added last.
    pub fn attach(&mut self, attachment: Attachment) {
        self.attached.push_back((self.sizes.len().saturating_sub(1), attachment));
    }

    /// Whether something goes with any of the messages.
    #[inline]
    pub fn has_attachments(&self) -> bool {
        !self.attached.is_empty()
    }

    /// What must leave with the next byte, if anything.
    pub fn first_attachment(&self) -> Option<&Attachment> {
        self.attached.front().filter(|(ahead, _)| *ahead == 0).map(|(_, attachment)| attachment)
    }

    /// It has left.
    pub fn attachment_sent(&mut self) {
        self.attached.pop_front();
    }

    /// How many bytes can leave with one call: to the next message that something goes with; of such a message its own.
    pub fn departing(&self) -> usize {
        match self.attached.front() {
            None => usize::MAX,
            Some((0, _)) => self.first_size().unwrap_or(0),
            Some((ahead, _)) => self.sizes().take(*ahead).sum::<usize>() - self.begun,
        }
    }

    /// The oldest `count` messages are gone, and what goes with them.
    pub(super) fn forget_attachments(&mut self, count: usize) {
        self.attached.retain(|(ahead, _)| *ahead >= count);
        for (ahead, _) in &mut self.attached {
            *ahead -= count;
        }
    }
}
