//! stub
#![allow(missing_docs, unused)]
use super::Store;
use crate::call::Fault;
pub struct Letter {
    pub kind: &'static str,
    pub name: String,
    pub source: String,
    pub reason: String,
    pub headers: String,
    pub body: Vec<u8>,
    pub call_id: Option<String>,
}
impl Store {
    pub async fn bury(&self, l: Letter, k: usize) -> Result<(), Fault> {
        Ok(())
    }
}
