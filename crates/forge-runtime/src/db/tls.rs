//! TLS to the server, with verification.

use std::sync::Arc;

use forge_core::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{DatabaseConfig, TlsMode};

/// Sets the connection's mode and makes the TLS connector for it. `prefer` and `require` encrypt without checking who the
/// server is, as libpq does.
pub(crate) fn configure(pg: &mut tokio_postgres::Config, mode: TlsMode, config: &DatabaseConfig) -> Result<MakeTls> {
    pg.ssl_mode(match mode {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
    });
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::internal("TLS cannot be set up").with_source(why))?;
    let client = match mode {
        TlsMode::VerifyFull => builder.with_root_certificates(roots(config)?).with_no_client_auth(),
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))).with_no_client_auth()
        }
    };
    Ok(MakeTls(MakeRustlsConnect::new(client)))
}

/// Makes TLS connections, when they are wanted.
#[derive(Clone)]
pub(crate) struct MakeTls(MakeRustlsConnect);

impl<S> MakeTlsConnect<S> for MakeTls
where
    MakeRustlsConnect: MakeTlsConnect<S>,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        // The driver prepares TLS even for a socket in the file system, which has no host's name and never uses it.
        self.0.make_tls_connect(if host.is_empty() { "localhost" } else { host })
    }
}

impl std::fmt::Debug for MakeTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MakeTls")
    }
}

fn roots(config: &DatabaseConfig) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &config.tls_ca_file {
        let invalid = |why: String| {
            Error::config("TLS_CA_INVALID", format!("database.tls_ca_file = {:?} cannot be used: {why}", file.display()))
        };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|why| invalid(why.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|why| invalid(why.to_string()))?;
            roots.add(certificate).map_err(|why| invalid(why.to_string()))?;
        }
        if roots.is_empty() {
            return Err(invalid("there is no certificate in it".into()));
        }
        return Ok(roots);
    }
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    Ok(roots)
}

/// Accepts any certificate: what `prefer` and `require` promise is encryption, not identity.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
