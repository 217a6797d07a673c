//! Calls that come in over an AMQP bus: from a delivery to its call, its answer and its end.

mod events;
mod guard;
mod request;

use std::sync::Arc;
use std::time::Duration;

use self::events::serve_events;
use self::guard::Guard;
use self::request::{Address, Refusal, Request};
use crate::auth::{Caller, Secret, Source};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Outcome, Payload, Via};
use crate::config::{AmqpBus, Identity};
use crate::context::Context;
use crate::dialect::envelope::without_token;
use crate::ingress::accept::{Settled, accept, bury};
use crate::link::amqp::{AmqpLink, Delivery, Message, Outgoing};
use crate::oneway;
use crate::store::{Letter, LetterKind};

/// How long an answer may wait for the broker to take it, over a reconnect if need be.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a message to keep may wait for the same.
const PARK: Duration = Duration::from_secs(60);

/// Takes calls from the bus's queue, if it has one, and events, and what comes to scriptr's
/// addresses.
pub fn serve(context: &Context, bus: &Arc<AmqpBus>, link: &AmqpLink) {
    let desk = Arc::new(Desk {
        context: context.clone(),
        guard: Guard::new(bus),
        source: Source::Bus(bus.common.name.clone()),
        bus: bus.clone(),
        link: link.clone(),
    });
    serve_events(context, bus, link, desk.clone());
    let Some(queue) = &bus.calls else { return };
    link.receive(queue, move |message, delivery| {
        desk.clone().take_up(message, delivery);
    });
}

/// Where the calls of one bus are taken up.
struct Desk {
    context: Context,
    bus: Arc<AmqpBus>,
    guard: Guard,
    source: Source,
    link: AmqpLink,
}

impl Desk {
    /// In a task of its own.
    fn take_up(self: Arc<Self>, message: Message, delivery: Delivery) {
        let tasks = self.context.tasks.clone();
        tasks.spawn(async move { self.take(message, delivery).await });
    }

