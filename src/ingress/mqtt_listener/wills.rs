//! Wills: on disk for as long as they may have to be published, so that who is lost together with
//! callway is not lost without a word.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::device::Device;
use super::events;
use crate::call::{Fault, Kind};
use crate::channel::Beside;
use crate::dialect::mqtt::{Publish, Will};
use crate::store::KeptWill;

/// Bytes of wills that are on disk together; those that find no room are in memory only.
const ROOM: usize = 64 * 1024 * 1024;

/// A will that may have to be published.
pub(super) struct Pending {
    message: Publish,
    /// How long after the loss of the connection.
    pub(super) delay: Duration,
    /// The connection ended with an earlier process: who comes back in time was never lost.
    pub(super) excused: bool,
    /// Its number on disk, and its bytes there.
    kept: Option<(u64, usize)>,
}

impl Pending {
    /// The will of a connection, which is on disk soon.
    pub(super) fn of(device: &Device, connection: u64, mut will: Will) -> Box<Pending> {
        if let Some(beside) = &mut will.message.beside {
            events::leave_out_token(beside);
        }
        let kept = KeptWill {
            number: connection,
            device: device.number,
            caller: device.caller.token().name.clone(),
            client: device.client.clone(),
            delay: will.delay,
            topic: will.message.topic.clone(),
            payload: will.message.payload.clone(),
            qos: will.message.qos,
            retain: will.message.retain,
            expiry: will.message.expiry,
            beside: json(will.message.beside.as_deref()),
        };
        Box::new(Pending {
            message: will.message,
            delay: Duration::from_secs(will.delay.into()),
            excused: false,
            kept: keep(device, kept),
        })
    }

    /// That of a connection of an earlier process. Who had it has `delay` to come back.
    pub(super) fn restored(device: &Device, kept: KeptWill, delay: Duration) -> Box<Pending> {
        let size = size(&kept);
        device.shared.wills.fetch_add(size, Ordering::Relaxed);
        let beside = kept.beside.as_deref();
        let beside = beside.and_then(|text| serde_json::from_str(text).ok());
        Box::new(Pending {
            message: Publish {
                topic: kept.topic,
                payload: kept.payload,
                qos: kept.qos,
                retain: kept.retain,
                expiry: kept.expiry,
                beside,
                ..Publish::default()
            },
            delay,
            excused: true,
            kept: Some((kept.number, size)),
        })
    }

    /// Publishes it with the grants that its client has now. Nobody waits for what comes of it.
    pub(super) fn publish(self, device: &Arc<Device>) {
        let shared = &device.shared;
        let hub = shared.hub.upgrade().filter(|_| !device.caller.has_ended());
        let Some(hub) = hub else {
            return forget(device, self.kept);
        };
        match events::publish(&hub, device, self.message) {
            // The next start publishes it.
            Err(fault) if fault.kind == Kind::ShuttingDown && self.kept.is_some() => return,
            Err(fault) => {
                shared.metrics.dropped("mqtt", "will");
                tracing::info!(caller = device.caller.name(), kind = %fault.kind,
                    "a will was refused");
            }
            Ok(receipt) if self.kept.is_some() => {
                // Not before it is on disk, or confirmed, wherever it goes.
                let (device, kept) = (device.clone(), self.kept);
                shared.background.spawn(async move {
                    if let Err(fault) = receipt.kept().await {
                        tracing::info!(%fault, "a will could not be kept");
                    }
                    forget(&device, kept);
                });
                return;
            }
            Ok(_receipt) => {}
        }
        forget(device, self.kept);
    }

    /// It need not be published.
    pub(super) fn forget(self, device: &Device) {
        forget(device, self.kept);
    }
}

fn keep(device: &Device, will: KeptWill) -> Option<(u64, usize)> {
    let (number, size) = (will.number, size(&will));
    let shared = &device.shared;
    if shared.wills.fetch_add(size, Ordering::Relaxed) + size > ROOM {
        shared.wills.fetch_sub(size, Ordering::Relaxed);
        shared.metrics.limit_reached("device_wills");
        return None;
    }
    let told = |outcome: Result<(), Fault>| {
        if let Err(fault) = outcome {
            tracing::warn!(%fault, "the will of an MQTT client cannot be kept");
        }
    };
    if let Err(fault) = shared.store.keep_will(will, told) {
        told(Err(fault));
    }
    Some((number, size))
}

fn forget(device: &Device, kept: Option<(u64, usize)>) {
    let Some((number, size)) = kept else { return };
    device.shared.wills.fetch_sub(size, Ordering::Relaxed);
    if let Err(fault) = device.shared.store.forget_will(number) {
        tracing::warn!(%fault, "a will that is over may be published after the next start");
    }
}

fn size(will: &KeptWill) -> usize {
    let beside = will.beside.as_deref().map_or(0, str::len);
    will.client.len() + will.topic.len() + will.payload.len() + beside
}

/// Nothing in it fails to be JSON.
fn json(beside: Option<&Beside>) -> Option<String> {
    beside.and_then(|beside| serde_json::to_string(beside).ok())
}
