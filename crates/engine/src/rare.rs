//! What only few links have. All others pay one word for all of it.

use crate::beside::Beside;
use crate::handshaking::FailedHandshake;
use crate::link::LinkId;
use crate::low_water::LowWater;
use crate::pacing::Pacing;
use crate::rate::Rate;
use crate::relayed::Relayed;
use crate::revive::Lasting;
use crate::sys::address::SocketAddress;
use crate::sys::file::Restore;
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::os::fd::OwnedFd;

/// The rare parts of a link: read as [`Parts`], of which a link without any has the empty one.
#[derive(Debug, Default)]
pub(crate) struct Rare(Option<Box<Parts>>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Parts {
    pub listener: Option<Box<ListenerPart>>,
    /// Of links that descriptors or urgent data came to.
    pub beside: Option<Box<Beside>>,
    /// Of links that outlive their connections.
    pub lasting: Option<Box<Lasting>>,
    /// Of encrypted links, from the first large message on.
    pub low_water: Option<Box<LowWater>>,
    /// Of streams whose messages end with silence.
    pub pacing: Option<Box<Pacing>>,
    /// Of links that carry a connection which is served elsewhere.
    pub relayed: Option<Box<Relayed>>,
    /// Of serial lines: their settings as they were.
    pub restore: Option<Box<Restore>>,
}

const EMPTY: Parts =
    Parts { listener: None, beside: None, lasting: None, low_water: None, pacing: None, relayed: None, restore: None };

impl Deref for Rare {
    type Target = Parts;

    #[inline]
    fn deref(&self) -> &Parts {
        self.0.as_deref().unwrap_or(&EMPTY)
    }
}

impl Rare {
    /// The parts, if there are any.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut Parts> {
        self.0.as_deref_mut()
    }

    /// The parts, to put one there.
    pub fn make(&mut self) -> &mut Parts {
        self.0.get_or_insert_with(|| Box::new(EMPTY))
    }

    /// Lets go of some part, if there is any.
    pub fn forget(&mut self, part: impl FnOnce(&mut Parts)) {
        if let Some(parts) = &mut self.0 {
            part(parts);
        }
    }

    #[inline]
    pub fn listener_mut(&mut self) -> Option<&mut ListenerPart> {
        self.0.as_mut()?.listener.as_deref_mut()
    }

    #[inline]
    pub fn beside_mut(&mut self) -> Option<&mut Beside> {
        self.0.as_mut()?.beside.as_deref_mut()
    }

    #[inline]
    pub fn lasting_mut(&mut self) -> Option<&mut Lasting> {
        self.0.as_mut()?.lasting.as_deref_mut()
    }

    #[inline]
    pub fn low_water_mut(&mut self) -> Option<&mut LowWater> {
        self.0.as_mut()?.low_water.as_deref_mut()
    }

    #[inline]
    pub fn pacing_mut(&mut self) -> Option<&mut Pacing> {
        self.0.as_mut()?.pacing.as_deref_mut()
    }
}

/// What only listeners have.
#[derive(Debug, Default)]
pub(crate) struct ListenerPart {
    pub clients: usize,
    pub refused: u64,
    /// A descriptor kept back, so that even without any other a connection can be taken and refused.
    pub reserve: Option<OwnedFd>,
    pub peers: HashMap<SocketAddress, LinkId>,
    /// Datagram peers, and encrypted connections, that nobody has accepted yet.
    pub newcomers: VecDeque<LinkId>,
    /// Datagram peers whose sends the full socket buffer holds up.
    pub blocked: Vec<LinkId>,
    /// Newcomers whose handshakes began, the oldest first; of some it is over.
    pub handshaking: VecDeque<LinkId>,
    /// How many of these handshakes are not over.
    pub unfinished: usize,
    /// Who began handshakes how often.
    pub shaken: Rate,
    /// Newcomers are taken one by one, when the owner says so.
    pub on_request: bool,
    /// Handshakes that failed: how many, and those that the owner has not asked for.
    pub handshakes_failed: u64,
    pub failed: VecDeque<FailedHandshake>,
}
