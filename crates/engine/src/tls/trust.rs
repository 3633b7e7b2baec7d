//! Who is trusted: certificates that an authority signed, those with a fingerprint that is known, or everyone.

use super::certificate::{self, CertificateFacts};
use super::terms::Verify;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, OnceLock};

thread_local! {
    /// The certificate that a verifier of this thread refused last: errors of rustls do not hold it.
    static REFUSED: RefCell<Option<CertificateFacts>> = const { RefCell::new(None) };
}

/// The certificate that was refused in the call of rustls that has just failed.
pub(super) fn take_refused() -> Option<CertificateFacts> {
    REFUSED.take()
}

fn note_refused<T>(der: &CertificateDer<'_>, outcome: Result<T, Error>) -> Result<T, Error> {
    if outcome.is_err() {
        REFUSED.set(Some(CertificateFacts::of(der)));
    }
    outcome
}

/// The certificate's fingerprint is none of those that were pinned.
#[derive(Clone, Debug)]
pub struct PinMismatch {
    pins: Arc<[[u8; 32]]>,
}

impl PinMismatch {
    /// The pinned fingerprints as text.
    pub fn expected(&self) -> String {
        self.pins.iter().map(certificate::shown).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate has another fingerprint than the pinned one")
    }
}

impl std::error::Error for PinMismatch {}

fn check_pins(pins: &Arc<[[u8; 32]]>, der: &CertificateDer<'_>) -> Result<(), Error> {
    if pins.is_empty() || pins.contains(&certificate::digest(der)) {
        return Ok(());
    }
    let mismatch = PinMismatch { pins: pins.clone() };
    Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch)))))
}

/// The authorities that this machine trusts, read once.
pub fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    ROOTS.get_or_init(load).clone()
}

/// What both verifiers say of signatures: what the provider does. rustls asks for it in each trait of its own.
macro_rules! signatures_of_provider {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

/// How a client looks at its server's certificate.
#[derive(Debug)]
pub(super) struct OfServer {
    /// `None`: no authority is asked.
    chain: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
    pins: Arc<[[u8; 32]]>,
    provider: Arc<CryptoProvider>,
}

impl OfServer {
    /// A fingerprint says all that an authority could: with pins, and no authorities of the caller's own, none is asked.
    pub fn new(
        provider: &Arc<CryptoProvider>,
        roots: Option<RootCertStore>,
        verify: Verify,
        pins: Arc<[[u8; 32]]>,
    ) -> Result<OfServer, String> {
        let asked = verify != Verify::None && (pins.is_empty() || roots.is_some());
        let chain = if asked {
            let roots = roots.map_or_else(system_roots, Arc::new);
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            Some(built.map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(OfServer { chain, names: verify == Verify::Full, pins, provider: provider.clone() })
    }
}

impl ServerCertVerifier for OfServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let look = || {
            check_pins(&self.pins, end_entity)?;
            let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
            match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                // The name is looked at last, when all else is well.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) if !self.names => Ok(ServerCertVerified::assertion()),
                outcome => outcome,
            }
        };
        note_refused(end_entity, look())
    }

    signatures_of_provider!();
}

/// How a server looks at its clients' certificates.
#[derive(Debug)]
pub(super) struct OfClients {
    /// `None`: the fingerprint alone decides.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    required: bool,
    pins: Arc<[[u8; 32]]>,
    provider: Arc<CryptoProvider>,
}

impl OfClients {
    /// Clients must be signed by one of `roots`, have one of the `pins`, or both.
    pub fn new(
        provider: &Arc<CryptoProvider>,
        roots: Option<RootCertStore>,
        required: bool,
        pins: Arc<[[u8; 32]]>,
    ) -> Result<OfClients, String> {
        let chain = match roots {
            Some(roots) => {
                let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
                Some(built.map_err(|error| error.to_string())?)
            }
            None => None,
        };
        Ok(OfClients { chain, required, pins, provider: provider.clone() })
    }
}

impl ClientCertVerifier for OfClients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let look = || {
            check_pins(&self.pins, end_entity)?;
            match &self.chain {
                Some(chain) => chain.verify_client_cert(end_entity, intermediates, now),
                None => Ok(ClientCertVerified::assertion()),
            }
        };
        note_refused(end_entity, look())
    }

    signatures_of_provider!();
}
