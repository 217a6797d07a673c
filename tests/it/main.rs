//! The end-to-end tests, on real brokers. This list is their table of contents.

// The lints' exemption for tests ends at helper functions; and a task of a test needs no tracker,
// because it ends with the test's runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

mod action;
mod admin;
mod amqp;
mod architecture;
mod brokers;
mod client;
mod commands;
mod demo;
mod event_matrix;
mod events;
mod faults;
mod flow;
mod foreign;
mod hostile;
mod http;
mod http_target;
mod jsonrpc;
mod keys;
mod matrix;
mod mqtt;
mod mqtt_listener;
mod oneway;
mod scriptr;
mod scripts;
mod secrets;
mod shutdown;
mod stream_avatars;
mod talkee;
mod tokens;
mod workers;
mod ws;
