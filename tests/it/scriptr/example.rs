//! The example of a scriptr account, as it is shipped.

use std::path::Path;

use serde_json::json;

use crate::eventually;
use crate::support::{Http, Process, Ws, free_port};

const DEVICE: &str = "QWNtZTpkZXZpY2U6MQ==";

#[tokio::test]
async fn the_example_runs_with_one_command() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/scriptr");
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([example.as_path(), copy.path()])
        .status();
    assert!(copied.unwrap().success());
    let file = copy.path().join("scriptr/callway.toml");
    let (port, admin) = (free_port(), free_port());
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    let text = text.replace("127.0.0.1:9464", &format!("127.0.0.1:{admin}"));
    std::fs::write(&file, text).unwrap();

    let log = copy.path().join("log");
    let args = ["run", "--config", file.to_str().unwrap()];
    let _callway = Process::start(env!("CARGO_BIN_EXE_callway"), &args, &[], &log);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    eventually!(std::net::TcpStream::connect(address).is_ok());

    let mut device = Ws::try_connect(&format!("ws://{address}/{DEVICE}"), &[])
        .await
        .unwrap();
    assert_eq!(device.next().await["result"], "connected.");
    device
        .send(r#"{"method":"Subscribe","params":{"channel":"alerts"}}"#)
        .await;
    assert_eq!(device.next().await["status"], "success");
    let http = Http::new(address).bearer(DEVICE);
    let path = "/tutorials/howto/api/someAPi?humidity=43&temperature=";
    let reply = http.get(&format!("{path}35")).await.json();
    let result = json!({"temperature": 35, "humidity": 43, "readings": 1});
    assert_eq!(reply["response"]["result"], result, "{reply}");
    let alert = device.next().await;
    assert_eq!(alert["result"]["temperature"], 35, "{alert}");
    let refused = http.get("/alerts/report").await.json();
    let code = &refused["response"]["metadata"]["errorCode"];
    assert_eq!(code, "PERMISSION_DENIED", "the device's grants end there");
}
