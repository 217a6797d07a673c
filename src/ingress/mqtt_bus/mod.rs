//! Calls that come in over an MQTT bus. Each is taken up in a task of its own, so that none waits
//! for another: acknowledgements are in order. One with a reply address is acknowledged on arrival,
//! one without when it is on disk.

mod answer;
mod events;
mod question;
mod scriptr;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

pub(super) use self::answer::Answer;
pub use self::events::MqttEvents;
pub(super) use self::question::{Question, invoke as read_invoke, read as read_call};
pub use self::scriptr::MqttAddresses;
use crate::auth::{Caller, Source};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Outcome, Via};
use crate::config::{Identity, Limits, MqttBus};
use crate::context::Context;
use crate::dialect::envelope::without_token;
use crate::ingress::accept::{Settled, accept, bury};
use crate::link::mqtt::{Deliveries, Delivery, MqttLink, Receipt};
use crate::oneway;
use crate::store::{Letter, LetterKind};

/// Takes the calls of one bus.
pub struct MqttCalls(Arc<Shared>);

struct Shared {
    context: Context,
    bus: Arc<MqttBus>,
    source: Source,
    /// Who calls without a credential.
    caller: Option<Caller>,
    /// One place for each call under way, those included that wait to be authenticated.
    places: Arc<Semaphore>,
    /// The same for calls without reply address at QoS 0, which may wait for a disk.
    waiting_places: Arc<Semaphore>,
}

impl MqttCalls {
    /// For the calls below [`MqttBus::calls`].
    pub fn new(context: &Context, bus: &Arc<MqttBus>) -> MqttCalls {
        let caller = bus.common.caller.as_deref();
        MqttCalls(Arc::new(Shared {
            bus: bus.clone(),
            source: Source::bus(bus.common.name.clone()),
            caller: caller.and_then(|name| context.auth.by_name(name)),
            places: Arc::new(Semaphore::new(context.config.limits.in_flight)),
            waiting_places: Arc::new(Semaphore::new(context.config.limits.in_flight)),
            context: context.clone(),
        }))
    }
}

impl Deliveries for MqttCalls {
    fn deliver(&self, link: &MqttLink, delivery: Delivery, receipt: Receipt) {
        let (question, answer) = read_call(self.0.calls(), self.0.limits(), &delivery);
        self.take(link, question, answer, delivery, receipt);
    }
}

impl MqttCalls {
    /// Takes up what a delivery asks for.
    fn take(
        &self,
        link: &MqttLink,
        question: Result<Question, Fault>,
        answer: Answer,
        delivery: Delivery,
        receipt: Receipt,
    ) {
        let shared = &self.0;
        if delivery.retained {
            // It would come again with every subscription, long after anybody waits.
            shared.context.metrics.dropped("mqtt", "retained_call");
            return receipt.ack();
        }
        if answer.is_wanted() {
            shared.answer(link, question, answer, receipt);
        } else {
            shared.accept(question, delivery, receipt);
        }
    }
}

impl Shared {
    /// The topic below which calls are published.
    fn calls(&self) -> &str {
        self.bus.calls.as_deref().unwrap_or_default()
    }

    fn limits(&self) -> &Limits {
        &self.context.config.limits
    }

    /// Takes up a call whose caller waits for a reply: its outcome, or a receipt.
    fn answer(
        self: &Arc<Self>,
        link: &MqttLink,
        question: Result<Question, Fault>,
        answer: Answer,
        receipt: Receipt,
    ) {
        if !self.may_answer(&answer) {
            return receipt.ack();
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            receipt.ack();
            return self.refuse(link, &answer);
        };
        let dispatcher = &self.context.dispatcher;
        let one_way = question.as_ref();
        let one_way = one_way.is_ok_and(|question| dispatcher.is_one_way(&question.method));
        let receipt = match one_way {
            true => Some(receipt),
            // On arrival: the outcome of a call is its reply.
            false => {
                receipt.ack();
                None
            }
        };
        let (shared, link) = (self.clone(), link.clone());
        self.context.tasks.spawn(async move {
            shared.serve(&link, question, answer, receipt).await;
            drop(place);
        });
    }

    async fn serve(
        &self,
        link: &MqttLink,
        question: Result<Question, Fault>,
        answer: Answer,
        receipt: Option<Receipt>,
    ) {
        let id = CallId::new();
        let wanted = question.as_ref().ok().and_then(|question| question.wanted);
        let deadline = self.context.dispatcher.deadline(wanted);
        let call = match question {
            Ok(question) => self.call(id, deadline, question).await,
            Err(fault) => Err(fault),
        };
        let outcome = match call {
            Ok(call) => self.context.dispatcher.call(call).await,
            Err(fault) => Err(fault),
        };
        // It is on disk, or its caller is told that it is not.
        if let Some(receipt) = receipt {
            receipt.ack();
        }
        let outcome = outcome.map_err(|mut fault| {
            fault.call_id.get_or_insert(id);
            fault
        });
        self.reply(link, id, deadline, answer, outcome).await;
    }

    /// Takes up a call that nobody waits for: it is acknowledged once it is on disk.
    fn accept(
        self: &Arc<Self>,
        question: Result<Question, Fault>,
        delivery: Delivery,
        receipt: Receipt,
    ) {
        let Ok(place) = self.waiting_place(delivery.qos) else {
            return receipt.ack();
        };
        let shared = self.clone();
        self.context.tasks.spawn(async move {
            match shared.settle(question, &delivery).await {
                Settled::Done => receipt.ack(),
                Settled::Again => receipt.leave(),
            }
            drop(place);
        });
    }

