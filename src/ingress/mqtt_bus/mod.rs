//! Calls that come in over an MQTT bus. Each is answered in a task of its own: the broker waits
//! for nothing but the acknowledgement, which is sent on arrival.

mod answer;
mod question;

use std::sync::Arc;

use tokio::sync::Semaphore;

use self::answer::Answer;
use self::question::Question;
use crate::auth::{Caller, Source};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Outcome, Via};
use crate::config::{Identity, MqttBus};
use crate::context::Context;
use crate::link::mqtt::{Deliveries, Delivery, MqttLink, Receipt};

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
            context: context.clone(),
        }))
    }
}

impl Deliveries for MqttCalls {
    fn deliver(&self, link: &MqttLink, delivery: Delivery, receipt: Receipt) {
        // On arrival: the outcome of a call is its reply.
        receipt.ack();
        let shared = &self.0;
        if delivery.retained {
            // It would come again with every subscription, long after anybody waits.
            shared.context.metrics.dropped("mqtt", "retained_call");
            return;
        }
        let Ok(place) = shared.places.clone().try_acquire_owned() else {
            shared.refuse(link, delivery);
            return;
        };
        let (shared, link) = (shared.clone(), link.clone());
        self.0.context.tasks.spawn(async move {
            shared.serve(&link, delivery).await;
            drop(place);
        });
    }
}

impl Shared {
    async fn serve(&self, link: &MqttLink, delivery: Delivery) {
        let id = CallId::new();
        let limits = &self.context.config.limits;
        let (question, answer) = question::read(&self.bus, limits, delivery);
        if !self.may_answer(&answer) {
            return;
        }
        let wanted = question.as_ref().ok().and_then(|question| question.wanted);
        let deadline = self.context.dispatcher.deadline(wanted);
        let outcome = match question {
            Ok(question) => self.call(id, deadline, question).await,
            Err(fault) => Err(fault),
        };
        let outcome = outcome.map_err(|mut fault| {
            fault.call_id = Some(id);
            fault
        });
        self.reply(link, id, deadline, answer, outcome).await;
    }

    async fn call(&self, id: CallId, deadline: Deadline, question: Question) -> Outcome {
        let call = Call {
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
        };
        self.context.dispatcher.call(call).await
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
        if !answer.is_wanted() {
            match &outcome {
                Ok(_) => {
                    tracing::debug!(%bus, call_id = %id, "a call without reply address is done")
                }
                Err(fault) => {
                    tracing::info!(%bus, call_id = %id, kind = %fault.kind, "a call without reply address failed");
                }
            }
            return;
        }
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
    fn refuse(self: &Arc<Self>, link: &MqttLink, delivery: Delivery) {
        let metrics = &self.context.metrics;
        metrics.limit_reached("bus_calls");
        let (_, answer) = question::read(&self.bus, &self.context.config.limits, delivery);
        if !answer.is_wanted() || !self.may_answer(&answer) {
            return;
        }
        let mut fault = Fault::new(
            Kind::Overloaded,
            "too many calls are under way on this bus, try again soon",
        )
        .with_retry_after(std::time::Duration::from_secs(1));
        fault.call_id = Some(CallId::new());
        let deadline = self.context.dispatcher.deadline(None);
        if link.send(answer.message(&Err(fault), deadline)).is_err() {
            metrics.dropped("mqtt", "reply_not_sent");
        }
    }
}
