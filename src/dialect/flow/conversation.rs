//! One client's WebSocket: messages are let into their threads one after the other, then answered
//! side by side; whatever is published to those threads reaches the client.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::frame::{self, Frame};
use super::reply::{Said, of_event};
use super::{Message, Thread};
use crate::auth::{Digest, Secret, digest};
use crate::call::{Fault, Outcome};
use crate::channel::Placed;
use crate::config::{FlowClient, FlowOptions};
use crate::dialect::{CloseCode, Deed, Effect, Effects, Session, Ticket, Told};

/// Messages of one socket that are not answered yet; more are refused.
const UNANSWERED: usize = 64;
/// Threads of one socket.
const THREADS: usize = 100;

/// What takes time: whose threads are whose, and what answers.
pub trait Desk: Send + Sync {
    /// Lets a client into a thread; comes to [`Done::Admitted`], or says why not.
    fn admit(&self, thread: &Thread, nonce: Option<&Secret>) -> Deed;

    /// Puts a message to the method, and its reply into the thread; comes to [`Done::Answered`]. It
    /// goes on if the client leaves.
    fn answer(&self, message: &Arc<Message>) -> Deed;

    /// Remembers that a user has seen a thread; comes to [`Done::Noticed`]. For one that the client
    /// was not let into yet, only if it is its own and has no secret.
    fn notice(&self, thread: &Thread, let_in: bool) -> Deed;
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// The client is in; this is the secret that the thread has from now on, if it got one now.
    Admitted(Option<Secret>),
    /// The reply is in the thread, or there is none; or it could not be put there, so that only
    /// this client can have it.
    Answered(Option<Value>),
    /// It is remembered.
    Noticed,
}

/// A thread that the client was let into before the socket was opened.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The thread.
    pub thread: Thread,
    /// The hash of its secret, where it has one.
    pub proof: Option<Digest>,
}

/// What whoever shows a ticket gets a socket for.
pub struct Pass {
    /// The options of the endpoint.
    pub options: Arc<FlowOptions>,
    /// The client.
    pub client: FlowClient,
    /// A thread that it is in from the start.
    pub entrance: Option<Entrance>,
}

/// The state of one conversation.
pub struct Conversation {
    options: Arc<FlowOptions>,
    desk: Box<dyn Desk>,
    threads: HashMap<Arc<str>, Entrance>,
    /// Where the first of `waiting`, or of `entrance`, stands on its way into its thread.
    entering: Option<(Ticket, Step)>,
    entrance: Option<Entrance>,
    waiting: VecDeque<Message>,
    asked: HashMap<Ticket, Asked>,
    next: Ticket,
}

enum Step {
    /// The first message asks to be let in.
    Admit,
    /// The socket begins to hear the thread, so that no reply comes before it does; `first` says
    /// that the first message waits for that.
    Join { entrance: Entrance, first: bool },
}

enum Asked {
    Publish(Arc<Message>),
    Answer,
    Notice,
}

