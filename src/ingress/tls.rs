//! TLS of a listener: certificate, key, and the authorities of client certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Reads the files and builds the acceptor; `protocol` is what ALPN agrees on. The error names the
/// file.
pub(super) fn acceptor(tls: &Tls, protocol: Option<&str>) -> Result<TlsAcceptor, String> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|why| about(&tls.key, why))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(file)? {
                roots.add(authority).map_err(|why| about(file, why))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if tls.client_required {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|why| about(file, why))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|why| about(&tls.certificate, why))?;
    if tls.client_ca.is_some() {
        // A resumed session has its certificate from another day, on which it had not expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = protocol
        .map(|name| name.as_bytes().to_vec())
        .into_iter()
        .collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).map_err(|why| about(file, why))?;
    let all: Vec<_> = read
        .collect::<Result<_, _>>()
        .map_err(|why| about(file, why))?;
    if all.is_empty() {
        return Err(about(file, "holds no certificate"));
    }
    Ok(all)
}

fn about(file: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", file.display())
}
