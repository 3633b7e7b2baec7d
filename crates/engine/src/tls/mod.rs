//! TLS of one connection, without I/O: bytes from the socket in, plaintext and bytes for the socket out.
//!
//! rustls keeps the protocol; its crypto provider is ring. What stands here is what a transport needs around it: who is
//! trusted ([`trust`]), what a connection is opened with ([`terms`]), one connection's state ([`session`]), and words for
//! what went wrong ([`failure`]). A session lies between the socket and the framer, and between the queue and the
//! socket: see `handshaking` and `sealing` of the engine. An idle session has no buffer.

pub mod certificate;
pub mod failure;
pub mod session;
pub mod terms;
pub mod trust;

pub use certificate::{CertificateFacts, MadeCertificate};
pub use failure::Failure;
pub use session::{Agreed, Session};
pub use terms::{Terms, TermsError, TlsOptions, Verify};
