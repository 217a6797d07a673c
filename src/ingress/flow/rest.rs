//! The REST API: messages and threads, for back ends that have a token.

use std::sync::Arc;

use hyper::body::Incoming;

use super::Exchange;
use super::clerk::Clerk;
use crate::auth::{Caller, Verb};
use crate::call::{Fault, Kind, Via};
use crate::dialect::flow::rest::{self, Pages, Patience, Wanted};
use crate::dialect::flow::{Thread, channel_id, entry};
use crate::dialect::http::Answer;
use crate::ingress::credentials::Credentials;

/// Entries on a page.
const PAGE: usize = 20;

impl Exchange<'_> {
    pub(super) async fn rest(&self, path: &str, body: Incoming) -> Result<Answer, Fault> {
        let caller = self.prove().await?;
        let wanted = rest::wanted(&self.head, path)?;
        // Threads that it makes are those of the client that acts as the same token.
        let mut clients = self.options.clients.iter();
        let client = clients.find(|client| *client.token == *caller.name());
        let name = client.map_or_else(|| Arc::from(""), |client| client.id.clone());
        let clerk = Clerk::new(self.context, self.options, &name, caller, Via::Http);
        match wanted {
            Wanted::NewThread => {
                let channel = match client {
                    Some(client) => channel_id(&client.id),
                    None => clerk.caller().name().to_owned(),
                };
                Ok(rest::new_thread(&Thread::new_name(&channel)))
            }
            Wanted::Say(thread, patience) => {
                let body = self.body(body).await?;
                self.say(&clerk, &thread, patience, &body).await
            }
            Wanted::History(thread, page) => self.pages_of(&clerk, &thread, page).await,
            Wanted::Threads(page) => self.threads(clerk.caller(), page).await,
        }
    }

    /// The token, with or without a scheme.
    async fn prove(&self) -> Result<Caller, Fault> {
        let mut credentials = Credentials::of(&self.parts.headers, self.parts.uri.query());
        credentials.add_bare(&self.parts.headers);
        let proved = credentials
            .prove(&self.context.auth, &self.source())
            .await?;
        proved.ok_or_else(|| {
            let message = "no credential; send Authorization: TOKEN";
            Fault::new(Kind::Unauthenticated, message)
        })
    }

    async fn say(
        &self,
        clerk: &Clerk,
        thread: &str,
        patience: Patience,
        body: &[u8],
    ) -> Result<Answer, Fault> {
        let message = rest::message(self.options, thread, body)?;
        crate::channel::permit(clerk.caller(), Verb::Publish, &message.thread.channel)?;
        clerk.know(&message.thread).await?;
        clerk.take(&message).await?;
        let message = Arc::new(message);
        let turn = clerk.converse(&message, patience == Patience::Reply);
        match patience {
            Patience::Kept => {
                drop(turn); // it goes on
                Ok(rest::taken())
            }
            Patience::Done => turn.await.map(|_turn| rest::taken()),
            Patience::Reply => {
                let turn = turn.await?;
                Ok(rest::reply(turn.id, &message, turn.reply))
            }
        }
    }

    async fn pages_of(&self, clerk: &Clerk, thread: &str, page: usize) -> Result<Answer, Fault> {
        let thread = Thread::named(self.options, thread)?;
        let hub = &self.context.hub;
        let leaf = hub
            .leaf(clerk.caller(), &thread.channel, page, PAGE)
            .await?;
        let events = leaf.events.iter();
        let pages = Pages {
            name: "history",
            thread: Some(thread.id.to_string()),
            entries: events
                .filter_map(|placed| entry(&thread, &placed.event))
                .collect(),
            page,
            pages: leaf.all.div_ceil(PAGE),
        };
        self.told(&pages).await
    }

    /// The threads that the caller may read.
    async fn threads(&self, caller: &Caller, page: usize) -> Result<Answer, Fault> {
        let (options, caller) = (self.options.clone(), caller.clone());
        let wanted = move |channel: &str| {
            options.channel.matches(channel) && caller.may(Verb::Subscribe, channel)
        };
        let skip = (page - 1).saturating_mul(PAGE);
        let (threads, all) = self.context.store.threads(wanted, skip, PAGE).await?;
        let pages = Pages {
            name: "threads",
            thread: None,
            entries: threads.into_iter().map(Into::into).collect(),
            page,
            pages: all.div_ceil(PAGE),
        };
        self.told(&pages).await
    }

    /// The answer; without `sync` the webhook gets it too, where clients of the original wait.
    async fn told(&self, pages: &Pages) -> Result<Answer, Fault> {
        if !rest::is_sync(&self.head) {
            self.context.webhooks.post(self.options, pages).await?;
        }
        Ok(pages.answer())
    }
}
