//! What answers the calls of each route.

use std::sync::Arc;

use super::StartError;
use super::links::Links;
use crate::config::{Config, Route, RouteTarget};
use crate::context::Context;
use crate::script::Pool;
use crate::target::{
    AmqpTarget, HttpTarget, MqttTarget, ScriptTarget, Target, WorkerTarget, http_client,
};

/// What the targets of the routes are made from.
pub(super) struct Targets {
    config: Arc<Config>,
    http: reqwest::Client,
    worker: Arc<WorkerTarget>,
    /// Not there where no route names a script.
    scripts: Option<Arc<Pool>>,
    pub(super) links: Links,
}

impl Targets {
    /// Nothing is connected yet.
    pub(super) fn connect(context: &Context) -> Result<Targets, StartError> {
        Ok(Targets {
            config: context.config.clone(),
            http: http_client(&context.config.limits)?,
            worker: Arc::new(WorkerTarget::new(
                context.workers.clone(),
                context.config.limits.json_depth,
            )),
            scripts: script_pool(context)?,
            links: Links::prepare(context),
        })
    }

    /// The target of one route.
    pub(super) fn of(&self, route: &Route) -> Option<Arc<dyn Target>> {
        match &route.target {
            RouteTarget::Worker => Some(self.worker.clone()),
            RouteTarget::Http { url, verb } => Some(Arc::new(HttpTarget::new(
                self.http.clone(),
                url,
                verb,
                &self.config.limits,
            ))),
            RouteTarget::Amqp {
                bus,
                exchange,
                routing_key,
                ..
            } => {
                let link = self.links.amqp.get(bus)?.clone();
                let limits = &self.config.limits;
                Some(Arc::new(AmqpTarget::new(
                    link,
                    exchange,
                    routing_key,
                    limits,
                )))
            }
            RouteTarget::Mqtt {
                bus,
                topic,
                qos,
                jsonrpc,
            } => {
                let link = self.links.mqtt.get(bus)?.clone();
                let depth = self.config.limits.json_depth;
                Some(Arc::new(MqttTarget::new(
                    link, topic, *qos, *jsonrpc, depth,
                )))
            }
            RouteTarget::Script { path } => {
                let pool = self.scripts.clone()?;
                Some(Arc::new(ScriptTarget::new(pool, path)))
            }
        }
    }
}

fn script_pool(context: &Context) -> Result<Option<Arc<Pool>>, StartError> {
    let wanted = |route: &Arc<Route>| matches!(route.target, RouteTarget::Script { .. });
    match context.config.routes.iter().any(wanted) {
        true => Ok(Some(Pool::start(context)?)),
        false => Ok(None),
    }
}
