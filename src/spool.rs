//! stub
#![allow(missing_docs, unused)]
use crate::call::Fault;
use crate::config::Limits;
use crate::observe::Metrics;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
#[derive(Clone)]
pub struct Spool;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct SpoolError;
pub enum Lane {
    Own,
    Named(u64),
}
pub struct Listed {
    pub body: Bytes,
}
pub struct Appended;
impl Appended {
    pub fn id(&self) -> u64 {
        0
    }
}
impl std::future::Future for Appended {
    type Output = Result<(), Fault>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::task::Poll::Ready(Ok(()))
    }
}
pub struct QueueStats {
    pub queue: String,
    pub messages: u64,
    pub bytes: u64,
    pub oldest: Option<u64>,
}
impl Spool {
    pub fn retry_now(&self, q: Option<&str>) {}
    pub fn stats(&self) -> Vec<QueueStats> {
        vec![]
    }
    pub fn open(d: &Path, l: &Limits, m: &Arc<Metrics>) -> Result<Spool, SpoolError> {
        Ok(Spool)
    }
    pub fn append(&self, q: &str, l: Lane, b: Bytes) -> Result<Appended, Fault> {
        Ok(Appended)
    }
    pub fn consume(&self, q: &str) -> Consumer {
        Consumer
    }
    pub fn list(&self, q: Option<&str>, n: usize) -> Vec<Listed> {
        vec![]
    }
}
pub struct Consumer;
impl Consumer {
    pub async fn next(&mut self) -> Item {
        std::future::pending().await
    }
}
pub struct Item {
    pub id: u64,
    pub body: Bytes,
    pub accepted: u64,
    pub attempts: u32,
}
impl Item {
    pub fn done(self) {}
    pub fn later(self, w: Duration) {}
}
