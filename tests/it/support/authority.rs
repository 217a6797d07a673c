//! Certificates that a test makes itself.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

/// Who issues them.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
    /// The SHA-256 of the certificate's DER, as `openssl x509 -fingerprint` prints it.
    pub fingerprint: String,
}

impl Authority {
    /// A new one, which nobody else trusts.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its own certificate as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate.
    pub fn der(&self) -> &rustls::pki_types::CertificateDer<'static> {
        self.0.der()
    }

    /// A certificate for this name.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_until(name, 4096)
    }

    /// The same, up to the beginning of this year.
    pub fn issue_until(&self, name: &str, year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name = named(name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let digest = callway::auth::fingerprint(certificate.der()).to_string();
        let pairs: Vec<_> = digest
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            fingerprint: pairs.join(":").to_uppercase(),
        }
    }
}

/// Without names of their own, OpenSSL takes the certificates for self-signed ones.
fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
