//! Webhooks: what is said in the threads of a Flow endpoint is posted to a URL, from the spool.
//!
//! A record is made while the event is accepted, so that the event is acknowledged only when both
//! are on disk; one task for each hook posts it then, in the order of its thread, again and again
//! for up to four hours. What nobody took by then is a dead letter.

mod record;
mod sender;

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Client;
use serde_json::{Value, json};

use self::record::Header;
use self::sender::Sender;
use crate::call::{Fault, Kind, rfc3339};
use crate::channel::Event;
use crate::config::{Config, Dialect, FlowOptions, Webhook};
use crate::context::Context;
use crate::dialect::flow::rest::Pages;
use crate::dialect::flow::{Said, Thread, is_sync, of_event};
use crate::spool::{Draft, Lane, Spool};
use crate::store::Letter;
use crate::target::http_client;

/// All of them.
pub struct Webhooks {
    hooks: Vec<Hook>,
    /// Not there without hooks.
    client: Option<Client>,
    spool: Spool,
}

struct Hook {
    options: Arc<FlowOptions>,
    hook: Webhook,
}

impl Webhooks {
    /// Those that the configuration has.
    pub fn new(config: &Config, spool: &Spool) -> Result<Webhooks, Fault> {
        let endpoints = config
            .listeners
            .iter()
            .flat_map(|listener| &listener.endpoints);
        let hooks = endpoints.filter_map(|endpoint| match &endpoint.dialect {
            Dialect::Flow(options) => Some(Hook {
                hook: options.webhook.clone()?,
                options: options.clone(),
            }),
            _ => None,
        });
        let hooks: Vec<_> = hooks.collect();
        let client = match hooks.is_empty() {
            true => None,
            false => Some(http_client(&config.limits)?),
        };
        Ok(Webhooks {
            hooks,
            client,
            spool: spool.clone(),
        })
    }

    /// Posts what waits, and what comes, until the process stops.
    pub fn start(&self, context: &Context) {
        for (Hook { hook, .. }, client) in self.hooks.iter().zip(self.client.iter().cycle()) {
            let sender = Sender::new(context, client.clone(), hook.clone());
            let consumer = self.spool.consume(&hook.queue);
            context.background.spawn(sender.run(consumer));
        }
    }

    /// What an event owes to webhooks: nothing if it is what a user said, or if its asker gets the
    /// reply by itself.
    pub fn owed(&self, event: &Event) -> Vec<Draft<'_>> {
        let hooks = self.hooks.iter().filter_map(|Hook { options, hook }| {
            let thread = Thread::of_channel(options, &event.channel)?;
            if is_sync(&event.payload) {
                return None;
            }
            let Some(Said::Received(mut body)) = of_event(&thread, &event.payload) else {
                return None;
            };
            body["type"] = "message".into();
            body["createdAt"] = rfc3339(event.time).into();
            draft(hook, Some(&thread.id), &body)
        });
        hooks.collect()
    }

    /// Posts a page that somebody asked for, where the endpoint has a webhook.
    pub async fn post(&self, options: &Arc<FlowOptions>, pages: &Pages) -> Result<(), Fault> {
        let mut hooks = self.hooks.iter();
        let Some(Hook { hook, .. }) = hooks.find(|hook| Arc::ptr_eq(&hook.options, options)) else {
            return Ok(());
        };
        let mut body = pages.to_value();
        body["type"] = pages.name.into();
        let draft = draft(hook, pages.thread.as_deref(), &body).ok_or_else(unfit)?;
        Ok(self
            .spool
            .append(draft.queue, draft.lane, draft.body)?
            .await?)
    }

    /// Puts a dead one back among those that wait.
    pub async fn revive(&self, letter: Letter) -> Result<(), Fault> {
        let mut hooks = self.hooks.iter();
        let hook = hooks.find(|hook| *hook.hook.queue == *letter.source);
        let Hook { hook, .. } = hook.ok_or_else(|| {
            let message = format!("there is no {} any more", letter.source);
            Fault::new(Kind::InvalidRequest, message)
        })?;
        let header = Value::Object(letter.headers);
        let header: Header = serde_json::from_value(header).map_err(|_| unfit())?;
        let record = header.pack(&letter.body).ok_or_else(unfit)?;
        Ok(self
            .spool
            .append(&hook.queue, header.lane(), record)?
            .await?)
    }
}

fn draft<'a>(hook: &'a Webhook, thread: Option<&str>, body: &Value) -> Option<Draft<'a>> {
    let header = Header::of(thread);
    Some(Draft {
        queue: &hook.queue,
        lane: header.lane(),
        body: header.pack(&Bytes::from(json!(body).to_string()))?,
    })
}

fn unfit() -> Fault {
    Fault::new(Kind::Internal, "the message cannot be written down")
}
