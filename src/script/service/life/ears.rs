//! What comes to a service from channels and callers.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::Arc;

use crate::auth::Verb;
use crate::call::{Deadline, Fault, Kind, Payload};
use crate::channel::{Happened as Told, Placed, Subscriber};
use crate::router::{Pattern, Trie};
use crate::script::service::Ground;
use crate::script::service::asks::{nothing, thrown};
use crate::script::service::wire::{Ask, Happened, Json, Outcome, ToService, json};
use crate::script::wire::Problem;
use crate::target::{Mail, Seat, WorkerAnswer};

/// Patterns that one service answers.
const MAX_PATTERNS: usize = 100;
/// The subscription that nobody asked for by a number.
const OWN: u64 = 0;

pub(super) struct Ears {
    ground: Arc<Ground>,
    subscriber: Subscriber,
    /// The channels that the script subscribed to.
    channels: HashSet<Arc<str>>,
    /// Those of them that are not in place yet, by the question that waits for it.
    joining: HashMap<u64, Arc<str>>,
    seat: Seat,
    /// What it answers, and by which function.
    offers: Vec<(Pattern, String)>,
    handlers: Trie<String>,
    /// An event that was told as one of the chat, for the subscription to its channel.
    also: Option<ToService>,
    /// The calls that it has.
    calls: HashMap<u64, Deadline>,
}

impl Ears {
    pub(super) fn new(ground: &Arc<Ground>) -> Ears {
        Ears {
            subscriber: subscriber(ground),
            channels: HashSet::new(),
            joining: HashMap::new(),
            seat: Seat::take(&ground.context.workers),
            offers: Vec::new(),
            handlers: Trie::default(),
            also: None,
            calls: HashMap::new(),
            ground: ground.clone(),
        }
    }

    /// Listens to the chat.
    pub(super) fn begin(&mut self) {
        if let Some(chat) = self.ground.row.chat.clone() {
            self.listen(OWN, &chat);
        }
    }

    /// Subscribes without being asked to; the log has why not.
    fn listen(&mut self, ticket: u64, channel: &Arc<str>) {
        if let Err(fault) = self.subscriber.subscribe(ticket, channel, None) {
            tracing::warn!(
                service = self.ground.name(), %channel, %fault, "a service cannot subscribe"
            );
        }
    }

    /// Answers a question that is about channels and methods. The inner `None` is for those whose
    /// answer comes later, the outer for all others.
    pub(super) fn ask(&mut self, ask: u64, what: &Ask) -> Option<Option<Outcome>> {
        let done = |done: Result<(), Fault>| done.map(|()| nothing()).map_err(thrown);
        match what {
            Ask::Subscribe(channel) => {
                let channel: Arc<str> = channel.as_str().into();
                Some(match self.subscriber.subscribe(ask, &channel, None) {
                    Ok(()) => {
                        self.channels.insert(channel.clone());
                        self.joining.insert(ask, channel);
                        None
                    }
                    Err(fault) => Some(Err(thrown(fault))),
                })
            }
            Ask::Unsubscribe(channel) => {
                self.channels.remove(channel.as_str());
                if self.ground.row.chat.as_deref() != Some(channel) {
                    self.subscriber.unsubscribe(channel);
                }
                Some(Some(done(Ok(()))))
            }
            Ask::Serve(methods, handler) => Some(Some(done(self.serve(methods, handler)))),
            _ => None,
        }
    }

    fn serve(&mut self, methods: &str, handler: &str) -> Result<(), Fault> {
        let invalid = |why: String| Fault::new(Kind::InvalidParams, why);
        let pattern = Pattern::parse(methods).map_err(invalid)?;
        let grants = &self.ground.caller.token().grants;
        if !grants.permit_all(Verb::Serve, &pattern) {
            let message = format!(
                "no grant of this token covers every method of {methods:?}; add it to the token's \
                 `serve`"
            );
            return Err(Fault::new(Kind::Forbidden, message));
        }
        self.offers.retain(|(known, _)| *known != pattern);
        if self.offers.len() >= MAX_PATTERNS {
            let why = format!("a service answers at most {MAX_PATTERNS} patterns");
            return Err(invalid(why));
        }
        self.offers.push((pattern, handler.to_owned()));
        self.handlers = Trie::default();
        for (pattern, handler) in &self.offers {
            self.handlers.insert(pattern, handler.clone());
        }
        let patterns = self.offers.iter().map(|(pattern, _)| pattern.clone());
        let concurrency = self.ground.context.config.limits.in_flight_per_connection;
        self.seat.offer(patterns.collect(), concurrency);
        Ok(())
    }

