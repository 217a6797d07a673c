//! HTTP without I/O: `POST /<method>` with the params as its body, answered by the bare result.
//!
//! `/channels/<channel>` is published to and followed. [`HttpDialect`] is what every dialect with an HTTP form implements; [`Plain`] is the dialect
//! `http` itself. Standards: RFC 9110 (HTTP), RFC 9457 (problem details), RFC 7240 (`Prefer`),
//! the Fetch standard (CORS), W3C Trace Context.

pub mod calls;
mod channels;
mod cors;
mod message;
mod multipart;
mod path;
mod plain;
mod query;
mod terms;

pub use self::channels::{ALIVE, Selection, Wanted, block, stream_head, stream_start};
pub use self::cors::{allow_origin, is_preflight, preflight};
pub use self::message::{Answer, Asked, Head, HttpDialect, Request};
pub use self::multipart::{Part, parts};
pub use self::path::method_name;
pub use self::plain::{Plain, problem};
pub use self::query::{Query, without_credentials};
pub use self::terms::Terms;
