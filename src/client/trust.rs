//! Whose TLS certificates are believed: the system's authorities, or those of one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::call::{Fault, Kind};

/// TLS settings of a client, read once.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    ca: Option<PathBuf>,
}

impl Trust {
    /// The authorities in this PEM file alone, or the system's without one.
    pub fn load(ca: Option<&Path>) -> Result<Trust, Fault> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let unreadable = |why: &dyn std::fmt::Display| {
                    Fault::new(Kind::InvalidRequest, format!("{}: {why}", path.display()))
                };
                let certificates =
                    CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| unreadable(&error))?;
                    roots.add(certificate).map_err(|error| unreadable(&error))?;
                }
                if roots.is_empty() {
                    return Err(unreadable(&"holds no certificate"));
                }
            }
            None => {
                // A system without authorities can still call plain addresses.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::new(Kind::Internal, format!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust {
            config: Arc::new(config),
            ca: ca.map(Path::to_owned),
        })
    }

    /// For a connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The file, for links that read it themselves.
    pub(super) fn ca(&self) -> Option<PathBuf> {
        self.ca.clone()
    }
}
