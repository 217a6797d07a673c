//! What scripts ask of the daemon beside calls, events and requests: each by its name, with its
//! arguments as a JSON object. It is carried out as the script's caller, with its grants.

mod channels;
mod storage;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::call::{Call, CallId, Fault, Kind, Payload, Via};
use crate::context::Context;
use crate::script::acl::{Acl, Anonymous};

/// Whose script asks.
pub struct Asking<'a> {
    /// What the daemon has.
    pub context: &'a Context,
    /// The call that the script answers.
    pub call: &'a Call,
    /// The script's path.
    pub script: &'a str,
    /// Who is not authenticated.
    pub anonymous: &'a Anonymous,
}

#[derive(Deserialize)]
struct Timing {
    script: String,
    when: String,
}

#[derive(Deserialize)]
struct Handle {
    handle: String,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    acl: String,
}

#[derive(Deserialize)]
struct Queued {
    channel: String,
    script: String,
    #[serde(default)]
    params: Value,
}

impl Asking<'_> {
    /// Carries out one thing; the answer is JSON text.
    ///
    /// Returns `invalid_params` for arguments that do not fit.
    pub async fn serve(&self, what: &str, arguments: &[u8]) -> Result<Bytes, Fault> {
        let value = match what {
            "schedule" => {
                let Timing { script, when } = read(what, arguments)?;
                let schedule = &self.context.schedule;
                let handle = schedule.add(&self.call.caller, method(&script), &when);
                json!(handle.await?)
            }
            "unschedule" => {
                let Handle { handle } = read(what, arguments)?;
                json!(self.context.schedule.remove(&handle).await?)
            }
            "acl" => {
                let Listed { id, acl } = read(what, arguments)?;
                json!(Acl::listed(&acl).permits(&id, self.anonymous))
            }
            "subscribe" => self.subscribe(read(what, arguments)?).await?,
            "unsubscribe" => self.unsubscribe(read(what, arguments)?).await?,
            "queue" => self.queue(read(what, arguments)?).await?,
            "channel" => self.channel(read(what, arguments)?)?,
            "channels" => self.channels(),
            "mqtt" => self.mqtt(read(what, arguments)?).await?,
            "storage.get" => self.stored(read(what, arguments)?).await?,
            "storage.names" => self.stored_names(read(what, arguments)?).await?,
            "storage.set" => self.put_stored(read(what, arguments)?).await?,
            _ => return Err(Fault::new(Kind::Internal, "no such service")),
        };
        Ok(value.to_string().into())
    }

    /// Calls a script later: a one-way call, which is on disk when this comes back.
    async fn queue(&self, queued: Queued) -> Result<Value, Fault> {
        let Queued {
            channel,
            script,
            params,
        } = queued;
        self.find(&channel)?;
        let call = Call {
            id: CallId::new(),
            method: method(&script).into(),
            params: Payload::from_value(&params),
            caller: self.call.caller.clone(),
            via: Via::Script,
            deadline: self.context.dispatcher.deadline(None),
            hops: self.call.hops.saturating_add(1),
            traceparent: self.call.traceparent.clone(),
            key: None,
            http: None,
            progress: None,
        };
        let reply = self.context.dispatcher.accept(call).await?;
        Ok(reply.payload.to_value())
    }
}

/// A path, as scriptr's scripts write them, as the method's name.
fn method(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn read<T: DeserializeOwned>(what: &str, arguments: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(arguments)
        .map_err(|error| Fault::new(Kind::InvalidParams, format!("{what}: {error}")))
}
