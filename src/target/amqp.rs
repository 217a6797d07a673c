//! A service on AMQP that answers calls: one request each, its reply comes by direct reply-to.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Target;
use crate::call::{Call, Fault, Kind, Outcome, Payload, Reply, beside};
use crate::config::Limits;
use crate::link::amqp::{AmqpLink, Header, Message, Outgoing};
use crate::router::{Captures, Place, Template};

/// Calls go to one exchange, by a routing key that may hold captures.
pub struct AmqpTarget {
    link: AmqpLink,
    exchange: String,
    routing_key: Template,
    max_reply: usize,
    json_depth: usize,
}

impl AmqpTarget {
    /// A target behind an exchange; the empty one is the default exchange, whose routing keys are
    /// queue names.
    pub fn new(
        link: AmqpLink,
        exchange: &str,
        routing_key: &Template,
        limits: &Limits,
    ) -> AmqpTarget {
        AmqpTarget {
            link,
            exchange: exchange.into(),
            routing_key: routing_key.clone(),
            max_reply: limits.message,
            json_depth: limits.json_depth,
        }
    }

    async fn ask(&self, call: &Call, captures: &Captures) -> Outcome {
        let request = self.request(call, captures)?;
        let link = &self.link;
        // Awaited where it is made: kept in a variable, it would be held twice.
        let reply = link.request(&self.exchange, request, call.deadline).await?;
        self.outcome(&reply)
    }

    fn request(&self, call: &Call, captures: &Captures) -> Result<Outgoing, Fault> {
        let key = self.routing_key.expand(captures, Place::RoutingKey)?;
        let request = Outgoing::new(&self.exchange, &key, &call.params).ok_or_else(|| {
            Fault::new(
                Kind::InvalidRequest,
                "the method name makes a routing key of more than AMQP's 255 bytes",
            )
        })?;
        // An expiration of 0 would mean "only if somebody takes it at once".
        let left = (call.deadline.remaining().as_millis() as u64).max(1);
        let request = request
            .reply_here()
            .method(&call.method)
            .expires_after_ms(left)
            .text("call-id", &call.id.to_string())
            .number("deadline", call.deadline.unix_ms())
            .number(beside::HOPS, u64::from(call.hops) + 1);
        Ok(match &call.traceparent {
            Some(trace) => request.text("traceparent", trace),
            None => request,
        })
    }

    fn outcome(&self, reply: &Message) -> Outcome {
        if reply.body.len() > self.max_reply {
            let message = format!(
                "the service's reply has more than {} bytes; see limits.message",
                self.max_reply
            );
            return Err(Fault::new(Kind::TooLarge, message).handed_over());
        }
        let mut payload = Payload::from_body(reply.body.clone(), reply.content_type());
        let checked = payload.check(self.json_depth);
        match reply.header("status") {
            None | Some(Header::Text("ok")) => {}
            Some(status) => return Err(refused(status, &payload)),
        }
        checked.map_err(|fault| {
            let message = format!("the service's reply is not fit to travel: {fault}");
            Fault::new(Kind::TargetError, message)
        })?;
        Ok(Reply::new(payload))
    }
}

fn refused(status: Header<'_>, body: &Payload) -> Fault {
    let message = match status {
        Header::Text(status) => format!("the service answered with status {status:?}"),
        Header::Number(status) => format!("the service answered with status {status}"),
        Header::Other => "the service answered with an error".into(),
    };
    Fault::new(Kind::TargetError, message).with_raw_data(body.to_json_bytes())
}

impl Target for AmqpTarget {
    fn call<'a>(&'a self, call: &'a Call, captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        self.ask(call, captures).boxed()
    }
}
