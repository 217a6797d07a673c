//! All sessions, by caller and client identifier: whoever connects takes up its own, and nobody
//! else's. Those that outlive their connection are bounded in number and in time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::device::{Connection, Device, Shared, State};
use super::events;
use super::kept;
use super::names::Names;
use crate::auth::{Caller, Verb};
use crate::call::{Fault, unix_ms};
use crate::config::{Config, Dialect, MqttOptions};
use crate::context::Context;
use crate::dialect::mqtt::{Connect, Room, Session, Will};

/// Bytes that may wait for one client, for each message that may.
const ROOM: usize = 4096;

/// The registry of sessions.
pub struct Devices {
    shared: Arc<Shared>,
    inside: Mutex<Inside>,
    background: TaskTracker,
    stop: CancellationToken,
    /// Sessions without a connection that are kept at once.
    most: usize,
}

type Key = (Arc<str>, Arc<str>);

#[derive(Default)]
struct Inside {
    sessions: HashMap<Key, Arc<Device>>,
    /// Those without a connection, in the order in which they lost it.
    alone: BTreeMap<u64, Key>,
    /// The source of numbers of sessions, connections and places.
    count: u64,
}

impl Inside {
    fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Of the caller that has the most sessions without a connection the one that has been so for
    /// longest: who makes ever new ones drives out nobody's but its own.
    fn longest_of_most(&self) -> Option<(Arc<Device>, Key)> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (caller, _) in self.alone.values() {
            *counts.entry(caller).or_default() += 1;
        }
        let most = counts.values().max()?;
        let mut longest = self.alone.values();
        let key = longest.find(|(caller, _)| counts.get(&**caller) == Some(most))?;
        Some((self.sessions.get(key)?.clone(), key.clone()))
    }
}

/// A session that a connection has taken up.
pub(super) struct Claim {
    pub(super) device: Arc<Device>,
    /// Names the connection.
    pub(super) connection: u64,
    /// It was there before.
    pub(super) present: bool,
}

