//! An HTTP service that counts how often it carries out each key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::service;

type Counts = Arc<Mutex<HashMap<usize, usize>>>;

/// The service; it ends on drop.
pub struct Responder {
    address: SocketAddr,
    counts: Counts,
    serving: JoinHandle<()>,
}

impl Responder {
    /// Starts it on a free port.
    pub async fn start() -> Responder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Counts::default();
        let serving = tokio::spawn({
            let counts = counts.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(talk(stream, counts.clone()));
                }
            }
        });
        Responder {
            address,
            counts,
            serving,
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many keys it carried out.
    pub fn keys(&self) -> usize {
        self.counts.lock().len()
    }

    /// How often it carried out one key.
    pub fn executions(&self, key: usize) -> usize {
        self.counts.lock().get(&key).copied().unwrap_or(0)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn talk(mut stream: TcpStream, counts: Counts) {
    while let Some(request) = service::read(&mut stream).await {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let params: Value = serde_json::from_str(body).unwrap();
        let key = params["key"].as_u64().unwrap() as usize;
        let execution = {
            let mut counts = counts.lock();
            let count = counts.entry(key).or_default();
            *count += 1;
            *count
        };
        // Work takes its time, so that callway is killed in the middle of it.
        tokio::time::sleep(Duration::from_millis(key as u64 % 8)).await;
        let done = json!({"key": key, "execution": execution}).to_string();
        let answer = service::answer("200 OK", "application/json", &done);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
