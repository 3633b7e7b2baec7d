//! Certificates: what one says, and making one.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a certificate says. Its texts are the peer's: they can hold anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it is for, as a distinguished name.
    pub subject: String,
    /// The name in its subject; empty without one, and where there are several.
    pub common_name: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// SHA-256 of all of it: `sha256:` and hexadecimal digits.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl CertificateFacts {
    /// What the certificate in DER form says; of one that cannot be read only the fingerprint.
    pub fn of(der: &[u8]) -> CertificateFacts {
        let fingerprint = fingerprint(der);
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return CertificateFacts { fingerprint, ..CertificateFacts::default() };
        };
        let names = match certificate.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(name_of).collect(),
            _ => Vec::new(),
        };
        CertificateFacts {
            subject: certificate.subject().to_string(),
            common_name: common_name(&certificate).unwrap_or_default(),
            issuer: certificate.issuer().to_string(),
            names,
            fingerprint,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        }
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then(|| name.to_owned())
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// SHA-256 of a certificate in DER form.
pub fn digest(der: &[u8]) -> [u8; 32] {
    let provider = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let rustls::SupportedCipherSuite::Tls13(suite) = provider else { return [0; 32] };
    let mut out = [0; 32];
    out.copy_from_slice(suite.common.hash_provider.hash(der).as_ref());
    out
}

/// The same as text: `sha256:` and hexadecimal digits.
pub fn fingerprint(der: &[u8]) -> String {
    shown(&digest(der))
}

/// A digest as text.
pub fn shown(digest: &[u8; 32]) -> String {
    let mut text = String::from("sha256:");
    for byte in digest {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A certificate, its private key, and what an authority that signed it is.
#[derive(Clone, Debug)]
pub struct MadeCertificate {
    /// The certificate as PEM.
    pub certificate: String,
    /// Its private key as PEM (PKCS #8).
    pub key: String,
    /// See [`fingerprint`].
    pub fingerprint: String,
}

/// What is asked of [`make`].
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Host names and addresses.
    pub names: &'a [String],
    /// The common name of its subject.
    pub subject: &'a str,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// It may sign others.
    pub authority: bool,
    /// Certificate and key (PEM) of who signs it; `None`: it signs itself.
    pub signer: Option<(&'a str, &'a str)>,
    /// At least 16 random bytes.
    pub serial: &'a [u8],
}

/// Makes a certificate with a new key (ECDSA on P-256).
pub fn make(wanted: &Wanted<'_>) -> Result<MadeCertificate, String> {
    let said = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::default();
    for name in wanted.names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into().map_err(said)?),
        });
    }
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, wanted.subject);
    params.distinguished_name = subject;
    params.not_before = time_of(wanted.not_before)?;
    params.not_after = time_of(wanted.not_after)?;
    // A serial number is positive and has 20 bytes at most (RFC 5280, 4.1.2.2).
    let mut serial = wanted.serial.get(..wanted.serial.len().min(16)).unwrap_or_default().to_vec();
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    if wanted.authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    }
    let key = KeyPair::generate().map_err(said)?;
    let made = match wanted.signer {
        None => params.self_signed(&key).map_err(said)?,
        Some((certificate, signer_key)) => {
            let signer_key = KeyPair::from_pem(signer_key).map_err(said)?;
            let signer = rcgen::Issuer::from_ca_cert_pem(certificate, signer_key).map_err(said)?;
            params.signed_by(&key, &signer).map_err(said)?
        }
    };
    Ok(MadeCertificate { certificate: made.pem(), key: key.serialize_pem(), fingerprint: fingerprint(made.der()) })
}

fn time_of(seconds: i64) -> Result<time::OffsetDateTime, String> {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string())
}
