//! The example starts as it is and does what its README says.

use serde_json::json;

use crate::support::{Http, free_port};

#[tokio::test]
async fn it_starts_and_two_people_talk() {
    let directory = tempfile::tempdir().unwrap();
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/talkee");
    for file in std::fs::read_dir(source).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
    }
    let config = directory.path().join("callway.toml");
    let (port, admin) = (free_port(), free_port());
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace(":8080", &format!(":{port}"))
        .replace(":9464", &format!(":{admin}"));
    std::fs::write(&config, text).unwrap();
    let args = ["run", "--config", config.to_str().unwrap()];
    let log = directory.path().join("log");
    let _callway = crate::support::Process::start(env!("CARGO_BIN_EXE_callway"), &args, &[], &log);
    crate::support::wait_for_port(port, crate::support::PATIENCE, &log).await;

    let http = Http::new(([127, 0, 0, 1], port).into());
    let body = json!({"method": "token", "token": "cw_example-token-of-ada"});
    let reply = http.post("/api/auth/login", &body).await.json();
    let token = reply["data"]["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{reply}"));
    let ada = http.clone().bearer(token);
    let room = "/ws/messages?site_id=1&slug=room-a";
    let said = ada
        .post(room, &json!({"category": "text", "data": "SGVsbG8h"}))
        .await
        .json();
    assert_eq!(said["user"]["full_name"], "Ada");
    let read = http.get(room).await.json();
    assert_eq!(read.as_array().unwrap().last(), Some(&said));
}
