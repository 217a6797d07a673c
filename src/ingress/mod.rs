//! Where calls come in.

mod admin;
mod body;
mod http;

pub use self::admin::Admin;
