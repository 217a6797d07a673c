//! Client certificates that stand for a token, shown by mosquitto's own clients.

use std::path::PathBuf;

use serde_json::json;
use tokio::process::Command;

use super::clients::run;
use super::{DEVICE, setup};
use crate::support::{Authority, Daemon, Identity, TOKEN, free_port};

/// A listener that asks for client certificates, and those that there are.
struct World {
    daemon: Daemon,
    port: u16,
    web: u16,
}

impl World {
    /// `mapped` are the certificates of the token `fleet`.
    async fn start(authority: &Authority, mapped: &[&Identity], client_auth: &str) -> World {
        let [plain, port, web] = [free_port(), free_port(), free_port()];
        let server = authority.issue("localhost");
        let fingerprints: Vec<_> = mapped.iter().map(|own| &own.fingerprint).collect();
        let tls = format!(
            r#"{{ certificate = "scripts/cert.pem", key = "scripts/key.pem",
                  client_ca = "scripts/ca.pem", client_auth = "{client_auth}" }}"#
        );
        let tls = tls.replace('\n', " ");
        let config = format!(
            r#"
            [[listen]]
            address = "127.0.0.1:{port}"
            tls = {tls}
            [[listen.endpoint]]
            dialect = "mqtt"
            [[listen]]
            address = "127.0.0.1:{web}"
            tls = {tls}
            [[listen.endpoint]]
            path = "/mqtt"
            dialect = "mqtt"
            [[listen.endpoint]]
            path = "/api"
            dialect = "http"
            [[token]]
            name = "fleet"
            sha256 = "{}"
            call = ["greet"]
            publish = ["fleet/{{path...}}", "mine/{{path...}}"]
            subscribe = ["mine/{{path...}}"]
            certificates = {fingerprints:?}
            "#,
            callway::auth::digest("cw_token-of-the-fleet"),
        );
        let setup = setup(plain, &config)
            .script("cert.pem", &server.certificate)
            .script("key.pem", &server.key)
            .script("ca.pem", &authority.pem());
        let daemon = setup.start().await;
        World { daemon, port, web }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.daemon.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Publishes with this certificate and this password. Says what mosquitto says against it.
    async fn publish(
        &self,
        own: Option<&Identity>,
        password: Option<&str>,
        topic: &str,
    ) -> Result<(), String> {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &self.port.to_string()]);
        command.args(["-V", "5", "-q", "1", "-t", topic, "-m", "x"]);
        command.arg("--cafile");
        command.arg(self.daemon.directory.path().join("scripts/ca.pem"));
        if let Some(own) = own {
            command
                .arg("--cert")
                .arg(self.file("own.pem", &own.certificate));
            command.arg("--key").arg(self.file("own.key", &own.key));
        }
        if let Some(password) = password {
            command.args(["-u", "any", "-P", password]);
        }
        let output = command.kill_on_drop(true).output();
        let output = tokio::time::timeout(crate::support::PATIENCE, output).await;
        let output = output.expect("mosquitto_pub does not end").unwrap();
        match output.status.success() && output.stderr.is_empty() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

#[tokio::test]
async fn nobody_is_let_in_by_a_certificate_that_stands_for_no_token() {
    let authority = Authority::new();
    let known = authority.issue("d7");
    let expired = authority.issue_until("d7", 2020);
    let world = World::start(&authority, &[&known, &expired], "required").await;
    let unknown = authority.issue("d7");
    let foreign = Authority::new().issue("d7");
    let refused =
        async |own, password, topic| world.publish(own, password, topic).await.unwrap_err();
    assert!(
        refused(Some(&unknown), None, "fleet/a")
            .await
            .contains("Not authorized")
    );
    for own in [None, Some(&foreign), Some(&expired)] {
        let said = refused(own, Some(TOKEN), "fleet/a").await;
        assert!(
            !said.contains("Connection error"),
            "before any CONNACK: {said}"
        );
    }
    // A password is not made good by a certificate, nor the other way round.
    let wrong = refused(Some(&known), Some("cw_wrong"), "fleet/a").await;
    assert!(wrong.contains("Bad User Name or Password"), "{wrong}");
    let other = refused(Some(&known), Some(DEVICE), "fleet/a").await;
    assert!(other.contains("Not authorized"), "{other}");
    assert!(!world.daemon.log().contains(DEVICE));
}

#[tokio::test]
async fn a_certificate_stands_for_its_token() {
    let authority = Authority::new();
    let (first, second) = (authority.issue("d7"), authority.issue("d8"));
    let world = World::start(&authority, &[&first, &second], "optional").await;
    for own in [&first, &second] {
        assert_eq!(world.publish(Some(own), None, "fleet/a").await, Ok(()));
        let said = world.publish(Some(own), None, "other/a").await.unwrap_err();
        assert!(
            said.contains("Not authorized"),
            "with the token's grants: {said}"
        );
    }
    let fleet = Some("cw_token-of-the-fleet");
    assert_eq!(world.publish(Some(&first), fleet, "fleet/a").await, Ok(()));
    // One that stands for no token changes nothing.
    let unknown = authority.issue("tester");
    assert_eq!(
        world.publish(Some(&unknown), Some(TOKEN), "other/a").await,
        Ok(())
    );
    assert_eq!(world.publish(None, Some(TOKEN), "other/a").await, Ok(()));
    let said = world.publish(None, None, "other/a").await.unwrap_err();
    assert!(said.contains("Not authorized"), "{said}");
}

#[tokio::test]
async fn over_websocket_as_well_and_nowhere_else() {
    let authority = Authority::new();
    let own = authority.issue("d7");
    let world = World::start(&authority, &[&own], "required").await;
    let (certificate, key) = (
        world.file("own.pem", &own.certificate),
        world.file("own.key", &own.key),
    );
    let ca = world.daemon.directory.path().join("scripts/ca.pem");
    let task = json!({
        "version": 5, "transport": "wss", "port": world.web, "client": "d7",
        "ca": ca, "certificate": certificate, "key": key,
    });
    let heard = run("paho_device.py", &task).await;
    assert_eq!(heard["reply"], "hello device");
    let asked = Command::new("curl")
        .args(["--silent", "--include", "--cacert"])
        .arg(&ca)
        .arg("--cert")
        .arg(&certificate)
        .arg("--key")
        .arg(&key)
        .args(["--json", "{}"])
        .arg(format!("https://localhost:{}/api/greet", world.web))
        .output();
    let answer = asked.await.unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
