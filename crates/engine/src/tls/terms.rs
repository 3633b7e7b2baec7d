//! What TLS connections are opened with: certificates, whom to trust, versions, protocols.

use super::session::Session;
use super::trust::{OfClients, OfServer};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

/// How the other end's certificate is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// A client: by an authority, and for the name. A listener with authorities or pins: every client needs one.
    #[default]
    Full,
    /// A client: by an authority, for whatever name.
    Chain,
    /// A listener: clients may come without.
    Optional,
    /// Not at all.
    None,
}

/// What is asked for; texts are PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions<'a> {
    /// Our certificate, and those between it and an authority behind it.
    pub certificate: Option<&'a [u8]>,
    /// Its private key.
    pub key: Option<&'a [u8]>,
    /// The authorities to trust instead of the system's.
    pub authorities: Option<&'a [u8]>,
    /// SHA-256 of the certificates that the other end may have.
    pub pins: Vec<[u8; 32]>,
    /// See [`Verify`].
    pub verify: Verify,
    /// The name of the server that a client connects to.
    pub server_name: &'a str,
    /// Application protocols, the preferred first.
    pub alpn: Vec<Vec<u8>>,
    /// TLS 1.2 is refused.
    pub only_tls13: bool,
    /// How long a client may take for its handshake (0: for ever).
    pub handshake_ns: u64,
    /// One address may begin one handshake in so long, and five seconds of them at once (0: as it likes).
    pub handshake_interval_ns: u64,
}

/// What cannot be used: the option, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsError {
    /// `cert`, `key`, `ca`, `server_name`.
    pub option: &'static str,
    /// What is wrong with it.
    pub said: String,
}

fn wrong(option: &'static str, said: impl ToString) -> TermsError {
    TermsError { option, said: said.to_string() }
}

#[derive(Debug)]
enum Role {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(RefCell<Arc<ServerConfig>>),
}

/// See the module. Connections keep the terms that they were opened with when a listener's are replaced.
#[derive(Debug)]
pub struct Terms {
    role: Role,
    /// How long a client may take for its handshake (0: for ever).
    pub handshake_ns: u64,
    /// One address may begin one handshake in so long, and five seconds of them at once (0: as it likes).
    pub handshake_interval_ns: u64,
}

impl Terms {
    /// Those of a client.
    pub fn client(options: &TlsOptions<'_>) -> Result<Terms, TermsError> {
        let provider = provider();
        let roots = options.authorities.map(authorities).transpose()?;
        let verifier = OfServer::new(&provider, roots, options.verify, options.pins.clone().into())
            .map_err(|said| wrong(if options.authorities.is_some() { "ca" } else { "verify" }, said))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(options))
            .map_err(|error| wrong("tls_min", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity(options)? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| wrong("key", error))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn.clone();
        // Every connection is looked at anew: a certificate that was exchanged or revoked counts at once.
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(options.server_name.to_owned()).map_err(|_| {
            wrong("server_name", format!("{:?} is no host name and no IP address", options.server_name))
        })?;
        Ok(Terms {
            role: Role::Client(Arc::new(config), name),
            handshake_ns: options.handshake_ns,
            handshake_interval_ns: options.handshake_interval_ns,
        })
    }

    /// Those of a listener.
    pub fn server(options: &TlsOptions<'_>) -> Result<Terms, TermsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions(options))
            .map_err(|error| wrong("tls_min", error))?;
        let roots = options.authorities.map(authorities).transpose()?;
        let asks = (roots.is_some() || !options.pins.is_empty()) && options.verify != Verify::None;
        let builder = if asks {
            let required = options.verify != Verify::Optional;
            let verifier = OfClients::new(&provider, roots, required, options.pins.clone().into())
                .map_err(|said| wrong("ca", said))?;
            builder.with_client_cert_verifier(Arc::new(verifier))
        } else {
            builder.with_no_client_auth()
        };
        let Some((chain, key)) = identity(options)? else {
            return Err(wrong("cert", "a listener needs a certificate"));
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| wrong("key", error))?;
        config.alpn_protocols = options.alpn.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Terms {
            role: Role::Server(RefCell::new(Arc::new(config))),
            handshake_ns: options.handshake_ns,
            handshake_interval_ns: options.handshake_interval_ns,
        })
    }

    /// From now on connections are accepted with the other terms. False if these or those are a client's.
    pub fn replace(&self, other: &Terms) -> bool {
        match (&self.role, &other.role) {
            (Role::Server(own), Role::Server(new)) => {
                let new = new.borrow().clone();
                *own.borrow_mut() = new;
                true
            }
            _ => false,
        }
    }

    /// A connection that begins.
    pub fn session(&self) -> Result<Session, rustls::Error> {
        match &self.role {
            Role::Client(config, name) => Session::client(config.clone(), name.clone()),
            Role::Server(config) => Session::server(config.borrow().clone()),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

fn versions(options: &TlsOptions<'_>) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    if options.only_tls13 { &BOTH[..1] } else { &BOTH }
}

fn certificates(pem: &[u8], option: &'static str) -> Result<Vec<CertificateDer<'static>>, TermsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| wrong(option, format!("it is damaged: {error}")))?;
    if found.is_empty() {
        return Err(wrong(option, "no certificate stands in it (PEM: -----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TermsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "ca")? {
        roots.add(certificate).map_err(|error| wrong("ca", error))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(options: &TlsOptions<'_>) -> Result<Option<Identity>, TermsError> {
    let Some(pem) = options.certificate else { return Ok(None) };
    let chain = certificates(pem, "cert")?;
    let key = PrivateKeyDer::from_pem_slice(options.key.unwrap_or(pem))
        .map_err(|_| wrong("key", "no private key stands in it (PEM: -----BEGIN PRIVATE KEY-----)"))?;
    Ok(Some((chain, key)))
}