    async fn take(&self, message: Message, delivery: Delivery) {
        let limits = &self.context.config.limits;
        let request = match Request::read(&message, limits) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(&message, delivery, *refusal).await,
        };
        if let Some(address) = &request.address
            && !self.guard.allows(address)
        {
            self.context
                .metrics
                .dropped("amqp", "forbidden_reply_address");
            tracing::warn!(bus = %self.bus.common.name, method = request.method,
                "a call was refused: its reply address is not allowed");
            return delivery.ack();
        }
        match request.address.clone() {
            Some(address) => {
                let outcome = match self.call(request).await {
                    Ok(call) => self.context.dispatcher.call(call).await,
                    Err(fault) => Err(fault),
                };
                self.answer(&address, outcome, delivery);
            }
            None => self.accept(request, &message, delivery).await,
        }
    }

    /// Nobody waits for the outcome: the delivery is acknowledged once the call is on disk.
    async fn accept(&self, request: Request, message: &Message, delivery: Delivery) {
        let call = match self.call(request).await {
            Ok(call) => call,
            Err(fault) => {
                self.tell(&fault);
                return delivery.ack();
            }
        };
        let settled = match accept(&self.context, &call).await {
            Ok(settled) => settled,
            Err(fault) => {
                self.tell(&fault);
                if fault.kind == Kind::ParseError {
                    return self.park(message, delivery, &fault).await;
                }
                bury(&self.context, oneway::letter(&call, &fault)).await
            }
        };
        match settled {
            Settled::Done => delivery.ack(),
            Settled::Again => drop(delivery),
        }
    }

    async fn call(&self, request: Request) -> Result<Call, Fault> {
        let dispatcher = &self.context.dispatcher;
        // Before authentication, which may take a while when somebody guesses tokens.
        let mut deadline = dispatcher.deadline(request.timeout);
        if let Some(sooner) = request.deadline {
            deadline = deadline.min(sooner);
        }
        let id = CallId::new();
        let caller = self.caller(request.token, request.user_id).await;
        let caller = caller.map_err(|mut fault| {
            fault.call_id = Some(id);
            fault
        })?;
        Ok(Call {
            id,
            method: request.method.into(),
            params: request.params,
            caller,
            via: Via::Amqp,
            deadline,
            hops: request.hops,
            traceparent: request.traceparent,
            key: request.key,
            http: None,
            progress: None,
        })
    }

    /// Who calls, by the kind of credential that counts on this bus.
    async fn caller(
        &self,
        token: Option<Secret>,
        user_id: Option<String>,
    ) -> Result<Caller, Fault> {
        let auth = &self.context.auth;
        match self.bus.common.identity {
            Identity::Token => {
                if let Some(token) = token {
                    return auth.authenticate(&token, &self.source).await;
                }
            }
            Identity::UserId => {
                if let Some(user) = user_id {
                    return auth.by_name(&user).ok_or_else(|| {
                        self.context.metrics.auth_refused("amqp");
                        Fault::new(Kind::Unauthenticated, "no token row has this user's name")
                    });
                }
            }
            Identity::None => {}
        }
        let anonymous = self.bus.common.caller.as_deref();
        anonymous
            .and_then(|name| auth.by_name(name))
            .ok_or_else(|| {
                self.context.metrics.auth_refused("amqp");
                Fault::new(
                    Kind::Unauthenticated,
                    "the message carries no credential; set the header `token`",
                )
            })
    }

    /// A message that is no call: answered if somebody waits, kept for people to look at if not.
    async fn refuse(&self, message: &Message, delivery: Delivery, refusal: Refusal) {
        let Refusal { mut fault, address } = refusal;
        fault.call_id = Some(CallId::new());
        match address {
            Some(address) if self.guard.allows(&address) => {
                self.answer(&address, Err(fault), delivery);
            }
            Some(_) => {
                self.context
                    .metrics
                    .dropped("amqp", "forbidden_reply_address");
                delivery.ack();
            }
            None if fault.kind == Kind::Unauthenticated => {
                self.context.metrics.auth_refused("amqp");
                delivery.ack();
            }
            None => self.park(message, delivery, &fault).await,
        }
    }

    fn answer(&self, address: &Address, outcome: Outcome, delivery: Delivery) {
        let (status, payload) = match &outcome {
            Ok(reply) => ("ok", reply.payload.clone()),
            Err(fault) => (fault.kind.as_str(), Payload::json(fault.to_json())),
        };
        match address.message(&payload) {
            Some(answer) => {
                let answer = answer.text("status", status);
                self.link.answer(answer, delivery, Deadline::after(ANSWER));
            }
            // Longer than any address can be; the guard lets none of them through.
            None => delivery.ack(),
        }
    }

    fn tell(&self, fault: &Fault) {
        tracing::warn!(bus = %self.bus.common.name, call_id = ?fault.call_id.map(|id| id.to_string()),
            kind = %fault.kind, "a call without a reply address was refused");
    }

    /// Keeps a message that can never be a call, without its credential: among the dead letters,
    /// and in the broker's own queue of them.
    async fn park(&self, message: &Message, delivery: Delivery, fault: &Fault) {
        self.context.metrics.dropped("amqp", "parked");
        let bus = &self.bus.common.name;
        tracing::warn!(%bus, kind = %fault.kind, why = %fault.message, "a message that is no call was parked");
        let body = without_token(&message.body);
        let place = serde_json::json!({
            "bus": bus, "exchange": message.exchange, "routing_key": message.routing_key,
        });
        let (kind, key) = (LetterKind::Message, &message.routing_key);
        let letter = Letter::new(kind, key, bus, fault, &place, body.clone());
        if bury(&self.context, letter).await == Settled::Again {
            return drop(delivery);
        }
        let kept: Outgoing = message
            .to_keep(body, &["token"])
            .text("reason", &fault.to_string())
            .text("source", bus);
        self.link.park(kept, delivery, Deadline::after(PARK));
    }
}
