//! callway's AMQP side alone: a link, the calls that come in by it, and routes to services.

use std::sync::Arc;
use std::time::Duration;

use callway::auth::{Caller, Grants, Secret, Token, digest};
use callway::call::{Call, CallId, Fault, Outcome, Payload, Via};
use callway::config::{
    Admin, AmqpBus, Bus, BusCommon, Cluster, Config, Identity, Limits, Log, LogFormat, Route,
    RouteTarget, Schema, Scripts, Store,
};
use callway::context::Context;
use callway::ingress::amqp_bus;
use callway::link::amqp::AmqpLink;
use callway::observe::LinkState;
use callway::router::{Pattern, Table, Template};
use callway::target::AmqpTarget;

use crate::support::{Rabbit, TOKEN};

/// Where its calls arrive.
pub const CALLS: &str = "callway.calls";

/// A running bridge; ends on drop.
pub struct Bridge {
    pub context: Context,
    _state: tempfile::TempDir,
}

/// The bus of the tests.
pub fn bus(rabbit: &Rabbit) -> AmqpBus {
    let mut url: url::Url = rabbit.url().parse().unwrap();
    url.set_password(None).unwrap();
    AmqpBus {
        common: BusCommon {
            name: "office".into(),
            caller: None,
            identity: Identity::Token,
            scriptr: None,
        },
        url,
        ca: None,
        login: ("guest".into(), Secret::new("guest")),
        calls: Some(CALLS.into()),
        reply_queues: vec!["amq.rabbitmq.reply-to.*".into(), "amq.gen-*".into()],
        reply_topics: Vec::new(),
        prefetch: 64,
    }
}

/// A route to a service on the default exchange, or on another.
pub fn route(method: &str, exchange: &str, routing_key: &str) -> Route {
    Route {
        pattern: Pattern::parse(method).unwrap(),
        target: RouteTarget::Amqp {
            bus: "office".into(),
            exchange: exchange.into(),
            routing_key: Template::parse(routing_key).unwrap(),
            declare: None,
        },
        timeout: None,
        retry: None,
        rate: None,
        concurrency: None,
        queue: 0,
        max_params: 256 * 1024,
        schema: Schema::default(),
        description: None,
        get: false,
        one_way: false,
    }
}

impl Bridge {
    /// Starts it and waits until the link is up.
    pub async fn start(bus: AmqpBus, routes: Vec<Route>) -> Bridge {
        let bridge = Bridge::spawn(bus, routes);
        bridge.link_is(LinkState::Up).await;
        bridge
    }

    /// Starts it and waits for nothing.
    pub fn spawn(bus: AmqpBus, routes: Vec<Route>) -> Bridge {
        let bus = Arc::new(bus);
        let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        let token = |name: &str, secret: &str| Token {
            name: name.into(),
            digest: digest(secret),
            grants: Grants {
                call: vec![Pattern::parse("{path...}").unwrap()],
                ..Grants::default()
            },
            admin: false,
        };
        let tokens = vec![token("tester", TOKEN), token("guest", "nobody knows this")];
        let state = tempfile::tempdir().unwrap();
        let config = Config {
            listeners: Vec::new(),
            admin: Admin {
                address: None,
                socket: None,
            },
            cluster: Cluster {
                instance: "test".into(),
                group: "test".into(),
            },
            scripts: Scripts {
                directory: "/nowhere".into(),
                allow_urls: Vec::new(),
            },
            buses: vec![Bus::Amqp(bus.clone())],
            tokens,
            certificates: Vec::new(),
            routes: routes.clone(),
            channels: Vec::new(),
            services: Vec::new(),
            store: Store {
                database: state.path().join("callway.db"),
            },
            limits: Limits::default(),
            log: Log {
                level: "info".into(),
                format: LogFormat::Text,
            },
        };
        let context = Context::new(config).unwrap();
        let (link, start) = AmqpLink::prepare(&context, &bus);
        let mut table = Table::default();
        for route in routes {
            let RouteTarget::Amqp {
                exchange,
                routing_key,
                ..
            } = &route.target
            else {
                panic!("only routes to AMQP here");
            };
            let target =
                AmqpTarget::new(link.clone(), exchange, routing_key, &context.config.limits);
            table.add(route.clone(), Arc::new(target));
        }
        context.dispatcher.replace_table(table);
        start.start();
        amqp_bus::serve(&context, &bus, &link);
        Bridge {
            context,
            _state: state,
        }
    }

    /// Waits for a state of the link.
    pub async fn link_is(&self, state: LinkState) {
        crate::eventually!(self.context.links.all().get("office") == Some(&state));
    }

    /// Calls a method as the tester, from inside.
    pub async fn call(&self, method: &str, params: &str, timeout: Duration) -> Outcome {
        self.call_with_hops(method, params, timeout, 0).await
    }

    /// The same for a request that has come far already.
    pub async fn call_with_hops(
        &self,
        method: &str,
        params: &str,
        timeout: Duration,
        hops: u32,
    ) -> Outcome {
        let token = self.context.auth.by_name("tester").unwrap();
        let call = Call {
            id: CallId::new(),
            method: method.into(),
            params: Payload::unchecked_json(params.to_owned()),
            caller: Caller::new(token.token().clone()),
            via: Via::Script,
            deadline: self.context.dispatcher.deadline(Some(timeout)),
            hops,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            key: None,
            http: None,
            progress: None,
        };
        self.context.dispatcher.call(call).await
    }

    /// How often messages were dropped for a reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        let line = format!("callway_dropped_total{{via=\"amqp\",reason=\"{reason}\"}} ");
        let page = self.context.metrics.render();
        let found = page.lines().find_map(|l| l.strip_prefix(&line));
        found.map_or(0, |count| count.parse().unwrap())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.context.drain.cancel();
        self.context.stop.cancel();
    }
}

/// `data.reason` of a fault.
pub fn reason(fault: &Fault) -> String {
    let data = fault.data.as_ref().expect("a fault with a reason");
    let data: serde_json::Value = serde_json::from_slice(data).unwrap();
    data["reason"].as_str().unwrap().to_owned()
}
