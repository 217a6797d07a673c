//! The bounds of everything, and their defaults.

use std::time::Duration;

use super::Rate;

/// `[limits]`; each has a metric `callway_limit_reached_total{limit}`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of a call that says nothing about its own.
    pub timeout: Duration,
    /// Of any call.
    pub max_timeout: Duration,
    /// TLS, upgrade, first message.
    pub handshake: Duration,
    /// Bytes of one WebSocket message, one HTTP body, one bus message.
    pub message: usize,
    /// Bytes of params.
    pub params: usize,
    /// Levels of arrays and objects.
    pub json_depth: usize,
    /// Requests in one JSON-RPC batch.
    pub batch: usize,
    /// Open client connections.
    pub connections: usize,
    /// Calls under way in the process.
    pub in_flight: usize,
    /// Calls under way on one connection.
    pub in_flight_per_connection: usize,
    /// Bytes waiting to be sent on one connection.
    pub send_queue: usize,
    /// Between WebSocket pings.
    pub ping: Duration,
    /// How long a pong may take.
    pub pong: Duration,
    /// CPU time of one script call.
    pub script_time: Duration,
    /// Bytes of one script call.
    pub script_memory: usize,
    /// Calls that one script call may make.
    pub script_calls: u32,
    /// Passes of one request through callway.
    pub hops: u32,
    /// Bytes of events and one-way calls on disk that wait to be sent or carried out.
    pub spool_size: u64,
    /// How long they may wait; then they are dead letters.
    pub spool_age: Duration,
    /// Dead letters that are kept; then the oldest go.
    pub dead_count: usize,
    /// How long the outcome of a call with an idempotency key is remembered.
    pub key_window: Duration,
    /// Accounts that clients of `action` endpoints may make.
    pub accounts: usize,
    /// Bad tries per source before they are slowed.
    pub auth_failures: Rate,
    /// How long calls may go on after SIGTERM.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits {
            timeout: seconds(30),
            max_timeout: seconds(300),
            handshake: seconds(5),
            message: 256 * 1024,
            params: 256 * 1024,
            json_depth: 128,
            batch: 100,
            connections: 10_000,
            in_flight: 10_000,
            in_flight_per_connection: 64,
            send_queue: 256 * 1024,
            ping: seconds(25),
            pong: seconds(10),
            script_time: seconds(1),
            script_memory: 32 * 1024 * 1024,
            script_calls: 100,
            hops: 8,
            spool_size: 1024 * 1024 * 1024,
            spool_age: seconds(7 * 86_400),
            dead_count: 10_000,
            key_window: seconds(600),
            accounts: 10_000,
            auth_failures: Rate {
                count: 20,
                period: seconds(60),
            },
            drain: seconds(10),
        }
    }
}
