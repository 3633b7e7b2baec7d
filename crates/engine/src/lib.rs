//! The engine of Jackfield: framing, bounded queues, links, groups and the epoll reactor. No Python.
//!
//! | module | owns |
//! |---|---|
//! | [`frame`] | how a stream's bytes are divided into messages; pure |
//! | [`queue`] | what one link still has to send; pure |
//! | [`link`], `inbox`, `rare` | the data of one end of a conversation, what it has not claimed, and what few have |
//! | `host`, `counters` | what the owner provides; what passed through a link |
//! | [`reactor`], `events`, `deadlines` | the links, epoll, and the order in which things happen |
//! | [`clock`], `wait` | time that passes or steps, and waiting for it |
//! | [`busy_poll`] | whether to poll before sleeping; pure |
//! | [`blocking`] | one connected socket without a reactor, for callers that wait in system calls |
//! | `receive`, `transmit`, `writing`, `fault`, `lifecycle`, `handover`, `carry`, `supervise`, `reached`, `revive`, `explain`, [`group`], `broadcast` | the reactor's rules, one concern a file |
//! | `datagrams`, `departures`, `segments` | datagrams in batches: in, out, and runs of them |
//! | `files` | links over files: serial lines |
//! | `relayed` | links that carry a connection which is served elsewhere |
//! | [`native`] | native clients: recognised, counted, and switched from stream to stream |
//! | `pacing` | messages that silence divides |
//! | [`tls`] | TLS of one connection; pure |
//! | `sealing`, `handshaking`, `low_water` | encrypted links, how they come about, and when they are woken |
//! | [`sys`] | system calls; the only `unsafe` |
//!
//! The reactor is pulled: [`reactor::Reactor::wait`] looks at the kernel, [`reactor::Reactor::next_event`] says what
//! its owner asked to hear of, and messages are claimed one by one. It calls nobody back, so that its owner may do
//! anything between two calls.

mod accepting;
mod beside;
pub mod blocking;
mod broadcast;
pub mod busy_poll;
mod carry;
mod classes;
pub mod clock;
mod counters;
mod datagrams;
mod deadlines;
mod departures;
mod events;
mod evidence;
mod explain;
mod facts;
mod fault;
mod files;
pub mod frame;
pub mod group;
mod handover;
mod handshaking;
mod host;
mod inbox;
mod keepalive;
mod lifecycle;
pub mod link;
mod low_water;
pub mod native;
mod opening;
mod pacing;
pub mod queue;
mod rare;
mod rate;
mod reached;
pub mod reactor;
mod receive;
mod relayed;
mod revive;
mod sealing;
mod segments;
mod supervise;
pub mod sys;
pub mod tls;
mod transmit;
mod wait;
mod writing;

pub use beside::Urgent;
pub use carry::Carried;
pub use clock::Clock;
pub use counters::Counters;
pub use datagrams::Origin;
pub use evidence::Garbage;
pub use explain::Pulse;
pub use handover::{DetachError, Opened};
pub use handshaking::FailedHandshake;
pub use host::{Body, Host, Plain, PlainBody};
pub use lifecycle::Ending;
pub use link::{Config, Fault, Kind, LinkId, want};
pub use opening::{OpenOptions, SocketOption};
pub use queue::WhenFull;
pub use reached::Passed;
pub use reactor::{Event, Reactor, Side};
pub use receive::Take;
pub use relayed::Relayed;
pub use revive::Outage;
pub use supervise::{Loss, Silence, Stall};
pub use transmit::{Payload, Queued, SendError};
