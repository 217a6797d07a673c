//! What becomes of each request.

use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::header::ORIGIN;
use hyper::http::request::Parts;

use super::members::Members;
use crate::auth::{Caller, Source, Verb};
use crate::call::{Fault, Reply, Via, unix_ms};
use crate::channel::{Hub, Origin, Publish, Query, Seal, permit};
use crate::config::TalkeeOptions;
use crate::context::Context;
use crate::dialect::http::Answer;
use crate::dialect::talkee::{
    Draft, Proof, Refusal, User, Wanted, echo, health, issue, json_of, list, login, plain, wrapped,
};
use crate::ingress::credentials::Credentials;
use crate::ingress::http::read_body;
use crate::once::fingerprint;
use crate::store::KeyName;

/// The latest messages of a room that are shown.
const LATEST: usize = 100;
/// In whose name the ids of messages are kept apart from other keys; no token is called so.
const KEEPER: &str = "talkee/";

/// One request, and all that it takes to answer it.
pub(super) struct Asked<'a> {
    pub(super) context: &'a Context,
    pub(super) members: Members,
    pub(super) options: Arc<TalkeeOptions>,
    pub(super) source: Source,
    pub(super) parts: &'a Parts,
}

impl Asked<'_> {
    pub(super) async fn answer(&self, wanted: &Wanted, body: Incoming) -> Result<Answer, Refusal> {
        match wanted {
            Wanted::Preflight => Ok(Answer::empty(204)),
            Wanted::Health => Ok(health(self.context.started.elapsed().as_secs())),
            Wanted::Socket => Err(Refusal::new(400, "connect with ws:// or wss://")),
            Wanted::Latest(room) => self.latest(room).await,
            Wanted::Say(room) => self.say(room, body).await,
            Wanted::Login => self.login(&self.body(body).await?).await,
            Wanted::Me => {
                let caller = self.member().await?;
                let me = User::of_caller(&self.options, caller.name());
                Ok(wrapped(&json_of(&me)))
            }
            Wanted::User(id) => {
                let user = self.members.find(|user| user.id == *id);
                let user = user.ok_or_else(|| Refusal::new(404, "no record"))?;
                Ok(wrapped(&json_of(&User::configured(user))))
            }
            Wanted::Echo(text) => Ok(echoed(text)),
            Wanted::EchoBody => Ok(echoed(&echo(&self.body(body).await?)?)),
        }
    }

    async fn latest(&self, room: &Arc<str>) -> Result<Answer, Refusal> {
        // Whom a token proves may read no less than who has none.
        let caller = self.caller().await?;
        let reader = self.members.reader().or(caller);
        let reader = reader.ok_or_else(Refusal::unauthorized)?;
        let query = Query {
            channel: room.clone(),
            count: Some(LATEST),
            since: None,
        };
        let past = self.context.hub.history(&reader, query).await?;
        let list = list(&past, &self.context.seal);
        Ok(match self.options.bare_lists {
            true => plain(list),
            false => wrapped(&list),
        })
    }

    async fn say(&self, room: &Arc<str>, body: Incoming) -> Result<Answer, Refusal> {
        let caller = self.member().await?;
        permit(&caller, Verb::Publish, room)?;
        let draft = Draft::read(&self.body(body).await?)?;
        let user = User::of_caller(&self.options, caller.name());
        let key = draft.id().map(|id| KeyName {
            caller: KEEPER.into(),
            method: room.clone(),
            key: id.into(),
        });
        let essence = fingerprint(draft.essence(&user).as_bytes(), false);
        let (hub, seal) = (self.context.hub.clone(), self.context.seal.clone());
        let saying = say(hub, seal, room.clone(), caller, user, draft);
        let said = match key {
            None => saying.await,
            Some(key) => self.context.once.run_as(key, essence, || saying).await,
        };
        match said {
            Ok(reply) => Ok(plain(reply.payload.bytes().clone())),
            Err(fault) if fault.status() == 422 => {
                let why = "this message_id is another message's in this room";
                Err(Refusal::new(400, why))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn login(&self, body: &Bytes) -> Result<Answer, Refusal> {
        let Some(secret) = &self.options.jwt_secret else {
            let why = "there is no login here; use a token, or set jwt_secret_file";
            return Err(Refusal::new(400, why));
        };
        let origin = self.parts.headers.get(ORIGIN);
        let proof = Proof::read(body, origin.and_then(|origin| origin.to_str().ok()))?;
        let user = match &proof {
            Proof::Address(address) => self.members.find(|user| user.address == Some(*address)),
            Proof::Token(token) => match self.members.prove(token, &self.source).await {
                Ok(caller) => self.members.find(|user| *user.token == *caller.name()),
                Err(_fault) => None,
            },
        };
        let user = user.ok_or_else(|| proof.refused())?;
        Ok(login(&User::configured(user), &issue(secret, user.id)?))
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Fault> {
        read_body(self.context, self.parts, body).await
    }

    /// Who asks, if anybody says so.
    async fn caller(&self) -> Result<Option<Caller>, Fault> {
        let credentials = Credentials::of(&self.parts.headers, self.parts.uri.query());
        match credentials.one()? {
            Some(token) => self.members.prove(token, &self.source).await.map(Some),
            None => Ok(None),
        }
    }

    /// Who asks; it has to be somebody.
    async fn member(&self) -> Result<Caller, Refusal> {
        self.caller().await?.ok_or_else(Refusal::unauthorized)
    }
}

/// Publishes a message under its user's name; done when it is kept.
async fn say(
    hub: Arc<Hub>,
    seal: Seal,
    room: Arc<str>,
    caller: Caller,
    user: User,
    draft: Draft,
) -> Result<Reply, Fault> {
    let now = unix_ms();
    let payload = draft.compose(&user, now);
    let receipt = hub.publish(Publish {
        id: Some(seal.id(&room, payload.bytes(), now)),
        channel: room,
        payload: payload.clone(),
        origin: Origin::Client {
            caller,
            via: Via::Http,
        },
        hops: 0,
        traceparent: None,
        retained: false,
    })?;
    receipt.kept().await?;
    Ok(Reply::new(payload))
}

fn echoed(text: &str) -> Answer {
    wrapped(&serde_json::json!({ "msg": text }).to_string())
}