impl Conversation {
    /// With a thread that the client was let into already, if it named one.
    pub fn new(
        options: Arc<FlowOptions>,
        desk: impl Desk + 'static,
        entrance: Option<Entrance>,
    ) -> Conversation {
        Conversation {
            options,
            desk: Box::new(desk),
            threads: HashMap::new(),
            entering: None,
            entrance,
            waiting: VecDeque::new(),
            asked: HashMap::new(),
            next: 0,
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        self.next
    }

    /// Takes up what waits, until something has to be waited for.
    fn go_on(&mut self, effects: &mut Effects) {
        while self.entering.is_none() {
            if let Some(entrance) = self.entrance.take() {
                self.join(entrance, false, effects);
                return;
            }
            let Some(message) = self.waiting.front() else {
                return;
            };
            if self.is_in(message) {
                self.publish(effects);
                continue;
            }
            let admit = self.desk.admit(&message.thread, message.nonce.as_ref());
            let ticket = self.ticket();
            self.entering = Some((ticket, Step::Admit));
            effects.push(Effect::Do(ticket, admit));
        }
    }

    /// Whether the socket is in the message's thread, and the message has what that needs.
    fn is_in(&self, message: &Message) -> bool {
        let Some(entrance) = self.threads.get(&message.thread.id) else {
            return false;
        };
        let shown = message.nonce.as_ref().map(|nonce| digest(nonce.expose()));
        entrance.proof.is_none() || entrance.proof == shown
    }

    /// Whether the client was let into a thread, also if the socket does not hear it yet.
    fn was_let_in(&self, thread: &Thread) -> bool {
        let joining = match &self.entering {
            Some((_, Step::Join { entrance, .. })) => Some(entrance),
            _ => None,
        };
        let mut coming = self.entrance.iter().chain(joining);
        self.threads.contains_key(&thread.id) || coming.any(|one| one.thread == *thread)
    }

    fn join(&mut self, entrance: Entrance, first: bool, effects: &mut Effects) {
        let ticket = self.ticket();
        let channel = entrance.thread.channel.clone();
        self.entering = Some((ticket, Step::Join { entrance, first }));
        effects.push(Effect::Subscribe(ticket, channel, None));
    }

    /// The first message that waits becomes an event.
    fn publish(&mut self, effects: &mut Effects) {
        let Some(message) = self.waiting.pop_front() else {
            return;
        };
        let ticket = self.ticket();
        let channel = message.thread.channel.clone();
        effects.push(Effect::Publish(ticket, channel, message.to_event()));
        self.asked.insert(ticket, Asked::Publish(Arc::new(message)));
    }

    /// Whether as much is under way as may be; then the client is told.
    fn is_full(&self, effects: &mut Effects) -> bool {
        let full = self.waiting.len() + self.asked.len() >= UNANSWERED;
        if full {
            effects.push(Effect::Limit("flow_messages"));
            let why = "Too many messages are not answered yet; try again soon";
            effects.push(Effect::Send(frame::error(why)));
        }
        full
    }

    fn send(&mut self, message: Message, effects: &mut Effects) {
        if self.is_full(effects) {
            return;
        }
        self.waiting.push_back(message);
        self.go_on(effects);
    }

    fn noticed(&mut self, thread: &Thread, effects: &mut Effects) {
        if self.is_full(effects) {
            return;
        }
        let notice = self.desk.notice(thread, self.was_let_in(thread));
        let ticket = self.ticket();
        self.asked.insert(ticket, Asked::Notice);
        effects.push(Effect::Do(ticket, notice));
    }

    /// What came of the step that the first one was at.
    fn stepped(&mut self, step: Step, told: Result<Told, Fault>, effects: &mut Effects) {
        match (step, told) {
            (Step::Admit, Ok(Told::Flow(Done::Admitted(minted)))) => self.admitted(minted, effects),
            (Step::Join { entrance, first }, Ok(_)) => {
                self.threads.insert(entrance.thread.id.clone(), entrance);
                if first {
                    self.publish(effects);
                }
            }
            (step, told) => {
                if !matches!(step, Step::Join { first: false, .. }) {
                    self.waiting.pop_front();
                }
                let why = told.err().map(|fault| fault.message);
                let why = why.as_deref().unwrap_or("The message was not taken");
                effects.push(Effect::Send(frame::error(why)));
            }
        }
    }

    /// The first message was let into its thread, which may have got its secret by that.
    fn admitted(&mut self, minted: Option<Secret>, effects: &mut Effects) {
        let Some(message) = self.waiting.front() else {
            return;
        };
        if let Some(secret) = &minted {
            effects.push(Effect::Send(frame::secret(secret)));
        }
        let shown = minted.as_ref().or(message.nonce.as_ref());
        let proof = shown.filter(|_| self.options.nonce);
        let entrance = Entrance {
            thread: message.thread.clone(),
            proof: proof.map(|secret| digest(secret.expose())),
        };
        if let Some(known) = self.threads.get_mut(&entrance.thread.id) {
            *known = entrance;
            self.publish(effects);
        } else if self.threads.len() < THREADS {
            self.join(entrance, true, effects);
        } else {
            self.waiting.pop_front();
            let why = format!("This socket is in {THREADS} threads already");
            effects.push(Effect::Limit("flow_threads_of_socket"));
            effects.push(Effect::Send(frame::error(&why)));
        }
    }
}

impl Session for Conversation {
    fn opened(&mut self, effects: &mut Effects) {
        effects.push(Effect::Silence(
            self.options.idle,
            CloseCode::Done,
            "no message for too long",
        ));
        self.go_on(effects);
    }

    fn message(&mut self, message: Bytes, effects: &mut Effects) {
        match frame::read(&self.options, &message) {
            Ok(Frame::Send(message)) => self.send(*message, effects),
            Ok(Frame::Ping) => effects.push(Effect::Send(frame::pong())),
            Ok(Frame::Noticed(thread)) => self.noticed(&thread, effects),
            Ok(Frame::Idle) => {}
            Err(why) => effects.push(Effect::Send(frame::error(&why))),
        }
    }

    fn outcome(&mut self, _ticket: Ticket, _outcome: Outcome, _effects: &mut Effects) {
        // Its calls are made by the desk, because they outlive it.
    }

    fn told(&mut self, ticket: Ticket, told: Result<Told, Fault>, effects: &mut Effects) {
        if let Some((_, step)) = self.entering.take_if(|(entering, _)| *entering == ticket) {
            self.stepped(step, told, effects);
            return self.go_on(effects);
        }
        match (self.asked.remove(&ticket), told) {
            (_, Err(fault)) => effects.push(Effect::Send(frame::error(&fault.message))),
            (Some(Asked::Publish(message)), Ok(_)) => {
                effects.push(Effect::Send(frame::write(
                    "message.delivered",
                    &message.echo(),
                )));
                let answer = self.desk.answer(&message);
                let ticket = self.ticket();
                self.asked.insert(ticket, Asked::Answer);
                effects.push(Effect::Do(ticket, answer));
            }
            (_, Ok(Told::Flow(Done::Answered(Some(reply))))) => {
                effects.push(Effect::Send(frame::write("message.received", &reply)));
            }
            _ => {}
        }
    }

    fn event(&mut self, placed: &Placed, effects: &mut Effects) {
        let thread = Thread::of_channel(&self.options, &placed.event.channel);
        let said = thread.and_then(|thread| of_event(&thread, &placed.event.payload));
        match said {
            Some(Said::Received(reply)) => {
                effects.push(Effect::Send(frame::write("message.received", &reply)));
            }
            Some(Said::Typing(who)) => {
                effects.push(Effect::Send(frame::write("agent.typing", &who)));
            }
            Some(Said::ByUser(_)) | None => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
