//! TLS for Python: what connections are opened with, what was agreed on, and certificates.

use crate::channel::Channel;
use crate::core::os_error;
use crate::endpoint::Reactor;
use crate::factory::{self, Facts};
use crate::raw::{self, GilCell, Shared};
use jackfield_engine::tls::certificate::{self, Wanted};
use jackfield_engine::tls::{Agreed, CertificateFacts, Failure, Session, Terms, TlsOptions, Verify};
use jackfield_engine::{FailedHandshake, LinkId};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::rc::Rc;

/// What TLS connections are opened with; shared by reference.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct TlsTerms {
    terms: Shared<Rc<Terms>>,
}

impl TlsTerms {
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    pub fn shared(&self) -> Rc<Terms> {
        Rc::clone(&self.terms)
    }
}

#[pymethods]
impl TlsTerms {
    /// Raises ValueError with the option and what is wrong with it.
    #[new]
    #[pyo3(signature = (*, listening, cert, key, ca, pins, verify, server_name, alpn, only_tls13, handshake_timeout, handshake_rate))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only, called by one place in the library")]
    fn new(
        listening: bool,
        cert: Option<Vec<u8>>,
        key: Option<Vec<u8>>,
        ca: Option<Vec<u8>>,
        pins: Vec<[u8; 32]>,
        verify: &str,
        server_name: &str,
        alpn: Vec<String>,
        only_tls13: bool,
        handshake_timeout: Option<f64>,
        handshake_rate: Option<f64>,
    ) -> PyResult<TlsTerms> {
        let options = TlsOptions {
            certificate: cert.as_deref(),
            key: key.as_deref(),
            authorities: ca.as_deref(),
            pins,
            verify: match verify {
                "full" => Verify::Full,
                "chain" => Verify::Chain,
                "optional" => Verify::Optional,
                "none" => Verify::None,
                _ => return Err(PyValueError::new_err(("verify", "it is none of its words"))),
            },
            server_name,
            alpn: alpn.into_iter().map(String::into_bytes).collect(),
            only_tls13,
            handshake_ns: handshake_timeout.map_or(0, |seconds| (seconds.clamp(0.0, 1e9) * 1e9) as u64),
            handshake_interval_ns: handshake_rate.map_or(0, |rate| (1e9 / rate.clamp(1e-6, 1e9)) as u64),
        };
        let terms = if listening { Terms::server(&options) } else { Terms::client(&options) };
        let terms = terms.map_err(|error| PyValueError::new_err((error.option, error.said)))?;
        Ok(TlsTerms { terms: Shared::new(Rc::new(terms)) })
    }
}

/// The keys and the state of one connection, on their way from a loop to a blocking channel.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct TlsSession {
    session: GilCell<Option<Box<Session>>>,
}

impl TlsSession {
    pub fn new(session: Box<Session>) -> TlsSession {
        TlsSession { session: GilCell::new(Some(session)) }
    }

    /// What it holds, once.
    pub fn take(&self) -> Option<Session> {
        self.session.borrow_mut().take().map(|session| *session)
    }
}

/// A failure as keyword facts: `cause`, `said`, `in_handshake`, `beginning`, and what else is known.
pub fn failure_facts<'py>(py: Python<'py>, failure: &Failure) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    for (name, value) in &failure.facts {
        facts.set_item(name, value)?;
    }
    facts.set_item("cause", failure.cause)?;
    facts.set_item("said", &failure.said)?;
    facts.set_item("in_handshake", failure.in_handshake)?;
    facts.set_item("beginning", PyBytes::new(py, &failure.beginning))?;
    Ok(facts)
}

fn certificate_facts<'py>(py: Python<'py>, found: &CertificateFacts) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("subject", &found.subject)?;
    facts.set_item("common_name", &found.common_name)?;
    facts.set_item("issuer", &found.issuer)?;
    facts.set_item("names", &found.names)?;
    facts.set_item("fingerprint", &found.fingerprint)?;
    facts.set_item("not_before", found.not_before)?;
    facts.set_item("not_after", found.not_after)?;
    Ok(facts)
}

/// What was agreed on; None without TLS.
pub fn session_facts<'py>(py: Python<'py>, session: Option<&Session>) -> PyResult<Option<Bound<'py, PyDict>>> {
    agreed_facts(py, session.and_then(|session| Some((session.agreed()?, session.peer_certificate()))))
}

/// The same, of what a session has told, with what the other end's certificate says.
pub fn agreed_facts(
    py: Python<'_>,
    found: Option<(Agreed, Option<CertificateFacts>)>,
) -> PyResult<Option<Bound<'_, PyDict>>> {
    let Some((agreed, peer)) = found else { return Ok(None) };
    let facts = PyDict::new(py);
    facts.set_item("version", agreed.version)?;
    facts.set_item("cipher", agreed.cipher)?;
    facts.set_item("alpn", agreed.alpn.map(|name| String::from_utf8_lossy(&name).into_owned()))?;
    facts.set_item("peer", peer.map(|peer| certificate_facts(py, &peer)).transpose()?)?;
    facts.set_item("certificate", agreed.certificate.map(|der| PyBytes::new(py, &der)))?;
    Ok(Some(facts))
}

