//! The bridge from channels to buses and methods: what an event owes to others is put on disk, and
//! one task for each bus sends it from there.
//!
//! The spool is always on the way, not only when a bus is away: so there is one path, in order,
//! whatever happens, and what was acknowledged is on disk whether or not the process lives on.

mod account;
mod backlog;
mod out;
mod record;
mod sender;
mod suspects;
mod waiters;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::{FutureExt as _, TryFutureExt as _};

use self::account::Outlet;
use self::out::Out;
use self::record::{Header, To};
use self::sender::Sender;
use self::waiters::{Arrival, Waiters};
use crate::auth::{Caller, Verb};
use crate::call::{Call, CallId, Deadline, Fault, Kind};
use crate::channel::{Event, Forwarded, Origin, Outward};
use crate::config::Channel;
use crate::context::Context;
use crate::link::amqp::AmqpLink;
use crate::link::mqtt::MqttLink;
use crate::oneway;
use crate::router::{Captures, Place};
use crate::spool::{Appended, Draft, Lane, Unkept};
use crate::store::Letter;

/// More than a one-way call takes in the spool beside its params: names of bounded length.
const CALL_HEADER: usize = 4096;

/// Takes events to where their rows send them.
pub struct Bridge {
    context: Context,
    buses: HashMap<Arc<str>, Bus>,
    accounts: Vec<Outlet>,
}

struct Bus {
    out: Out,
    /// The queue of its events in the spool.
    queue: String,
    waiters: Arc<Waiters>,
}

impl Bridge {
    /// Over the links of the daemon.
    pub fn new(
        context: &Context,
        mqtt: &HashMap<Arc<str>, MqttLink>,
        amqp: &HashMap<Arc<str>, AmqpLink>,
    ) -> Arc<Bridge> {
        let mqtt = mqtt
            .iter()
            .map(|(bus, link)| (bus, Out::Mqtt(link.clone())));
        let amqp = amqp
            .iter()
            .map(|(bus, link)| (bus, Out::Amqp(link.clone())));
        let bus = |(name, out): (&Arc<str>, Out)| {
            let bus = Bus {
                out,
                queue: format!("bus/{name}"),
                waiters: Arc::default(),
            };
            (name.clone(), bus)
        };
        Arc::new(Bridge {
            accounts: account::outlets(context),
            context: context.clone(),
            buses: mqtt.chain(amqp).map(bus).collect(),
        })
    }

    /// Sends what waits, and what comes, until the process stops.
    pub fn start(self: &Arc<Bridge>) {
        for (name, bus) in &self.buses {
            let sender = Sender {
                context: self.context.clone(),
                bus: name.clone(),
                out: bus.out.clone(),
                waiters: bus.waiters.clone(),
            };
            let consumer = self.context.spool.consume(&bus.queue);
            self.context.background.spawn(sender.run(consumer));
        }
        self.context.background.spawn(backlog::watch(self.clone()));
    }

    /// Puts a dead event back among those that wait.
    pub async fn revive(&self, letter: Letter) -> Result<(), Fault> {
        let header = serde_json::Value::Object(letter.headers);
        let header: Header = serde_json::from_value(header).map_err(|_| unfit())?;
        let bus = self.buses.get(&header.bus).ok_or_else(|| {
            let message = format!("there is no bus {} any more", header.bus);
            Fault::new(Kind::InvalidRequest, message)
        })?;
        let record = header.pack(&letter.body).ok_or_else(unfit)?;
        let lane = Lane::Named(header.to.lane());
        Ok(self.context.spool.append(&bus.queue, lane, record)?.await?)
    }

    /// Keeps all that is owed to buses and webhooks, or nothing, if there is no room for the calls
    /// either. Somebody may ask whether it arrived on the buses if it is `told`.
    fn spool(
        &self,
        debts: &[Debt],
        hooks: Vec<Draft<'_>>,
        calls: &[Call],
        told: bool,
    ) -> Result<(Vec<Appended>, Vec<Arrival>), Fault> {
        let mut buses = Vec::with_capacity(debts.len());
        let mut drafts = Vec::with_capacity(debts.len());
        for debt in debts {
            // The configuration names no bus that is not there.
            let bus = self.buses.get(&debt.header.bus).ok_or_else(unfit)?;
            buses.push(bus);
            drafts.push(Draft {
                queue: &bus.queue,
                lane: Lane::Named(debt.header.to.lane()),
                body: debt.header.pack(&debt.payload).ok_or_else(unfit)?,
            });
        }
        drafts.extend(hooks);
        let beside = calls.iter().map(|call| call.params.len() + CALL_HEADER);
        let beside = (!calls.is_empty()).then(|| (oneway::QUEUE, beside.sum()));
        let appended = self.context.spool.append_all(drafts, beside)?;
        let arrivals = match told {
            true => {
                let sent = buses.into_iter().zip(&appended);
                sent.map(|(bus, sent)| bus.waiters.wait(sent.id()))
                    .collect()
            }
            false => Vec::new(),
        };
        Ok((appended, arrivals))
    }
}

/// Done once something is on disk.
type Keeping = BoxFuture<'static, Result<(), Unkept>>;

/// What an event owes to one bus.
struct Debt {
    header: Header,
    payload: bytes::Bytes,
}

