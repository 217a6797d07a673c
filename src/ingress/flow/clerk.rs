//! What a conversation leaves to others: who may be in a thread, what answers, what was seen.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::auth::{Caller, Digest, Secret, digest, new_secret};
use crate::call::{Call, CallId, Fault, Kind, Payload, Via, unix_ms};
use crate::channel::{Origin, Publish};
use crate::config::FlowOptions;
use crate::context::Context;
use crate::dialect::flow::{Desk, Done, Message, Thread, of_result, to_event};
use crate::dialect::{Deed, Told};
use crate::store::{Admission, Claim, Known, Nonce};

/// A thread that nobody used for so many milliseconds is forgotten, once its history is gone.
const FORGOTTEN_AFTER: u64 = 30 * 86_400_000;

/// Acts for one client.
#[derive(Clone)]
pub(super) struct Clerk {
    context: Context,
    options: Arc<FlowOptions>,
    client: Arc<str>,
    caller: Caller,
    via: Via,
}

/// What a message came to.
pub(super) struct Turn {
    /// Names the call.
    pub(super) id: CallId,
    /// The reply; none if the method said nothing, or says it later.
    pub(super) reply: Option<Value>,
    /// Whether it is in the thread.
    placed: bool,
}

impl Clerk {
    pub(super) fn new(
        context: &Context,
        options: &Arc<FlowOptions>,
        client: &Arc<str>,
        caller: Caller,
        via: Via,
    ) -> Clerk {
        Clerk {
            context: context.clone(),
            options: options.clone(),
            client: client.clone(),
            caller,
            via,
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Lets the client into a thread of its own; comes back with the secret that it got by that.
    pub(super) async fn enter(
        &self,
        thread: &Thread,
        nonce: Option<&Secret>,
    ) -> Result<Option<Secret>, Fault> {
        self.check_name(thread)?;
        if !self.options.nonce {
            self.claim(thread, true, Nonce::Unasked).await?;
            return Ok(None);
        }
        let fresh = new_secret()?;
        let nonce = Nonce::Needed {
            shown: nonce.map(|nonce| digest(nonce.expose())),
            fresh: digest(fresh.expose()),
        };
        let admission = self.claim(thread, true, nonce).await?;
        Ok((admission == Admission::Secured).then_some(fresh))
    }

    /// Makes a thread known, whosever it is: for callers whose grants decide.
    pub(super) async fn know(&self, thread: &Thread) -> Result<(), Fault> {
        self.claim(thread, false, Nonce::Unasked).await.map(drop)
    }

    async fn claim(&self, thread: &Thread, own: bool, nonce: Nonce) -> Result<Admission, Fault> {
        // A back end may begin the thread of a client whose name it bears.
        let named = thread.named_owner(&self.options).filter(|_| !own);
        let client = named.map_or(&self.client, |client| &client.id);
        let claim = Claim {
            channel: thread.channel.to_string(),
            thread: thread.id.to_string(),
            client: client.to_string(),
            own,
            nonce,
            forget_before: unix_ms().saturating_sub(FORGOTTEN_AFTER),
        };
        match self.context.store.admit(claim).await? {
            Admission::Foreign => Err(foreign()),
            Admission::WrongSecret => Err(wrong_secret()),
            Admission::Full => {
                self.context.metrics.limit_reached("flow_threads");
                let message = "there are as many threads as there may be";
                Err(Fault::new(Kind::Overloaded, message))
            }
            let_in => Ok(let_in),
        }
    }

    /// What is known of a thread that the client may look into; `None` if there is none yet.
    pub(super) async fn look(
        &self,
        thread: &Thread,
        shown: Option<&Secret>,
    ) -> Result<Option<Known>, Fault> {
        self.check_name(thread)?;
        let known = self
            .context
            .store
            .thread(thread.channel.to_string())
            .await?;
        let Some(known) = known else { return Ok(None) };
        if *known.client != *self.client {
            return Err(foreign());
        }
        let shown: Option<Digest> = shown.map(|secret| digest(secret.expose()));
        if self.options.nonce && (known.secret.is_none() || known.secret != shown) {
            return Err(wrong_secret());
        }
        Ok(Some(known))
    }

    fn check_name(&self, thread: &Thread) -> Result<(), Fault> {
        let mut clients = self.options.clients.iter();
        let own = clients.find(|client| client.id == self.client);
        match own.is_some_and(|own| thread.names_another(&self.options, own)) {
            true => Err(foreign()),
            false => Ok(()),
        }
    }

    /// Puts something into a thread, and comes back once it is kept.
    async fn publish(&self, thread: &Thread, payload: Payload) -> Result<(), Fault> {
        let receipt = self.context.hub.publish(Publish {
            channel: thread.channel.clone(),
            payload,
            origin: Origin::Client {
                caller: self.caller.clone(),
                via: self.via,
            },
            id: None,
            hops: 0,
            traceparent: None,
            retained: false,
        })?;
        receipt.kept().await.map(drop)
    }

    /// Takes a message: it is an event of its thread.
    pub(super) async fn take(&self, message: &Message) -> Result<(), Fault> {
        self.publish(&message.thread, message.to_event()).await
    }

    /// Has a message answered, also if nobody waits for that any more. With `sync` the reply is
    /// for whoever waits, and no webhook gets it.
    pub(super) fn converse(
        &self,
        message: &Arc<Message>,
        sync: bool,
    ) -> impl Future<Output = Result<Turn, Fault>> + Send + use<> {
        let (clerk, message) = (self.clone(), message.clone());
        let (tell, told) = oneshot::channel();
        self.context.tasks.spawn(async move {
            let turn = clerk.turn(&message, sync).await;
            if let Err(Err(fault)) = tell.send(turn) {
                tracing::warn!(client = %clerk.client, %fault, "a Flow message was not answered");
            }
        });
        async move { told.await.unwrap_or_else(|_| Err(Fault::shutting_down())) }
    }

    async fn turn(&self, message: &Message, sync: bool) -> Result<Turn, Fault> {
        let dispatcher = &self.context.dispatcher;
        let id = CallId::new();
        let reply = dispatcher
            .call(Call {
                id,
                method: self.options.call.clone(),
                params: message.params(&self.client),
                caller: self.caller.clone(),
                via: self.via,
                deadline: dispatcher.deadline(None),
                hops: 0,
                traceparent: None,
                key: None,
                http: None,
                progress: None,
            })
            .await?;
        // Of a one-way method there is a receipt, which is nothing to say to a user.
        let said = reply.receipt.is_none().then_some(&reply.payload);
        let reply = said.and_then(|result| of_result(message, result));
        let placed = match &reply {
            None => true,
            Some(reply) => {
                let placed = self.publish(&message.thread, to_event(reply, sync)).await;
                placed
                    .inspect_err(|fault| tracing::warn!(%fault, "a reply is not in its thread"))
                    .is_ok()
            }
        };
        Ok(Turn { id, reply, placed })
    }
}

impl Desk for Clerk {
    fn admit(&self, thread: &Thread, nonce: Option<&Secret>) -> Deed {
        let (clerk, thread, nonce) = (self.clone(), thread.clone(), nonce.cloned());
        let admitted = async move {
            let minted = clerk.enter(&thread, nonce.as_ref()).await?;
            Ok(Told::Flow(Done::Admitted(minted)))
        };
        Deed(admitted.boxed())
    }

    fn answer(&self, message: &Arc<Message>) -> Deed {
        let turn = self.converse(message, false);
        let answered = async move {
            let turn = turn.await?;
            let unplaced = turn.reply.filter(|_| !turn.placed);
            Ok(Told::Flow(Done::Answered(unplaced)))
        };
        Deed(answered.boxed())
    }

    fn notice(&self, thread: &Thread, let_in: bool) -> Deed {
        let (clerk, thread) = (self.clone(), thread.clone());
        let noticed = async move {
            if !let_in {
                clerk.look(&thread, None).await?;
            }
            clerk
                .context
                .store
                .notice(thread.channel.to_string())
                .await?;
            Ok(Told::Flow(Done::Noticed))
        };
        Deed(noticed.boxed())
    }
}

fn foreign() -> Fault {
    Fault::new(Kind::Forbidden, "this thread belongs to another client")
}

fn wrong_secret() -> Fault {
    let message = "Invalid nonce: this thread needs the secret that its first caller got";
    Fault::new(Kind::Unauthenticated, message)
}
