//! All sessions, by caller and client identifier: whoever connects takes up its own, and nobody
//! else's. Those that outlive their connection are bounded in number and in time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::device::{Connection, Device, Shared, State};
use super::kept;
use super::names::Names;
use super::wills::Pending;
use crate::auth::Caller;
use crate::call::Fault;
use crate::config::MqttOptions;
use crate::context::Context;
use crate::dialect::mqtt::{Connect, Room, Session};

/// Bytes that may wait for one client, for each message that may.
const ROOM: usize = 4096;

/// The registry of sessions.
pub struct Devices {
    shared: Arc<Shared>,
    inside: Mutex<Inside>,
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

/// How a connection ends, as far as the will of its client is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// The client said goodbye: it is forgotten.
    Goodbye,
    /// The client is lost, or was sent away, or asked for it.
    Lost,
    /// callway ends.
    Shutdown,
}

/// A session that a connection has taken up.
pub(super) struct Claim {
    pub(super) device: Arc<Device>,
    /// Names the connection.
    pub(super) connection: u64,
    /// It was there before.
    pub(super) present: bool,
}

pub(super) fn room(options: &MqttOptions) -> Room {
    Room {
        messages: options.queue,
        bytes: options.queue.saturating_mul(ROOM),
    }
}

impl Devices {
    /// Without a session.
    pub(super) fn new(context: &Context) -> Devices {
        Devices {
            shared: Arc::new(Shared {
                names: Names::of(&context.config),
                hub: Arc::downgrade(&context.hub),
                store: context.store.clone(),
                metrics: context.metrics.clone(),
                background: context.background.clone(),
                wills: AtomicUsize::new(0),
            }),
            inside: Mutex::default(),
            stop: context.stop.clone(),
            most: context.config.limits.connections,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// No number is given twice: these were, up to this one.
    pub(super) fn count_on_from(&self, last: u64) {
        self.inside.lock().count = last;
    }

    /// Adds the session of an earlier process, which lives on for `life` without a connection. Its
    /// client finds the newest that it had.
    pub(super) fn add_alone(self: &Arc<Self>, device: &Arc<Device>, life: Duration) {
        let key = (device.caller.token().name.clone(), device.client.clone());
        let mut inside = self.inside.lock();
        let its = inside.sessions.entry(key.clone());
        let newest = its.or_insert_with(|| device.clone());
        if newest.number < device.number {
            *newest = device.clone();
        }
        drop(inside);
        self.leave_alone(device, &key, life);
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
        let (mut present, mut will) = (false, None);
        if let Some(known) = &known {
            let mut state = known.lock();
            let was_connected = state.connection.is_some();
            state.wake();
            state.connection = None;
            // One that was to end with its connection does so now, or did.
            let ends = connect.clean || state.expiry.is_zero();
            present = !(ends || state.ended || known.caller.has_ended());
            // §3.1.2.5: a delayed one is not published if the session goes on.
            will = state.will.take().map(|will| {
                let over = match was_connected {
                    true => !present || will.delay.is_zero(),
                    false => !present && !will.excused,
                };
                (will, over)
            });
            alone_no_more(&mut inside, &mut state);
        }
        let device = match &known {
            Some(known) if present => known.clone(),
            _ => {
                let number = inside.count();
                let session = Session::new(room(options));
                Device::new(number, (caller.clone(), client), session, &self.shared)
            }
        };
        let connection = inside.count();
        inside.sessions.insert(key, device.clone());
        // Before anybody else finds it, so that of two at once the second takes over.
        let mut state = device.lock();
        state.connection = Some(Connection::new(connection));
        state.expiry = expiry;
        let next = connect.will.clone();
        state.will = next.map(|will| Pending::of(&device, connection, will));
        drop(state);
        drop(inside);
        if let Some(known) = &known {
            match will {
                Some((will, true)) => will.publish(known),
                Some((will, false)) => will.forget(known),
                None => {}
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

    /// A connection has ended.
    pub(super) fn leave(self: &Arc<Self>, device: &Arc<Device>, connection: u64, parting: Parting) {
        let key = (device.caller.token().name.clone(), device.client.clone());
        let mut state = device.lock();
        if !state.is_of(connection) {
            return; // taken over
        }
        state.connection = None;
        state.session.drop_unkept();
        let ends = state.expiry.is_zero() || device.caller.has_ended();
        let expiry = state.expiry;
        let mut now = None;
        match (parting, state.will.take()) {
            (_, None) => {}
            (Parting::Goodbye, Some(will)) => will.forget(device),
            // It stays on disk: the next start publishes it, if the client does not come back.
            (Parting::Shutdown, Some(_will)) => {}
            (Parting::Lost, Some(will)) if ends || will.delay.is_zero() => now = Some(will),
            (Parting::Lost, Some(mut will)) => {
                will.delay = will.delay.min(expiry);
                state.will = Some(will);
            }
        }
        drop(state);
        if let Some(will) = now {
            will.publish(device);
        }
        if ends {
            return self.end(device, &key);
        }
        self.keep(device);
        self.leave_alone(device, &key, expiry);
    }

    /// Lets a session wait for its client, until its time is over.
    fn leave_alone(self: &Arc<Self>, device: &Arc<Device>, key: &Key, life: Duration) {
        let mut inside = self.inside.lock();
        let mut state = device.lock();
        if state.connection.is_some() || state.ended {
            return; // it came back meanwhile
        }
        let delay = state.will.as_ref().map(|will| will.delay);
        let (devices, waiting, its) = (self.clone(), device.clone(), key.clone());
        let ended = device.caller.ended();
        let stop = self.stop.clone();
        let lingering = async move {
            let living = async {
                if let Some(delay) = delay {
                    sleep(delay).await;
                    let will = waiting.lock().will.take();
                    if let Some(will) = will {
                        will.publish(&waiting);
                    }
                }
                sleep(life.saturating_sub(delay.unwrap_or_default())).await;
            };
            tokio::select! {
                () = living => {}
                () = ended => {}
            }
            devices.end(&waiting, &its);
        };
        let lingering = self.shared.background.spawn(async move {
            tokio::select! {
                () = lingering => {}
                () = stop.cancelled() => {}
            }
        });
        state.lingering = Some(lingering.abort_handle());
        if state.expiry.is_zero() {
            return; // nothing but its will
        }
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
        let will = state.will.take();
        alone_no_more(&mut inside, &mut state);
        drop(state);
        let this = |one: &Arc<Device>| Arc::ptr_eq(one, device);
        if inside.sessions.get(key).is_some_and(this) {
            inside.sessions.remove(key);
        }
        drop(inside);
        if let Some(will) = will {
            will.publish(device);
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

    pub(super) fn forget(&self, number: u64) {
        if let Err(fault) = self.shared.store.forget_device(number) {
            tracing::warn!(%fault, "a session that has ended stays on disk until the next start");
        }
    }

    pub(super) fn forget_message(&self, number: u64, seq: u64) {
        if let Err(fault) = self.shared.store.forget_message(number, seq) {
            tracing::warn!(%fault, "a message of a session stays on disk until the next start");
        }
    }

    /// Puts on disk how a session stands, if it is to outlive its connection; and takes it from
    /// there if it is not any more.
    pub(super) fn keep(&self, device: &Arc<Device>) {
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
