//! The boundary between the engine and CPython: translates, decides nothing. Declared in `python/jackfield/_engine.pyi`.

mod beside;
mod blocking;
mod carry;
mod channel;
mod core;
mod datagram;
mod endpoint;
mod events;
mod factory;
mod gathering;
mod group;
mod link;
mod member;
mod operation;
mod pulse;
mod raw;
mod recycling;
mod revive;
mod switch;
mod tcp_info;
mod tls;
mod until;
mod waiters;

use pyo3::prelude::*;

/// The native part of Jackfield; use the `jackfield` package.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<endpoint::Reactor>()?;
    module.add_class::<endpoint::LinkConfig>()?;
    module.add_class::<tls::TlsTerms>()?;
    module.add_class::<tls::TlsSession>()?;
    module.add_class::<operation::Operation>()?;
    module.add_class::<channel::Channel>()?;
    module.add_class::<datagram::Endpoint>()?;
    module.add_class::<blocking::BlockingChannel>()?;
    module.add_class::<blocking::BlockingListener>()?;
    module.add_class::<group::Group>()?;
    module.add_class::<member::Member>()?;
    module.add_class::<events::Joined>()?;
    module.add_class::<events::Message>()?;
    module.add_class::<events::Left>()?;
    module.add_class::<events::AcceptFailed>()?;
    module.add_class::<switch::Recognised>()?;
    module.add_class::<switch::FellBehind>()?;
    module.add_class::<gathering::Published>()?;
    module.add_class::<switch::Switch>()?;
    module.add_class::<switch::Session>()?;
    module.add_class::<switch::Fan>()?;
    module.add_function(wrap_pyfunction!(factory::install_factories, module)?)?;
    module.add_function(wrap_pyfunction!(endpoint::check_framing, module)?)?;
    module.add_function(wrap_pyfunction!(endpoint::raise_open_files, module)?)?;
    module.add_function(wrap_pyfunction!(revive::make_lasting, module)?)?;
    module.add_function(wrap_pyfunction!(revive::is_down, module)?)?;
    module.add_function(wrap_pyfunction!(revive::outage, module)?)?;
    module.add_function(wrap_pyfunction!(revive::disown, module)?)?;
    module.add_function(wrap_pyfunction!(revive::graft, module)?)?;
    module.add_function(wrap_pyfunction!(revive::give_up, module)?)?;
    module.add_function(wrap_pyfunction!(revive::queued, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_of_channel, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_detach, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_of_link, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_handshake, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_admit, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_admit_singly, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_replace, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_handshakes_failed, module)?)?;
    module.add_function(wrap_pyfunction!(tls::tls_take_failed, module)?)?;
    module.add_function(wrap_pyfunction!(tls::make_certificate, module)?)?;
    module.add_function(wrap_pyfunction!(tls::certificate_of, module)?)?;
    raw::install_slots(module.py());
    Ok(())
}
