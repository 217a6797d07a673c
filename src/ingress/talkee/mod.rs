//! Talkee endpoints: WebSockets whose first message says who listens, and the HTTP form.

mod members;
mod request;

use std::sync::Arc;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{HeaderMap, Request};

use self::members::Members;
use self::request::Asked;
use super::connection::Visit;
use super::http::{self, Response};
use super::upgrade::Opening;
use super::ws::Introduced;
use crate::auth::{Secret, Source};
use crate::call::{Fault, Kind, Via};
use crate::config::TalkeeOptions;
use crate::context::Context;
use crate::dialect::CloseCode;
use crate::dialect::talkee::{
    Conversation, Refusal, User, Wanted, channel, cors, first, read, refuse,
};

/// What a WebSocket in a room is opened with; `None` if the request names no room.
pub(super) fn open<B>(
    request: &Request<B>,
    options: &Arc<TalkeeOptions>,
    rest: &str,
    visit: &Visit,
) -> Option<Opening> {
    if rest.trim_matches('/') != "ws" {
        return None;
    }
    let head = http::head(request.method(), request.uri(), request.headers(), rest);
    let room = channel(options, &head).ok()?;
    let (options, source) = (options.clone(), source(visit, request.headers(), Via::Ws));
    Some(Opening::Stranger(Box::new(move |text, context| {
        async move {
            let Some(token) = first(&text) else {
                let why = "the first message is {\"type\":\"auth\",\"token\":\"…\"}";
                return Err((CloseCode::Unauthenticated, why));
            };
            introduce(&token, room, options, &source, &context).await
        }
        .boxed()
    })))
}

async fn introduce(
    token: &Secret,
    room: Arc<str>,
    options: Arc<TalkeeOptions>,
    source: &Source,
    context: &Context,
) -> Introduced {
    let members = Members::new(options.clone(), context.auth.clone());
    let proved = members.prove(token, source).await;
    let caller = proved.map_err(|_fault| (CloseCode::Unauthenticated, "the token is not known"))?;
    let me = User::of_caller(&options, caller.name()).id;
    let name = caller.token().name.clone();
    let again = move |token: &Secret| {
        let known = members.look_up(token);
        known.is_some_and(|caller| caller.name() == &*name)
    };
    let session = Conversation::new(room, me, context.seal.clone(), Box::new(again));
    Ok((caller, Box::new(session)))
}

/// Answers a request that stays one.
pub(super) async fn serve(
    request: Request<Incoming>,
    options: Arc<TalkeeOptions>,
    rest: &str,
    visit: &Visit,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = rest.strip_prefix('/').unwrap_or(rest);
    let head = http::head_of(&parts, path);
    let (area, wanted) = read(&options, &head);
    let context = &visit.context;
    let asked = Asked {
        context,
        members: Members::new(options.clone(), context.auth.clone()),
        options,
        source: source(visit, &parts.headers, Via::Http),
        parts: &parts,
    };
    let answer = match admit(visit, &parts.headers) {
        Err(refusal) => Err(refusal),
        Ok(()) => match &wanted {
            Ok(wanted) => asked.answer(wanted, body).await,
            Err(refusal) => Err(refusal.clone()),
        },
    };
    let answer = answer.unwrap_or_else(|refusal| refuse(area, &refusal));
    let preflight = matches!(wanted, Ok(Wanted::Preflight));
    let origins = visit.door.config.allowed_origins.as_deref();
    let mut response = http::write(cors(answer, preflight, &head, origins));
    if visit.beyond {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether there is room for this client, and its page may ask.
fn admit(visit: &Visit, headers: &HeaderMap) -> Result<(), Refusal> {
    if visit.beyond {
        visit.context.metrics.limit_reached("connections");
        let fault = Fault::new(Kind::Overloaded, "too many connections, try again soon");
        return Err(fault.into());
    }
    Ok(visit.door.check_origin(headers)?)
}

fn source(visit: &Visit, headers: &HeaderMap, via: Via) -> Source {
    let address = visit.door.client(visit.peer, headers);
    Source::Peer { address, via }
}
