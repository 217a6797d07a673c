//! callway's AMQP link alone, with a test in the place of what takes its events.

use std::time::Duration;

use callway::call::{Deadline, Fault, Payload};
use callway::config::{Bus, Config, parse};
use callway::context::Context;
use callway::link::amqp::{AmqpLink, Delivery, Message, Outgoing};
use callway::observe::LinkState;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{PATIENCE, Rabbit};

/// What outlives a link: its configuration's place and its store.
pub struct Home(TempDir);

/// A link and the events that it takes in.
pub struct Inside {
    pub context: Context,
    pub link: AmqpLink,
    taken: mpsc::Receiver<Taken>,
}

/// One delivery.
pub struct Taken {
    pub message: Message,
    pub delivery: Delivery,
}

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// A bus `office`, and channels: patterns, each with its exchange and routing key.
    fn config(&self, rabbit: &Rabbit, channels: &[(&str, &str, &str)]) -> Config {
        let rows = channels.iter().map(|(name, exchange, key)| {
            format!(
                r#"
                [[channel]]
                name = "{name}"
                amqp = {{ bus = "office", exchange = "{exchange}", routing_key = "{key}", direction = "both" }}
                "#
            )
        });
        let text = format!(
            r#"
            [cluster]
            instance = "gw-1"
            [store]
            url = "sqlite:callway.db"
            [bus.office]
            url = "{}"
            calls = ""
            {}
            "#,
            rabbit.url(),
            rows.collect::<String>()
        );
        let parsed = parse(&text, self.0.path());
        parsed.unwrap_or_else(|errors| panic!("{errors}"))
    }
}

impl Inside {
    /// Starts it and waits for nothing.
    pub fn start(home: &Home, rabbit: &Rabbit, channels: &[(&str, &str, &str)]) -> Inside {
        let context = Context::new(home.config(rabbit, channels)).unwrap();
        let Bus::Amqp(bus) = context.config.buses[0].clone() else {
            panic!("not a bus of AMQP");
        };
        let (link, start) = AmqpLink::prepare(&context, &bus);
        start.start();
        let (sender, taken) = mpsc::channel(10_000);
        link.receive_events(move |message, delivery| {
            // Nobody there: the test is over, and the broker gets it back.
            sender.try_send(Taken { message, delivery }).ok();
        });
        Inside {
            context,
            link,
            taken,
        }
    }

    /// Waits for a state of the link.
    pub async fn link_is(&self, state: LinkState) {
        crate::eventually!(self.context.links.all().get("office") == Some(&state));
    }

    /// The next event; fails the test if none comes.
    pub async fn next(&mut self) -> Taken {
        let next = tokio::time::timeout(PATIENCE, self.taken.recv()).await;
        next.expect("nothing came").expect("the link has ended")
    }

    /// Fails the test if anything comes within a while.
    pub async fn nothing_more(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(500), self.taken.recv()).await;
        if let Ok(Some(taken)) = next {
            panic!("{:?} came", taken.message);
        }
    }

    /// Publishes an event with all that events have.
    pub fn publish(
        &self,
        exchange: &str,
        key: &str,
        text: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let payload = Payload::json(text.to_owned());
        let event = Outgoing::new(exchange, key, &payload).unwrap();
        let event = event
            .persistent()
            .text("callway-origin", &self.context.config.cluster.group)
            .text("event-id", "0192")
            .number("hops", 1);
        self.link
            .publish(event, Deadline::after(Duration::from_secs(60)))
    }

    /// Ends as the daemon does.
    pub async fn end(self) {
        let tasks = self.context.tasks.clone();
        let background = self.context.background.clone();
        let (drain, stop) = (self.context.drain.clone(), self.context.stop.clone());
        // What nobody took is given back.
        drop(self);
        drain.cancel();
        tasks.close();
        background.close();
        let ended = tokio::time::timeout(PATIENCE, tasks.wait()).await;
        ended.expect("something is not settled");
        stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, background.wait()).await;
        ended.expect("the link does not end");
    }
}

/// Ends it when the test forgets to.
impl Drop for Inside {
    fn drop(&mut self) {
        self.context.drain.cancel();
    }
}
