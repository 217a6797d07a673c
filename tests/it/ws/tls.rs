//! wss: the listener's certificate, and certificates of clients.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{HANDSHAKE, read_head};
use crate::support::{Authority, Daemon, HttpReply, Identity, PATIENCE, Setup, TOKEN, free_port};

/// A daemon that also listens with TLS, and that address.
async fn daemon(issuer: &Authority, client_auth: &str) -> (Daemon, u16) {
    let directory = tempfile::tempdir().unwrap().keep();
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    let own = issuer.issue("localhost");
    write("certificate.pem", &own.certificate);
    write("key.pem", &own.key);
    write("ca.pem", &issuer.pem());
    let port = free_port();
    let path = |name: &str| Path::new(&directory).join(name).display().to_string();
    let setup = Setup::new().config(&format!(
        r#"
        [[listen]]
        address = "127.0.0.1:{port}"
        [listen.tls]
        certificate = "{}"
        key = "{}"
        client_ca = "{}"
        client_auth = "{client_auth}"
        [[listen.endpoint]]
        path = "/rpc"
        dialect = "jsonrpc"
        "#,
        path("certificate.pem"),
        path("key.pem"),
        path("ca.pem"),
    ));
    (setup.start().await, port)
}

/// Upgrades over TLS; the response's head, or that the connection failed.
async fn upgrade(port: u16, issuer: &Authority, own: Option<Identity>) -> Option<HttpReply> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some(Identity {
            certificate, key, ..
        }) => {
            use rustls::pki_types::pem::PemObject as _;
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .ok()?;
    let request = format!("GET /rpc/{TOKEN} HTTP/1.1\r\nhost: localhost\r\n{HANDSHAKE}\r\n");
    // The server's verdict on a client's certificate comes after the client's handshake.
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).await.ok()?;
    let head = [first.to_vec(), read_head(&mut stream).await].concat();
    // Masked with zeros: {"jsonrpc":"2.0","id":1,"method":"callway.whoami"}
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"callway.whoami"}"#;
    stream
        .write_all(&[0x81, 0x80 | call.len() as u8, 0, 0, 0, 0])
        .await
        .ok()?;
    stream.write_all(call).await.ok()?;
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.ok()?;
    let length = match frame[1] {
        126 => usize::from(u16::from_be_bytes([frame[2], frame[3]])),
        _ => return None,
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.ok()?;
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(answer["result"]["caller"], "tester");
    Some(HttpReply::parse(&head))
}

#[tokio::test]
async fn a_certificate_of_the_client_may_be_required() {
    let issuer = Authority::new();
    let (_daemon, port) = daemon(&issuer, "required").await;
    assert!(upgrade(port, &issuer, None).await.is_none(), "without one");
    let foreign = Authority::new().issue("intruder");
    assert!(
        upgrade(port, &issuer, Some(foreign)).await.is_none(),
        "of someone else"
    );
    let own = issuer.issue("device");
    assert_eq!(upgrade(port, &issuer, Some(own)).await.unwrap().status, 101);
}

#[tokio::test]
async fn an_optional_one_may_be_missing_but_not_foreign() {
    let issuer = Authority::new();
    let (daemon, port) = daemon(&issuer, "optional").await;
    assert_eq!(upgrade(port, &issuer, None).await.unwrap().status, 101);
    let foreign = Authority::new().issue("intruder");
    assert!(upgrade(port, &issuer, Some(foreign)).await.is_none());
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "who speaks no TLS is let go");
    assert!(
        daemon
            .ws()
            .await
            .call("callway.whoami", serde_json::json!([]))
            .await
            .is_ok()
    );
}
