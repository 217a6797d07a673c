//! What is answered: health, readiness and metrics to everyone, `/api` to those who may.

use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::api::Api;
use super::door::Guest;
use super::host;
use crate::context::Context;
use crate::dialect::http::Answer;
use crate::observe;

/// All of it.
pub(super) struct Page {
    context: Context,
    api: Api,
}

impl Page {
    /// Made on the main runtime, where the work behind `/api` is done.
    pub(super) fn new(context: &Context) -> Page {
        Page {
            context: context.clone(),
            api: Api::new(context),
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, guest: Guest) -> Answer {
        if !host::is_meant(&request, guest.bound()) {
            return text(
                403,
                "this Host is not served here; use the address itself\n",
            );
        }
        if let Some(rest) = request.uri().path().strip_prefix("/api/") {
            let path = rest.to_owned();
            return self.api.answer(request, &path, guest).await;
        }
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            return text(405, "only GET\n").with("allow", "GET, HEAD");
        }
        match request.uri().path() {
            "/healthz" => json_answer(200, &json!({ "status": "ok" })),
            "/readyz" => self.readiness(),
            "/metrics" => {
                let context = &self.context;
                context
                    .metrics
                    .set_in_flight(context.dispatcher.in_flight());
                for queue in context.spool.stats() {
                    context.metrics.set_spool(&queue);
                }
                Answer::new(200, observe::CONTENT_TYPE, context.metrics.render())
            }
            _ => text(404, "try /healthz, /readyz or /metrics\n"),
        }
    }

    /// 200 once the listeners are bound, which they are before this is served, until the drain.
    fn readiness(&self) -> Answer {
        let links: Map<String, Value> = self
            .context
            .links
            .all()
            .iter()
            .map(|(bus, state)| (bus.to_string(), state.as_str().into()))
            .collect();
        let (status, word) = if self.context.drain.is_cancelled() {
            (503, "draining")
        } else {
            (200, "ready")
        };
        let mut ready = json!({ "status": word, "links": links });
        for (service, state) in self.context.services.all() {
            ready["services"][&*service] = state.as_str().into();
        }
        json_answer(status, &ready)
    }
}

fn text(status: u16, text: &'static str) -> Answer {
    Answer::new(status, "text/plain; charset=utf-8", text)
}

/// JSON that nobody on the way keeps.
pub(super) fn json_answer(status: u16, value: &Value) -> Answer {
    Answer::new(status, "application/json", value.to_string()).with("cache-control", "no-store")
}
