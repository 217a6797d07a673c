//! The HTTP twins of the actions: one request, one action.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::http::request::Parts;

use super::{Desk, SOCKET};
use crate::auth::Source;
use crate::call::{HttpParts, Via};
use crate::config::ActionOptions;
use crate::dialect::action::{Action, Rest, Step, VERBS};
use crate::dialect::http::{self as dialect, Answer, Head, Terms};
use crate::ingress::connection::{Visit, turn_away};
use crate::ingress::http::{self, Response};
use crate::ingress::upgrade;

/// Answers a request; `below` is its path below the endpoint, with its leading slash.
pub(in crate::ingress) async fn exchange(
    request: Request<Incoming>,
    visit: &Visit,
    options: &Arc<ActionOptions>,
    below: &str,
) -> Response {
    let twins = Twins {
        rest: Rest::new(options.clone()),
        visit,
        options,
    };
    if visit.beyond {
        return turn_away(visit, |fault| twins.rest.refuse(fault));
    }
    if let Err(fault) = visit.door.check_origin(request.headers()) {
        return http::write(twins.rest.refuse(&fault));
    }
    let (parts, body) = request.into_parts();
    let head = http::head_of(&parts, below.trim_start_matches('/'));
    let origins = visit.door.config.allowed_origins.as_deref();
    if dialect::is_preflight(&head) {
        return http::write(dialect::preflight(&head, VERBS, origins));
    }
    let answer = twins.answer(&parts, &head, body).await;
    http::write(dialect::allow_origin(
        answer,
        head.header("origin"),
        origins,
    ))
}

struct Twins<'a> {
    rest: Rest,
    visit: &'a Visit,
    options: &'a Arc<ActionOptions>,
}

impl Twins<'_> {
    async fn answer(&self, parts: &Parts, head: &Head, body: Incoming) -> Answer {
        if head.path.trim_end_matches('/') == SOCKET {
            return upgrade::required();
        }
        if let Some(answer) = self.rest.at_once(head) {
            return answer;
        }
        let context = &self.visit.context;
        let body = match http::read_body(context, parts, body).await {
            Ok(body) => body,
            Err(fault) => return self.rest.refuse(&fault),
        };
        match self.rest.read(head, &body) {
            Err(answer) => answer,
            Ok((action, seen)) => {
                let terms = Terms::of(head, context.config.limits.max_timeout);
                let answer = self.carry_out(action, seen, &terms, parts).await;
                terms.tell(answer)
            }
        }
    }

    async fn carry_out(
        &self,
        action: Action,
        seen: HttpParts,
        terms: &Terms,
        parts: &Parts,
    ) -> Answer {
        let Action { question, mut plan } = action;
        let address = self.visit.door.client(self.visit.peer, &parts.headers);
        let source = Source::Peer {
            address,
            via: Via::Http,
        };
        let context = &self.visit.context;
        let desk = Desk::new(context.clone(), self.options.clone(), source);
        let answered = Arc::new(desk).answer(question).await;
        match plan.answered(answered) {
            Step::Say(said) => said.to_answer(),
            Step::Call(caller, method, params) => {
                let request = dialect::Request {
                    method: method.to_string(),
                    params,
                    parts: seen,
                };
                let call = http::call(context, caller, request, terms);
                plan.outcome(context.dispatcher.call(call).await)
                    .to_answer()
            }
        }
    }
}