/// A failed handshake of a listener's newcomer: the peer's address and the facts.
pub fn failed_facts<'py>(py: Python<'py>, failed: &FailedHandshake) -> PyResult<(Py<PyAny>, Bound<'py, PyDict>)> {
    Ok((factory::address(py, "tls", &failed.peer)?, failure_facts(py, &failed.failure)?))
}

/// What a channel's ends agreed on; None without TLS, and once the channel is gone.
#[pyfunction]
pub fn tls_of_channel<'py>(py: Python<'py>, channel: &Bound<'py, Channel>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let (core, id) = channel.get().link();
    session_facts(py, core.reactor()?.tls(id))
}

/// Takes the connection and its TLS out of a channel, which is closed then: the descriptor and the session.
#[pyfunction]
pub fn tls_detach(py: Python<'_>, channel: &Bound<'_, Channel>) -> PyResult<(i32, Option<TlsSession>)> {
    let (core, id) = channel.get().link();
    let mut reactor = core.reactor()?;
    match reactor.detach_sealed(id) {
        Ok((fd, session)) => {
            drop(reactor);
            core.touched(py)?;
            Ok((raw::give_descriptor(fd), session.map(TlsSession::new)))
        }
        Err(error) => {
            let facts = Facts::detach_error(&error).of_link(&reactor, id).operation("detach");
            drop(reactor);
            Err(factory::error(py, facts))
        }
    }
}

/// The same, of any link of a reactor.
#[pyfunction]
pub fn tls_of_link<'py>(py: Python<'py>, reactor: &Reactor, id: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
    session_facts(py, reactor.core().reactor()?.tls(LinkId(id)))
}

/// How a connecting link's handshake stands: whether the peer has spoken TLS; None when there is none under way.
#[pyfunction]
pub fn tls_handshake(reactor: &Reactor, id: u64) -> PyResult<Option<bool>> {
    Ok(reactor.core().reactor()?.handshake(LinkId(id)))
}

/// A listener accepts with other terms from now on. False if it is not encrypted.
#[pyfunction]
pub fn tls_replace(reactor: &Reactor, id: u64, terms: &TlsTerms) -> PyResult<bool> {
    Ok(reactor.core().reactor()?.replace_terms(LinkId(id), &terms.terms))
}

/// From now on newcomers of an encrypted listener are taken by `tls_admit` alone: its socket is shared.
#[pyfunction]
pub fn tls_admit_singly(reactor: &Reactor, id: u64) -> PyResult<()> {
    reactor.core().reactor()?.admit_singly(LinkId(id));
    Ok(())
}

/// Takes one newcomer, whose handshake begins; whether there was one. Raises OSError.
#[pyfunction]
pub fn tls_admit(py: Python<'_>, reactor: &Reactor, id: u64) -> PyResult<bool> {
    let taken = reactor.core().reactor()?.admit(LinkId(id)).map_err(os_error)?;
    reactor.core().touched(py)?;
    Ok(taken)
}

/// How many handshakes of a listener's newcomers have failed.
#[pyfunction]
pub fn tls_handshakes_failed(reactor: &Reactor, id: u64) -> PyResult<u64> {
    Ok(reactor.core().reactor()?.handshakes_failed(LinkId(id)))
}

/// The oldest failed handshake that nobody has asked for: the peer's address and the facts.
#[pyfunction]
pub fn tls_take_failed<'py>(
    py: Python<'py>,
    reactor: &Reactor,
    id: u64,
) -> PyResult<Option<(Py<PyAny>, Bound<'py, PyDict>)>> {
    let failed = reactor.core().reactor()?.take_failed_handshake(LinkId(id));
    failed.map(|failed| failed_facts(py, &failed)).transpose()
}

/// Makes a certificate: `(certificate, key, fingerprint)`, as PEM. Raises ValueError.
#[pyfunction]
#[pyo3(signature = (names, *, subject, not_before, not_after, authority, signer, serial))]
pub fn make_certificate(
    names: Vec<String>,
    subject: &str,
    not_before: i64,
    not_after: i64,
    authority: bool,
    signer: Option<(String, String)>,
    serial: Vec<u8>,
) -> PyResult<(String, String, String)> {
    let signer = signer.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
    let wanted = Wanted { names: &names, subject, not_before, not_after, authority, signer, serial: &serial };
    let made = certificate::make(&wanted).map_err(PyValueError::new_err)?;
    Ok((made.certificate, made.key, made.fingerprint))
}

/// What a certificate in DER form says.
#[pyfunction]
pub fn certificate_of<'py>(py: Python<'py>, der: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    certificate_facts(py, &CertificateFacts::of(der))
}
