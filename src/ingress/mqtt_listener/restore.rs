//! Takes up the sessions and wills that earlier processes kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::device::Device;
use super::devices::{Devices, room};
use super::kept;
use super::wills::Pending;
use crate::auth::Verb;
use crate::call::{Fault, unix_ms};
use crate::config::{Config, Dialect, MqttOptions};
use crate::context::Context;
use crate::dialect::mqtt::Session;
use crate::store::KeptWill;

/// How long whoever was connected to an earlier process has to come back before its will is
/// published: the standard lets a server that has failed publish wills late (MQTT 5.0 §3.1.2.5).
const GRACE: Duration = Duration::from_secs(10);

/// Starts the registry with what earlier processes kept, where an endpoint needs one.
pub async fn restore_devices(context: &Context) {
    let Some(options) = options(&context.config) else {
        return;
    };
    let devices = Arc::new(Devices::new(context));
    match take_up(&devices, context, &options).await {
        Ok(()) => {}
        Err(fault) => tracing::error!(%fault, "sessions of MQTT clients cannot be read"),
    }
    context.devices.set(devices).unwrap_or_default();
}

/// The most generous options of all endpoints: who connects again is held to its own.
fn options(config: &Config) -> Option<MqttOptions> {
    let endpoints = config.listeners.iter().flat_map(|row| &row.endpoints);
    let options = endpoints.filter_map(|endpoint| match &endpoint.dialect {
        Dialect::Mqtt(options) => Some(options.clone()),
        _ => None,
    });
    options.reduce(|one, other| MqttOptions {
        session_expiry: one.session_expiry.max(other.session_expiry),
        queue: one.queue.max(other.queue),
        ..one
    })
}

async fn take_up(
    devices: &Arc<Devices>,
    context: &Context,
    options: &MqttOptions,
) -> Result<(), Fault> {
    let store = &context.store;
    devices.count_on_from(store.last_device().await?);
    let mut wills = HashMap::new();
    for will in store.wills().await? {
        if let Some(older) = wills.insert(will.device, will) {
            store.forget_will(older.number)?;
        }
    }
    for all in store.devices().await? {
        let kept = all.device.clone();
        let Some(caller) = context.auth.by_name(&kept.caller) else {
            devices.forget(kept.number);
            continue;
        };
        let mut session = Session::new(room(options));
        let may = |topic: &str| {
            let channel = devices.shared().names.channel(topic);
            caller.may(Verb::Subscribe, &channel)
        };
        // What its grants do not allow any more is not for it.
        for seq in kept::restore(&mut session, all, may) {
            devices.forget_message(kept.number, seq);
        }
        let expiry = Duration::from_secs(kept.expiry.into()).min(options.session_expiry);
        let gone = kept.gone.unwrap_or_else(unix_ms);
        let since = Duration::from_millis(unix_ms().saturating_sub(gone));
        let left = expiry.saturating_sub(since);
        let client: Arc<str> = kept.client.as_str().into();
        let device = Device::new(kept.number, (caller, client), session, devices.shared());
        let pending = wills.remove(&kept.number);
        {
            let mut state = device.lock();
            (state.expiry, state.kept) = (expiry, true);
            state.will = pending.map(|will| restored(&device, will, left));
        }
        device.listen();
        devices.add_alone(&device, left.max(GRACE));
        if kept.gone.is_none() {
            devices.keep(&device);
        }
    }
    // Of sessions that ended with their connection, or meanwhile, nothing is left but their wills.
    for will in wills.into_values() {
        let Some(caller) = context.auth.by_name(&will.caller) else {
            store.forget_will(will.number)?;
            continue;
        };
        let session = Session::new(room(options));
        let who = (caller, will.client.clone());
        let device = Device::new(will.device, who, session, devices.shared());
        device.lock().will = Some(restored(&device, will, Duration::ZERO));
        devices.add_alone(&device, GRACE);
    }
    Ok(())
}

/// A session has `left` to live.
fn restored(device: &Device, will: KeptWill, left: Duration) -> Box<Pending> {
    let delay = Duration::from_secs(will.delay.into()).min(left);
    Pending::restored(device, will, delay.max(GRACE))
}
