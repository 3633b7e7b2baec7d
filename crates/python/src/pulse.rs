//! A link at one moment, for the library to explain in a sentence.

use crate::core::SharedCore;
use crate::factory::{self, Facts};
use jackfield_engine::LinkId;
use pyo3::prelude::*;
use pyo3::types::PyDict;

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// What is known of the link, by name; `None` if there is no such link.
pub fn pulse<'py>(core: &SharedCore, py: Python<'py>, id: LinkId) -> PyResult<Option<Bound<'py, PyDict>>> {
    let reactor = core.reactor()?;
    let Some(pulse) = reactor.pulse(id) else { return Ok(None) };
    let error = pulse.fault.as_ref().map(|fault| Facts::fault(fault).of_link(&reactor, id));
    drop(reactor);
    let facts = PyDict::new(py);
    facts.set_item("queued_bytes", pulse.queued.0)?;
    facts.set_item("queued_messages", pulse.queued.1)?;
    facts.set_item("unacknowledged", pulse.unacknowledged)?;
    facts.set_item("unread", pulse.unread)?;
    facts.set_item("unclaimed", pulse.unclaimed)?;
    facts.set_item("is_received", pulse.is_received)?;
    facts.set_item("stalled", pulse.stall.map(|stall| seconds(stall.since_ns)))?;
    facts.set_item("silent", pulse.info.map(|info| f64::from(info.silent_ms()) / 1e3))?;
    facts.set_item("round_trip", pulse.info.map(|info| f64::from(info.rtt_us) / 1e6))?;
    facts.set_item("unanswered", pulse.info.map_or(0, |info| info.retransmits.max(info.probes)))?;
    facts.set_item("vanished_after", (pulse.vanished_ns > 0).then(|| seconds(pulse.vanished_ns)))?;
    facts.set_item("last_received", pulse.last.0.map(seconds))?;
    facts.set_item("last_sent", pulse.last.1.map(seconds))?;
    facts.set_item("broken_frames", pulse.broken_frames)?;
    facts.set_item("is_closing", pulse.is_closing)?;
    facts.set_item("has_ended", pulse.has_ended)?;
    facts.set_item("error", error.map(|facts| factory::error(py, facts).into_value(py)))?;
    Ok(Some(facts))
}
