//! Why TLS failed: a cause word, and the facts that a sentence can be made of.

use super::certificate::CertificateFacts;
use super::trust::PinMismatch;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// How many of the first bytes are kept of what was no TLS.
const SHOWN: usize = 64;

/// See the module. The words of causes are those of the library's `Cause`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in a word.
    pub cause: &'static str,
    /// What rustls says of it.
    pub said: String,
    /// Numbers and names behind it.
    pub facts: Vec<(&'static str, String)>,
    /// The first bytes that came, when they were no TLS.
    pub beginning: Vec<u8>,
    /// It happened before the handshake was done.
    pub in_handshake: bool,
}

impl Failure {
    /// A failure without facts.
    pub fn new(cause: &'static str, said: &str) -> Failure {
        Failure { cause, said: said.to_owned(), facts: Vec::new(), beginning: Vec::new(), in_handshake: false }
    }

    /// What rustls found wrong. `refused` is the certificate that was looked at last, `beginning` what came first if
    /// nothing before it was TLS.
    pub fn of(error: &Error, refused: Option<&CertificateFacts>, beginning: Option<&[u8]>) -> Failure {
        let mut failure = Failure::new(cause_of(error, beginning.is_some()), &error.to_string());
        match error {
            Error::InvalidCertificate(problem) => failure.add_certificate(problem, refused),
            Error::AlertReceived(alert) => {
                failure.facts.push(("alert", alert.as_str().unwrap_or("unknown").to_owned()));
            }
            _ => {}
        }
        if failure.cause == "not_tls"
            && let Some(bytes) = beginning
        {
            failure.beginning = bytes[..bytes.len().min(SHOWN)].to_vec();
        }
        failure
    }

    fn add_certificate(&mut self, problem: &CertificateError, refused: Option<&CertificateFacts>) {
        match problem {
            CertificateError::NotValidForNameContext { expected, .. } => {
                self.facts.push(("expected", expected.to_str().into_owned()));
            }
            CertificateError::Other(other) => {
                if let Some(mismatch) = other.0.downcast_ref::<PinMismatch>() {
                    self.facts.push(("expected", mismatch.expected()));
                }
            }
            _ => {}
        }
        if let Some(facts) = refused {
            self.facts.push(("fingerprint", facts.fingerprint.clone()));
            self.facts.push(("subject", facts.subject.clone()));
            self.facts.push(("issuer", facts.issuer.clone()));
            self.facts.push(("names", facts.names.join(", ")));
            self.facts.push(("not_before", facts.not_before.to_string()));
            self.facts.push(("not_after", facts.not_after.to_string()));
        }
    }
}

fn cause_of(error: &Error, first: bool) -> &'static str {
    match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate_not_yet_valid",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "wrong_name",
            CertificateError::UnknownIssuer => "unknown_issuer",
            CertificateError::Other(other) if other.0.is::<PinMismatch>() => "pin_mismatch",
            _ => "bad_certificate",
        },
        Error::NoCertificatesPresented => "certificate_required",
        Error::NoApplicationProtocol => "no_shared_alpn",
        Error::PeerIncompatible(problem) => incompatible(problem),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord | Error::DecryptError if first => "not_tls",
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord | Error::DecryptError => "damaged_record",
        _ => "tls_protocol",
    }
}

fn incompatible(problem: &PeerIncompatible) -> &'static str {
    match problem {
        PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon => "no_shared_cipher",
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        // Clients of TLS 1.1 and before have no such extension, and rustls looks for it first.
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => "no_shared_version",
        _ => "no_shared_cipher",
    }
}

/// What the peer's alert says of us.
fn alerted(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::ProtocolVersion => "no_shared_version",
        AlertDescription::NoApplicationProtocol => "no_shared_alpn",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => "no_shared_cipher",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => "certificate_refused",
        AlertDescription::UnrecognisedName => "wrong_name",
        _ => "refused_by_peer",
    }
}