    /// A place for what may wait for a disk; counts what finds none.
    fn waiting_place(&self, qos: u8) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
        // What comes with QoS 1 or 2 has a bound already: that on what is not acknowledged.
        if qos > 0 {
            return Ok(None);
        }
        let place = self.waiting_places.clone().try_acquire_owned();
        if place.is_err() {
            self.context.metrics.limit_reached("bus_calls");
            self.context.metrics.dropped("mqtt", "no_place");
        }
        place.map(Some)
    }

    async fn settle(&self, question: Result<Question, Fault>, delivery: &Delivery) -> Settled {
        let id = CallId::new();
        let question = match question {
            Ok(question) => question,
            Err(fault) if fault.kind == Kind::Unauthenticated => return self.ignore(id, &fault),
            Err(fault) => return bury(&self.context, self.letter(delivery, &fault)).await,
        };
        let deadline = self.context.dispatcher.deadline(question.wanted);
        let call = match self.call(id, deadline, question).await {
            Ok(call) => call,
            Err(fault) => return self.ignore(id, &fault),
        };
        match accept(&self.context, &call).await {
            Ok(settled) => settled,
            Err(fault) => {
                self.tell(id, &fault);
                bury(&self.context, oneway::letter(&call, &fault)).await
            }
        }
    }

    /// Nobody can tell whose it is, so nothing of it is kept: anybody could fill the disk.
    fn ignore(&self, id: CallId, fault: &Fault) -> Settled {
        self.context.metrics.dropped("mqtt", "no_call");
        self.tell(id, fault);
        Settled::Done
    }

    fn tell(&self, id: CallId, fault: &Fault) {
        let bus = &self.bus.common.name;
        tracing::warn!(%bus, call_id = %id, kind = %fault.kind, why = %fault.message,
            "a call without reply address was refused");
    }

    /// A message that can never be a call, without its credential.
    fn letter(&self, delivery: &Delivery, fault: &Fault) -> Letter {
        self.context.metrics.dropped("mqtt", "poison");
        let bus = &self.bus.common.name;
        tracing::warn!(%bus, kind = %fault.kind, why = %fault.message, "a message that is no call was put aside");
        let beside = json!({
            "bus": bus,
            "content_type": delivery.properties.content_type,
        });
        let (kind, body) = (LetterKind::Message, without_token(&delivery.payload));
        Letter::new(kind, delivery.topic(), bus, fault, &beside, body)
    }

    async fn call(
        &self,
        id: CallId,
        deadline: Deadline,
        question: Question,
    ) -> Result<Call, Fault> {
        Ok(Call {
            id,
            caller: self.authenticate(&question).await?,
            method: question.method,
            params: question.params,
            via: Via::Mqtt,
            deadline,
            hops: question.hops,
            traceparent: question.traceparent,
            key: question.key,
            http: None,
            progress: None,
        })
    }

    async fn authenticate(&self, question: &Question) -> Result<Caller, Fault> {
        let token = match self.bus.common.identity {
            Identity::Token => question.token.as_ref(),
            // MQTT brokers tell no user, so only the bus's own caller is left.
            Identity::UserId | Identity::None => None,
        };
        match (token, &self.caller) {
            (Some(token), _) => self.context.auth.authenticate(token, &self.source).await,
            (None, Some(caller)) => Ok(caller.clone()),
            (None, None) => Err(Fault::new(
                Kind::Unauthenticated,
                "the call carries no token, and its bus names no caller",
            )),
        }
    }

    /// Replies go only where the configuration allows: nobody can make callway publish to a
    /// topic of somebody else. Such a call is not run, because its caller could not be told.
    fn may_answer(&self, answer: &Answer) -> bool {
        let allowed = answer.is_allowed(&self.bus.reply_topics);
        if !allowed {
            self.context
                .metrics
                .dropped("mqtt", "forbidden_reply_address");
            tracing::info!(
                bus = %self.bus.common.name,
                "a call was not run, its reply address is outside of reply_topics"
            );
        }
        allowed
    }

    async fn reply(
        &self,
        link: &MqttLink,
        id: CallId,
        deadline: Deadline,
        answer: Answer,
        outcome: Outcome,
    ) {
        let bus = &self.bus.common.name;
        let mut sent = link.publish(answer.message(&outcome, deadline)).await;
        if let Err(fault) = &sent
            && fault.kind == Kind::TooLarge
        {
            let mut fault = fault.clone();
            fault.call_id = Some(id);
            sent = link.publish(answer.message(&Err(fault), deadline)).await;
        }
        if let Err(fault) = sent {
            self.context.metrics.dropped("mqtt", "reply_not_sent");
            tracing::debug!(%bus, call_id = %id, %fault, "a reply could not be sent");
        }
    }

    /// Too many calls are under way. This runs in the link's own task, so it only queues.
    fn refuse(&self, link: &MqttLink, answer: &Answer) {
        let metrics = &self.context.metrics;
        metrics.limit_reached("bus_calls");
        let mut fault = Fault::new(
            Kind::Overloaded,
            "too many calls are under way on this bus, try again soon",
        )
        .with_retry_after(Duration::from_secs(1));
        fault.call_id = Some(CallId::new());
        let deadline = self.context.dispatcher.deadline(None);
        if link.send(answer.message(&Err(fault), deadline)).is_err() {
            metrics.dropped("mqtt", "reply_not_sent");
        }
    }
}