    /// The deadline of a call that it has.
    pub(super) fn deadline(&self, call: u64) -> Option<Deadline> {
        self.calls.get(&call).copied()
    }

    /// Takes the outcome of a call to its caller, who may have gone away.
    pub(super) fn replied(&mut self, call: u64, outcome: Result<Json, Problem>) {
        self.calls.remove(&call);
        let limit = self.ground.context.config.limits.message;
        let answer = match outcome {
            Ok(result) if result.get().len() > limit => {
                let has = result.get().len();
                let message = format!("the result has {has} bytes, limits.message allows {limit}");
                WorkerAnswer::Error(serde_json::json!({ "message": message }).to_string().into())
            }
            Ok(result) => {
                let text = String::from(Box::<str>::from(result));
                WorkerAnswer::Result(Payload::unchecked_json(text))
            }
            Err(Problem {
                message,
                file,
                line,
                ..
            }) => {
                let error = serde_json::json!({ "message": message, "file": file, "line": line });
                WorkerAnswer::Error(error.to_string().into())
            }
        };
        let _anybody = self.seat.answer(call, answer);
    }

    /// The next thing that the host is to be told of. Safe to drop and ask again.
    pub(super) async fn next(&mut self) -> ToService {
        loop {
            if let Some(frame) = self.also.take() {
                return frame;
            }
            let told = tokio::select! {
                told = poll_fn(|cx| self.subscriber.poll_next(cx)) => told,
                Some(mail) = poll_fn(|cx| self.seat.poll_mail(cx)) => match self.open(mail) {
                    Some(frame) => return frame,
                    None => continue,
                },
            };
            match told {
                Told::Event(placed) => {
                    if let Some(frame) = self.event(&placed) {
                        return frame;
                    }
                }
                Told::Subscribed(OWN, Ok(_)) => {}
                Told::Subscribed(OWN, Err(fault)) => {
                    let service = self.ground.name();
                    tracing::warn!(service, %fault, "a service cannot subscribe");
                }
                Told::Subscribed(ask, outcome) => {
                    self.joining.remove(&ask);
                    let position = |told: crate::channel::Subscribed| {
                        json(
                            serde_json::json!({ "position": told.position.to_string() })
                                .to_string(),
                        )
                    };
                    return ToService::Answer(ask, outcome.map(position).map_err(thrown));
                }
                Told::Overrun => self.begin_anew(),
            }
        }
    }

    fn open(&mut self, mail: Mail) -> Option<ToService> {
        match mail {
            Mail::Ask(call, ask) => {
                let handler = self.handlers.find(&ask.method)?.clone();
                self.calls.insert(call, ask.deadline);
                let frame = ToService::Call {
                    call,
                    hops: ask.hops,
                    handler,
                    params: json(ask.params.as_json().into_owned()),
                    method: ask.method.to_string(),
                    id: ask.call_id.to_string(),
                };
                self.seat.hand_over(call, *ask);
                Some(frame)
            }
            Mail::Cancelled(call) => {
                self.calls.remove(&call);
                self.seat.forget(call).then_some(ToService::Cancel(call))
            }
        }
    }

    fn event(&mut self, placed: &Placed) -> Option<ToService> {
        let event = &placed.event;
        let hops = event.hops;
        let subscribed = self.channels.contains(&event.channel).then(|| {
            let what = Happened::Channel(event.channel.to_string(), json(placed.to_json()));
            ToService::Happened { hops, what }
        });
        if self.ground.row.chat.as_ref() != Some(&event.channel) {
            return subscribed;
        }
        self.also = subscribed;
        let what = Happened::Chat(json(event.payload.as_json().into_owned()));
        Some(ToService::Happened { hops, what })
    }

    /// Events came faster than the service took them, and some are lost: it hears the next ones.
    fn begin_anew(&mut self) {
        self.ground.context.metrics.limit_reached("service_events");
        let service = self.ground.name();
        tracing::warn!(
            service,
            "a service is too slow for its channels, events were lost"
        );
        self.subscriber = subscriber(&self.ground);
        self.begin();
        for (ask, channel) in self.joining.clone() {
            self.listen(ask, &channel);
        }
        for channel in self.channels.clone() {
            self.listen(OWN, &channel);
        }
    }
}

fn subscriber(ground: &Ground) -> Subscriber {
    let context = &ground.context;
    let room = context.config.limits.send_queue;
    context.hub.subscriber(ground.caller.clone(), room)
}
