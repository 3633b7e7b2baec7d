//! Connections that go on in another process, as tuples for the library.

use crate::core::{SharedCore, os_error};
use crate::factory::{self, Facts};
use crate::raw;
use jackfield_engine::sys::Errno;
use jackfield_engine::{Carried, Counters, LinkId};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::IntoRawFd;

/// `(peer, received, queued, begun, since, passed)`, as `Given` without the descriptor.
pub type Parts<'py> = (Bound<'py, PyAny>, Vec<Vec<u8>>, Vec<Vec<u8>>, usize, u64, Passed);

/// `(descriptor or None, peer, received, queued, begun, since, passed)`.
pub type Given<'py> =
    (Option<i32>, Bound<'py, PyAny>, Vec<Bound<'py, PyBytes>>, Vec<Bound<'py, PyBytes>>, usize, u64, Passed);

/// Counters: bytes in and out, messages in and out, dropped on the way out and in, broken ones, last in and out.
type Passed = (u64, u64, u64, u64, u32, u32, u32, u64, u64);

/// Takes a member out of its group; its descriptor is the caller's then. Raises ChannelBusy, ChannelClosed, NotSupported.
pub fn hand_over<'py>(py: Python<'py>, core: &SharedCore, group: usize, id: LinkId) -> PyResult<Given<'py>> {
    let mut reactor = core.reactor()?;
    if !reactor.is_member(group, id) {
        drop(reactor);
        return Err(factory::error(py, Facts::closed().operation("detach")));
    }
    let carried = match reactor.hand_over(id) {
        Ok(carried) => carried,
        Err(error) => {
            let facts = Facts::detach_error(&error).of_link(&reactor, id).operation("detach");
            drop(reactor);
            return Err(factory::error(py, facts));
        }
    };
    drop(reactor);
    core.touched(py)?;
    let all = |parts: &[Vec<u8>]| parts.iter().map(|part| PyBytes::new(py, part)).collect();
    let counters = carried.counters;
    let passed = (
        counters.bytes_in,
        counters.bytes_out,
        counters.messages_in,
        counters.messages_out,
        counters.dropped_out,
        counters.dropped_in,
        counters.broken_in,
        counters.last_in,
        counters.last_out,
    );
    Ok((
        carried.fd.map(IntoRawFd::into_raw_fd),
        factory::raw_address(py, &carried.peer)?,
        all(&carried.received),
        all(&carried.queued),
        carried.begun,
        carried.since,
        passed,
    ))
}

/// Goes on with a connection as if the listener had accepted it, as the member of that number (0: the next one). Raises
/// OSError, and then the descriptor stays the caller's: EINVAL for a wrong kind, EEXIST for a number or a peer that is
/// there already.
pub fn take_in(
    core: &SharedCore,
    listener: LinkId,
    fd: Option<i32>,
    parts: Parts<'_>,
    (group, number): (usize, u64),
) -> PyResult<LinkId> {
    let (peer, received, queued, begun, since, passed) = parts;
    let (bytes_in, bytes_out, messages_in, messages_out, dropped_out, dropped_in, broken_in, last_in, last_out) =
        passed;
    let counters = Counters {
        bytes_in,
        bytes_out,
        messages_in,
        messages_out,
        dropped_out,
        dropped_in,
        broken_in,
        last_in,
        last_out,
        kernel_dropped: 0,
    };
    let peer = factory::socket_address(&peer)?;
    let mut reactor = core.reactor()?;
    if number != 0 && reactor.member_numbered(group, number).is_some() {
        return Err(os_error(Errno(libc::EEXIST)));
    }
    let fd = match fd.map(raw::own_descriptor) {
        Some(None) => return Err(os_error(Errno(libc::EBADF))),
        owned => owned.flatten(),
    };
    let carried = Carried { fd, peer, received, queued, begun, counters, since };
    match reactor.take_in(listener, carried) {
        Ok(id) => {
            reactor.join_as(group, id, (number != 0).then_some(number));
            Ok(id)
        }
        Err((error, back)) => {
            let _ = back.and_then(|carried| carried.fd).map(IntoRawFd::into_raw_fd);
            Err(os_error(error))
        }
    }
}