/// Starts the registry with what earlier processes kept, where an endpoint needs one.
pub async fn restore_devices(context: &Context) {
    let Some(options) = options(&context.config) else {
        return;
    };
    let devices = Arc::new(Devices {
        shared: Arc::new(Shared {
            names: Names::of(&context.config),
            hub: Arc::downgrade(&context.hub),
            store: context.store.clone(),
            metrics: context.metrics.clone(),
        }),
        inside: Mutex::default(),
        background: context.background.clone(),
        stop: context.stop.clone(),
        most: context.config.limits.connections,
    });
    match devices.take_up(context, options).await {
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

fn room(options: &MqttOptions) -> Room {
    Room {
        messages: options.queue,
        bytes: options.queue.saturating_mul(ROOM),
    }
}

impl Devices {
    async fn take_up(
        self: &Arc<Self>,
        context: &Context,
        options: MqttOptions,
    ) -> Result<(), Fault> {
        self.inside.lock().count = self.shared.store.last_device().await?;
        for kept in self.shared.store.devices().await? {
            let device = kept.device.clone();
            let Some(caller) = context.auth.by_name(&device.caller) else {
                self.forget(device.number);
                continue;
            };
            let mut session = Session::new(room(&options));
            let may = |topic: &str| {
                let channel = self.shared.names.channel(topic);
                caller.may(Verb::Subscribe, &channel)
            };
            // What its grants do not allow any more is not for it.
            for seq in kept::restore(&mut session, kept, may) {
                self.forget_message(device.number, seq);
            }
            let client: Arc<str> = device.client.as_str().into();
            let key = (caller.token().name.clone(), client.clone());
            let taken = Device::new(device.number, (caller, client), session, &self.shared);
            let expiry = Duration::from_secs(device.expiry.into()).min(options.session_expiry);
            {
                let mut state = taken.lock();
                (state.expiry, state.kept) = (expiry, true);
            }
            taken.listen();
            let gone = device.gone.unwrap_or_else(unix_ms);
            let since = Duration::from_millis(unix_ms().saturating_sub(gone));
            self.inside
                .lock()
                .sessions
                .insert(key.clone(), taken.clone());
            self.leave_alone(&taken, &key, None, expiry.saturating_sub(since));
            if device.gone.is_none() {
                self.keep(&taken);
            }
        }
        Ok(())
    }

    /// Takes up the session of a client, or begins one. Whoever had it is sent away.
    pub(super) fn claim(
        self: &Arc<Self>,
        caller: &Caller,
        client: Arc<str>,
        connect: &Connect,
        (options, expiry): (&MqttOptions, Duration),
    ) -> Claim {
        let key = (caller.token().name.clone(), client.clone());
        let mut inside = self.inside.lock();
        let known = inside.sessions.get(&key).cloned();
        let mut present = false;
        let mut will = None;
        if let Some(known) = &known {
            let mut state = known.lock();
            state.wake();
            let before = state.connection.take();
            // One that was to end with its connection does so now.
            let ends = before.is_some() && state.expiry.is_zero();
            present = !(connect.clean || ends || state.ended || known.caller.has_ended());
            // §3.1.2.5: a delayed one is not published if the session goes on.
            let now = |will: &Will| !present || (before.is_some() && will.delay == 0);
            will = state.will.take().filter(now);
            alone_no_more(&mut inside, &mut state);
        }
        let device = match known.as_ref().filter(|_| present) {
            Some(device) => device.clone(),
            None => {
                let number = inside.count();
                let session = Session::new(room(options));
                Device::new(number, (caller.clone(), client), session, &self.shared)
            }
        };
        let connection = inside.count();
        {
            // Before anybody else finds it, so that of two at once the second takes over.
            let mut state = device.lock();
            state.connection = Some(Connection::new(connection));
            state.expiry = expiry;
            state.will = connect.will.clone();
        }
        inside.sessions.insert(key, device.clone());
        drop(inside);
        if let Some(known) = &known {
            if let Some(will) = will {
                events::will(known, will);
            }
            if !present {
                self.end_quietly(known);
            }
        }
        self.keep(&device);
        Claim {
            device,
            connection,
            present,
        }
    }

    /// A connection has ended. With `lost` its will is published.
    pub(super) fn leave(self: &Arc<Self>, device: &Arc<Device>, connection: u64, lost: bool) {
        let key = (device.caller.token().name.clone(), device.client.clone());
        let mut state = device.lock();
        if !state.is_of(connection) {
            return; // taken over
        }
        state.connection = None;
        state.session.drop_unkept();
        let revoked = device.caller.has_ended();
        let will = state.will.take().filter(|_| lost && !revoked);
        let ends = state.expiry.is_zero() || revoked;
        let expiry = state.expiry;
        drop(state);
        if ends {
            if let Some(will) = will {
                events::will(device, will);
            }
            return self.end(device, &key);
        }
        self.keep(device);
        self.leave_alone(device, &key, will, expiry);
    }

    /// Lets a session wait for its client, until its time is over.
    fn leave_alone(
        self: &Arc<Self>,
        device: &Arc<Device>,
        key: &Key,
        will: Option<Will>,
        expiry: Duration,
    ) {
        let delay = will
            .as_ref()
            .map(|will| Duration::from_secs(will.delay.into()));
        let (devices, waiting, its) = (self.clone(), device.clone(), key.clone());
        let ended = device.caller.ended();
        let stop = self.stop.clone();
        let lingering = async move {
            if let Some(delay) = delay {
                sleep(delay.min(expiry)).await;
                let will = waiting.lock().will.take();
                if let Some(will) = will {
                    events::will(&waiting, will);
                }
            }
            tokio::select! {
                () = sleep(expiry.saturating_sub(delay.unwrap_or_default())) => {}
                () = ended => waiting.lock().will = None,
            }
            devices.end(&waiting, &its);
        };
        if let (Some(Duration::ZERO), Some(will)) = (delay, &will) {
            events::will(device, will.clone());
        }
        let mut inside = self.inside.lock();
        let mut state = device.lock();
        if state.connection.is_some() || state.ended {
            return; // it came back meanwhile
        }
        state.will = will.filter(|_| delay != Some(Duration::ZERO));
        let lingering = self.background.spawn(async move {
            tokio::select! {
                () = lingering => {}
                () = stop.cancelled() => {}
            }
        });
        state.lingering = Some(lingering.abort_handle());
        let place = inside.count();
        state.place = Some(place);
        drop(state);
        inside.alone.insert(place, key.clone());
        let evicted = match inside.alone.len() > self.most {
            true => inside.longest_of_most(),
            false => None,
        };
        drop(inside);
        if let Some((evicted, key)) = evicted {
            self.shared.metrics.limit_reached("device_sessions");
            self.end(&evicted, &key);
        }
    }

    /// Ends a session that has no connection.
    fn end(&self, device: &Arc<Device>, key: &Key) {
        let mut inside = self.inside.lock();
        let mut state = device.lock();
        if state.connection.is_some() {
            return; // it came back meanwhile
        }
        state.ended = true;
        let will = state.will.take().filter(|_| !device.caller.has_ended());
        alone_no_more(&mut inside, &mut state);
        drop(state);
        let this = |one: &Arc<Device>| Arc::ptr_eq(one, device);
        if inside.sessions.get(key).is_some_and(this) {
            inside.sessions.remove(key);
        }
        drop(inside);
        if let Some(will) = will {
            events::will(device, will);
        }
        self.end_quietly(device);
    }

    fn end_quietly(&self, device: &Arc<Device>) {
        let mut state = device.lock();
        state.ended = true;
        let kept = std::mem::take(&mut state.kept);
        drop(state);
        device.listen();
        if kept {
            self.forget(device.number);
        }
    }

    fn forget(&self, number: u64) {
        if let Err(fault) = self.shared.store.forget_device(number) {
            tracing::warn!(%fault, "a session that has ended stays on disk until the next start");
        }
    }

    fn forget_message(&self, number: u64, seq: u64) {
        if let Err(fault) = self.shared.store.forget_message(number, seq) {
            tracing::warn!(%fault, "a message of a session stays on disk until the next start");
        }
    }

    /// Puts on disk how a session stands, if it is to outlive its connection; and takes it from
    /// there if it is not any more.
    fn keep(&self, device: &Arc<Device>) {
        let mut state = device.lock();
        if state.ended {
            return;
        }
        if state.expiry.is_zero() {
            if std::mem::take(&mut state.kept) {
                self.forget(device.number);
            }
            return;
        }
        state.kept = true;
        let kept = kept::device(device, &state);
        let told = |outcome: Result<(), Fault>| {
            if let Err(fault) = outcome {
                tracing::warn!(%fault, "a session of an MQTT client cannot be kept");
            }
        };
        let kept = self.shared.store.keep_device(kept, told);
        drop(state);
        if let Err(fault) = kept {
            tracing::warn!(%fault, "a session of an MQTT client cannot be kept");
        }
    }

    /// What is empty, where nothing else is known of a client.
    pub(super) fn fresh_client(&self) -> Arc<str> {
        let bits =
            crate::call::random_bits().unwrap_or_else(|| crate::call::ordered_id().as_u128());
        format!("callway-{bits:032x}").into()
    }
}

/// The session has a connection again, or has ended.
fn alone_no_more(inside: &mut Inside, state: &mut State) {
    if let Some(place) = state.place.take() {
        inside.alone.remove(&place);
    }
    if let Some(lingering) = state.lingering.take() {
        lingering.abort();
    }
}
