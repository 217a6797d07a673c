//! Devices that connect straight to callway with MQTT: one task for each connection, one session
//! for each client, in front of the same calls and channels as everything else.

mod calls;
mod device;
mod devices;
mod events;
mod kept;
mod names;
mod opening;
mod restore;
mod scriptr;
mod socket;
mod subscriptions;
mod talk;
mod wills;
mod worker;

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub use self::devices::Devices;
pub use self::names::Names;
pub(super) use self::opening::Guest;
pub use self::restore::restore_devices;
use self::socket::Frames;
use super::connection::READ_BUFFER;
use super::stream::Stream;

/// The subprotocol of MQTT over WebSocket (MQTT 5.0 §6).
pub(super) const SUBPROTOCOL: &str = "mqtt";

/// Serves a client that speaks MQTT from its first byte.
pub(super) async fn run(stream: Stream, mut guest: Guest) {
    guest.certificate = stream.certificate();
    opening::run(Box::new(stream), guest).await;
}

/// Serves one that opened a WebSocket. `read` was read behind the handshake.
pub(super) async fn run_ws(stream: Stream, read: Vec<u8>, mut guest: Guest) {
    guest.certificate = stream.certificate();
    let most = opening::most(&guest.context.config.limits);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let socket =
        WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    opening::run(Box::new(Frames::new(socket)), guest).await;
}
