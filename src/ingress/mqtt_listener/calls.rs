//! Calls that a client makes: the topic decides the shape, as on a bus.

use crate::auth::{Caller, Source};
use crate::call::{Call, CallId, Fault, Kind, Outcome, Via};
use crate::channel::Beside;
use crate::context::Context;
use crate::dialect::mqtt::{Message, Publish, topic};
use crate::ingress::accept::{Settled, accept, bury};
use crate::ingress::mqtt_bus::{Answer, Question, read_call, read_invoke};
use crate::link::mqtt::{Delivery, Properties, is_publishable};
use crate::oneway;

/// A call as it came: what is asked, or why that cannot be said, and where its outcome goes.
pub(super) struct Asked {
    question: Result<Question, Fault>,
    answer: Answer,
}

impl Asked {
    /// On a call topic.
    pub(super) fn read(context: &Context, publish: Publish) -> Asked {
        let delivery = delivery(publish);
        Asked::of(read_call(topic::CALLS, &context.config.limits, &delivery))
    }

    /// On an address of scriptr: of this channel, which has to be there.
    pub(super) fn invoke(context: &Context, channel: Option<&str>, publish: Publish) -> Asked {
        let (mut question, answer) = read_invoke(&context.config.limits, &delivery(publish));
        if let Some(channel) = channel.filter(|channel| context.hub.row(channel).is_none()) {
            let why = format!("The channel [{channel}] does not exist.");
            question = question.and(Err(Fault::new(Kind::MethodNotFound, why)));
        }
        Asked::of((question, answer))
    }

    fn of((mut question, mut answer): (Result<Question, Fault>, Answer)) -> Asked {
        if let Some(topic) = answer.topic.take_if(|topic| !is_publishable(topic)) {
            let length = topic.len();
            let why = format!("the reply address, of {length} bytes, is no topic to publish to");
            question = Err(Fault::new(Kind::InvalidRequest, why));
        }
        Asked { question, answer }
    }

    /// Whether its caller waits for a reply.
    pub(super) fn is_waited_for(&self) -> bool {
        self.answer.is_wanted()
    }

    /// Whether it is acknowledged only once it is on disk.
    pub(super) fn is_one_way(&self, context: &Context) -> bool {
        let question = self.question.as_ref();
        question.is_ok_and(|question| context.dispatcher.is_one_way(&question.method))
    }

    /// Takes the call to its outcome, and that to a message for the client.
    pub(super) async fn answered(
        self,
        context: Context,
        caller: Caller,
        source: Source,
    ) -> Message {
        let Asked { question, answer } = self;
        let id = CallId::new();
        let wanted = question.as_ref().ok().and_then(|question| question.wanted);
        let deadline = context.dispatcher.deadline(wanted);
        let outcome = match question {
            Ok(question) => match call(&context, id, &caller, &source, question).await {
                Ok(call) => context.dispatcher.call(call).await,
                Err(fault) => Err(fault),
            },
            Err(fault) => Err(fault),
        };
        let outcome = outcome.map_err(|mut fault| {
            fault.call_id.get_or_insert(id);
            fault
        });
        reply(&answer.message(&outcome, deadline))
    }

    /// Refuses the call without a try.
    pub(super) fn refused(self, context: &Context, fault: Fault) -> Message {
        let outcome: Outcome = Err(fault);
        reply(
            &self
                .answer
                .message(&outcome, context.dispatcher.deadline(None)),
        )
    }

    /// Takes up a call that nobody waits for; comes back once it is on disk, or refused for good.
    pub(super) async fn accepted(
        self,
        context: Context,
        caller: Caller,
        source: Source,
    ) -> Result<(), Fault> {
        let question = self.question?;
        let call = call(&context, CallId::new(), &caller, &source, question).await?;
        match accept(&context, &call).await {
            Ok(Settled::Done) => Ok(()),
            Ok(Settled::Again) => Err(Fault::shutting_down()),
            Err(fault) => {
                tracing::warn!(caller = caller.name(), call_id = %call.id, kind = %fault.kind,
                    why = %fault.message, "a call without reply address was refused");
                bury(&context, oneway::letter(&call, &fault)).await;
                Err(fault)
            }
        }
    }
}

/// A message as it would come from a broker.
fn delivery(publish: Publish) -> Delivery {
    let beside = publish.beside.map(|beside| *beside).unwrap_or_default();
    let properties = Properties {
        response_topic: beside.response_topic,
        correlation: beside.correlation,
        expiry: publish.expiry,
        content_type: beside.content_type,
        user: beside.user,
    };
    Delivery::new(publish.topic, publish.payload, publish.qos, properties)
}

async fn call(
    context: &Context,
    id: CallId,
    caller: &Caller,
    source: &Source,
    question: Question,
) -> Result<Call, Fault> {
    if let Some(token) = &question.token {
        let other = context.auth.authenticate(token, source).await?;
        if other.name() != caller.name() {
            let why = "the call carries another token than its connection";
            return Err(Fault::new(Kind::Unauthenticated, why));
        }
    }
    Ok(Call {
        id,
        caller: caller.clone(),
        method: question.method,
        params: question.params,
        via: Via::Mqtt,
        deadline: context.dispatcher.deadline(question.wanted),
        hops: question.hops,
        traceparent: question.traceparent,
        key: question.key,
        http: None,
        progress: None,
    })
}

fn reply(message: &crate::link::mqtt::Message) -> Message {
    let properties = &message.properties;
    let seconds = properties.expiry.unwrap_or(u32::MAX);
    Message {
        topic: message.topic.as_str().into(),
        payload: message.payload.clone(),
        qos: message.qos,
        beside: Some(std::sync::Arc::new(Beside {
            content_type: properties.content_type.clone(),
            correlation: properties.correlation.clone(),
            user: properties.user.clone(),
            ..Beside::default()
        })),
        expires: Some(crate::call::unix_ms() + u64::from(seconds) * 1000),
        ..Message::default()
    }
}
