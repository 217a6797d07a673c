//! What the coroutines of a service wait for, carried out in the name of its token.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::time::timeout;

use super::Ground;
use super::wire::{Ask, Change, Json, Outcome, Thrown, json as text};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Payload, Via};
use crate::channel::{Origin, Publish};

/// The longest wait that a timer is set for.
const FOREVER: f64 = 1e9;

/// What there is to do for one question. The first poll begins it, so that those of one service
/// begin in the order in which they were asked.
///
/// Questions about the service itself never come here.
pub(super) fn carry_out(
    ground: &Arc<Ground>,
    what: Ask,
    deadline: Option<Deadline>,
    hops: u32,
) -> BoxFuture<'static, Outcome> {
    let ground = ground.clone();
    async move {
        let answered = match what {
            Ask::Wait(seconds) => {
                let seconds = seconds.clamp(0.0, FOREVER);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                Ok(nothing())
            }
            Ask::Call(method, params) => call(&ground, method, params, deadline, hops).await,
            Ask::Publish(channel, payload) => publish(&ground, channel.into(), payload, hops).await,
            Ask::Fetch(options) => fetch(&ground, &options, deadline).await,
            Ask::Save(settings) => save(&ground, settings).await,
            Ask::KeepUser(user, name, data) => {
                let store = &ground.context.store;
                let name = user_data(&user, &name);
                let value = data.get().to_owned();
                let kept = store.keep_service_data(ground.shared_scope(), name, value);
                kept.await.map(|()| nothing())
            }
            Ask::RecallUser(user, name) => {
                let store = &ground.context.store;
                let name = user_data(&user, &name);
                let found = store.service_data(ground.shared_scope(), name);
                found.await.map(|found| found.map_or_else(nothing, text))
            }
            Ask::Currency(user, change) => currency(&ground, user, change).await,
            Ask::Subscribe(_) | Ask::Unsubscribe(_) | Ask::Serve(..) => Ok(nothing()),
        };
        answered.map_err(thrown)
    }
    .boxed()
}

/// A fault as a script gets it.
pub(super) fn thrown(fault: Fault) -> Thrown {
    let data = fault
        .data
        .and_then(|data| String::from_utf8(data.into()).ok());
    Thrown {
        kind: fault.kind.as_str().to_owned(),
        message: fault.message.into_owned(),
        data: data.map(text),
    }
}

/// The value of what has none.
pub(super) fn nothing() -> Json {
    text("null".into())
}

/// An event, published in the service's name; it is kept once the receipt says so.
pub(super) fn event(ground: &Ground, channel: Arc<str>, payload: &Json, hops: u32) -> Publish {
    Publish {
        channel,
        payload: Payload::unchecked_json(payload.get().to_owned()),
        origin: Origin::Client {
            caller: ground.caller.clone(),
            via: Via::Script,
        },
        id: None,
        hops: hops.saturating_add(1),
        traceparent: None,
        retained: false,
    }
}

/// The name under which the store keeps a user's data. Both parts may hold any character, and no two
/// pairs lead to one name.
fn user_data(user: &str, name: &str) -> String {
    format!("user/{}/{user}/{name}", user.len())
}

async fn call(
    ground: &Ground,
    method: String,
    params: Json,
    deadline: Option<Deadline>,
    hops: u32,
) -> Result<Json, Fault> {
    let dispatcher = &ground.context.dispatcher;
    let own = dispatcher.deadline(None);
    let reply = dispatcher.call(Call {
        id: CallId::new(),
        method: method.into(),
        params: Payload::unchecked_json(String::from(Box::<str>::from(params))),
        caller: ground.caller.clone(),
        via: Via::Script,
        deadline: deadline.map_or(own, |deadline| deadline.min(own)),
        hops: hops.saturating_add(1),
        traceparent: None,
        key: None,
        http: None,
        progress: None,
    });
    Ok(text(reply.await?.payload.as_json().into_owned()))
}

async fn publish(
    ground: &Ground,
    channel: Arc<str>,
    payload: Json,
    hops: u32,
) -> Result<Json, Fault> {
    let publish = event(ground, channel, &payload, hops);
    let kept = ground.context.hub.publish(publish)?.kept().await?;
    Ok(text(kept.to_json()))
}

async fn fetch(ground: &Ground, options: &Json, deadline: Option<Deadline>) -> Result<Json, Fault> {
    let own = ground.context.dispatcher.deadline(None);
    let deadline = deadline.map_or(own, |deadline| deadline.min(own));
    let turn = timeout(deadline.remaining(), ground.fetches.acquire());
    let _turn = turn.await.map_err(|_| {
        let message = "http.request: too many web requests are under way";
        Fault::new(Kind::Timeout, message)
    })?;
    let fetcher = &ground.fetcher;
    let fetched = fetcher.fetch(options.get().as_bytes(), deadline).await?;
    Ok(text(String::from_utf8_lossy(&fetched).into_owned()))
}

async fn save(ground: &Ground, settings: String) -> Result<Json, Fault> {
    let limit = ground.context.config.limits.message;
    if settings.len() > limit {
        let has = settings.len();
        let message = format!("save: the data have {has} bytes, limits.message allows {limit}");
        return Err(Fault::new(Kind::TooLarge, message));
    }
    let store = &ground.context.store;
    let kept = store.keep_service_data(ground.own_scope(), "settings".into(), settings);
    kept.await.map(|()| nothing())
}

async fn currency(ground: &Ground, user: String, change: Change) -> Result<Json, Fault> {
    let next = move |balance: f64| {
        let next = match change {
            Change::Look => return None,
            Change::Add(amount) => balance + amount,
            Change::Set(amount) => amount,
        };
        (next.is_finite() && next >= 0.0).then_some(next)
    };
    let scope = ground.shared_scope();
    let changed = ground.context.store.change_balance(scope, user, next);
    let (success, balance) = changed.await?;
    Ok(text(
        json!({ "success": success, "balance": balance }).to_string(),
    ))
}