impl Outward for Bridge {
    fn forward(
        &self,
        event: &Event,
        row: &Arc<Channel>,
        origin: &Origin,
    ) -> Result<Option<Forwarded>, Fault> {
        let captures = row.pattern.captures(&event.channel);
        let debts = self.debts(event, row, origin, &captures)?;
        let calls = calls(&self.context, event, row, origin, &captures)?;
        let hooks = self.context.webhooks.owed(event);
        if debts.is_empty() && hooks.is_empty() && calls.is_empty() {
            return Ok(None);
        }
        // Nobody tells when a webhook has taken something: that may be in hours. And a bus never
        // asks.
        let told = hooks.is_empty() && matches!(origin, Origin::Client { .. });
        let (appended, arrivals) = self.spool(&debts, hooks, &calls, told)?;
        let appended = appended.into_iter().map(|appended| appended.boxed());
        let mut kept: Vec<Keeping> = appended.collect();
        for call in calls {
            let oneway = self.context.oneway.clone();
            // The first poll puts it into the spool, so it is polled now.
            let accepting = async move { oneway.accept(&call).await.map(drop) };
            let mut accepting = accepting.boxed();
            match (&mut accepting).now_or_never() {
                Some(Ok(())) => {}
                Some(Err(fault)) => return Err(fault),
                None => kept.push(accepting.err_into().boxed()),
            }
        }
        let delivered = async move {
            for arrival in arrivals {
                if !arrival.await {
                    return false;
                }
            }
            true
        };
        Ok(Some(Forwarded {
            kept: all(kept),
            delivered: told.then(|| delivered.boxed()),
        }))
    }
}

impl Bridge {
    /// The buses that an event goes to. None goes back over the bus on which it came.
    fn debts(
        &self,
        event: &Event,
        row: &Channel,
        origin: &Origin,
        captures: &Captures,
    ) -> Result<Vec<Debt>, Fault> {
        let came_over = match origin {
            Origin::Bus { name, .. } => Some(name),
            Origin::Client { .. } => None,
        };
        let debt = |bus: &Arc<str>, to: To| Debt {
            header: Header {
                bus: bus.clone(),
                to,
                channel: event.channel.clone(),
                event_id: event.id.to_string(),
                caller: match origin {
                    Origin::Client { caller, .. } => Some(caller.token().name.clone()),
                    Origin::Bus { .. } => None,
                },
                via: origin.via().as_str().to_owned(),
                hops: event.hops,
                traceparent: event.traceparent.clone(),
                form: event.payload.form(),
            },
            payload: event.payload.bytes().clone(),
        };
        let mut debts = Vec::new();
        if let Some(mqtt) = &row.mqtt
            && mqtt.direction.sends_out()
            && came_over != Some(&mqtt.bus)
        {
            let topic = mqtt.topic.expand(captures, Place::Topic)?;
            let qos = mqtt.qos;
            debts.push(debt(&mqtt.bus, To::Mqtt { topic, qos }));
        }
        if let Some(amqp) = &row.amqp
            && amqp.direction.sends_out()
            && came_over != Some(&amqp.bus)
        {
            let to = To::Amqp {
                exchange: amqp.exchange.clone(),
                routing_key: amqp.routing_key.expand(captures, Place::RoutingKey)?,
            };
            debts.push(debt(&amqp.bus, to));
        }
        for outlet in &self.accounts {
            if came_over != Some(&outlet.bus)
                && let Some(to) = outlet.address(&self.context, event, row)
            {
                debts.push(debt(&outlet.bus, to));
            }
        }
        Ok(debts)
    }
}

/// The calls of what is called with an event: by its row, and by scripts that subscribed.
fn calls(
    context: &Context,
    event: &Event,
    row: &Channel,
    origin: &Origin,
    captures: &Captures,
) -> Result<Vec<Call>, Fault> {
    let call = |method: Arc<str>, caller: Caller| Call {
        id: CallId::new(),
        method,
        params: event.payload.clone(),
        caller,
        via: origin.via(),
        deadline: Deadline::after(context.config.limits.timeout),
        hops: event.hops.saturating_add(1),
        traceparent: event.traceparent.clone(),
        key: None,
        http: None,
        progress: None,
    };
    let mut calls = Vec::new();
    if let Some(row) = &row.call {
        // The configuration names no token row that is not there.
        let caller = context.auth.by_name(&row.caller).ok_or_else(unfit)?;
        calls.push(call(
            row.method.expand(captures, Place::Name)?.into(),
            caller,
        ));
    }
    for subscription in context.scripts.of(&event.channel) {
        // Its token may have been revoked, or a grant taken away, since it subscribed.
        let caller = context.auth.by_name(&subscription.caller);
        let may = |caller: &Caller| caller.may(Verb::Subscribe, &event.channel);
        if let Some(caller) = caller.filter(may) {
            calls.push(call(subscription.method, caller));
        }
    }
    Ok(calls)
}

/// Done once all are; mostly there is one.
fn all(mut kept: Vec<Keeping>) -> Keeping {
    match (kept.pop(), kept.is_empty()) {
        (Some(one), true) => one,
        (last, _) => {
            kept.extend(last);
            async move { try_join_all(kept).await.map(drop) }.boxed()
        }
    }
}

fn unfit() -> Fault {
    Fault::new(Kind::Internal, "the event cannot be written down")
}
