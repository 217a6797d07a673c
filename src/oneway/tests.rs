//! What is known of a call follows what becomes of it in the spool.

use std::time::Duration;

use super::*;
use crate::auth::{Caller, Grants, Token, digest};
use crate::call::{Deadline, Payload, Via};
use crate::config::Limits;
use crate::observe::Metrics;

fn call() -> Call {
    let token = Token {
        name: "tester".into(),
        digest: digest("token"),
        grants: Grants::default(),
        admin: false,
    };
    Call {
        id: CallId::new(),
        method: "pay".into(),
        params: Payload::json("1"),
        caller: Caller::new(Arc::new(token)),
        via: Via::Ws,
        deadline: Deadline::after(Duration::from_secs(5)),
        hops: 0,
        traceparent: None,
        key: None,
        http: None,
        progress: None,
    }
}

#[tokio::test]
async fn a_call_that_is_purged_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let limits = Limits::default();
    let spool = Spool::open(&directory.path().join("spool"), &limits, &metrics).unwrap();
    let store = Store::open(&directory.path().join("callway.db"), &metrics).unwrap();
    let oneway = OneWay::new(spool.clone(), store);
    let call = call();
    oneway.accept(&call).await.unwrap();
    let state = oneway.state(call.id, "tester").await;
    assert_eq!(state.unwrap(), State::Queued);
    assert_eq!(spool.purge(Some(QUEUE)), 1);
    let fault = oneway.state(call.id, "tester").await.unwrap_err();
    assert_eq!(fault.kind, Kind::MethodNotFound);
}
