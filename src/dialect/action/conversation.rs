//! One client's WebSocket: messages are answered in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::account::{Answer, Question, Refusal};
use super::plan::{Action, Plan, Step};
use super::said::Said;
use crate::call::Outcome;
use crate::config::{ActionOptions, Limits};
use crate::dialect::{CloseCode, Effect, Effects, Request, Session, Ticket};

/// Answers that may wait for an earlier one. Messages that want something have a bound of their
/// own; this one is for clients that send nonsense meanwhile.
const WAITING: usize = 1024;

/// The state of one conversation.
///
/// Calls run side by side. What changes an account waits for everything before it, and everything
/// behind it waits for that: a token is good for what was sent before it ended.
pub struct Conversation {
    options: Arc<ActionOptions>,
    /// Messages that may be unanswered. Those count too whose answer is there and waits for its
    /// turn: answers may be large.
    most: usize,
    next: Ticket,
    /// What was asked and not answered yet, in the order in which it came.
    asked: VecDeque<Asked>,
}

struct Asked {
    /// The last thing that was wanted for it.
    ticket: Ticket,
    state: State,
}

enum State {
    /// Nothing was done yet.
    Waiting(Question, Plan),
    /// The accounts were asked, or a call was made.
    UnderWay { plan: Plan, changes: bool },
    /// What is sent when its turn comes, if anything.
    Done(Option<String>),
}

impl Conversation {
    /// With the options of its endpoint.
    pub fn new(options: Arc<ActionOptions>, limits: &Limits) -> Conversation {
        Conversation {
            options,
            most: limits.in_flight_per_connection,
            next: 0,
            asked: VecDeque::new(),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        self.next
    }

    /// What is sent: the answer, or nothing where the protocol has silence.
    fn text(&self, said: &Said) -> Option<String> {
        let silent = said.is_unknown() && !self.options.answer_unknown;
        (!silent).then(|| said.to_frame())
    }

    /// Begins what can begin, and sends what is ready and has nothing unanswered before it.
    fn advance(&mut self, effects: &mut Effects) {
        while let Some(State::Done(text)) = self.asked.front_mut().map(|asked| &mut asked.state) {
            if let Some(text) = text.take() {
                effects.push(Effect::Send(text.into()));
            }
            self.asked.pop_front();
        }
        for at in 0..self.asked.len() {
            let asked = &mut self.asked[at];
            if let State::Waiting(question, _) = &asked.state {
                let changes = !matches!(question, Question::Admit { .. });
                if changes && at > 0 {
                    return;
                }
                let ticket = asked.ticket;
                let waiting = std::mem::replace(&mut asked.state, State::Done(None));
                if let State::Waiting(question, plan) = waiting {
                    asked.state = State::UnderWay { plan, changes };
                    effects.push(Effect::Account(ticket, question));
                }
            }
            if matches!(self.asked[at].state, State::UnderWay { changes: true, .. }) {
                return;
            }
        }
    }

    /// The message that this was wanted for.
    fn find(&mut self, ticket: Ticket) -> Option<(usize, &mut Plan)> {
        let at = self.asked.iter().position(|asked| asked.ticket == ticket)?;
        match &mut self.asked[at].state {
            State::UnderWay { plan, .. } => Some((at, plan)),
            State::Waiting(..) | State::Done(_) => None,
        }
    }

    fn done(&mut self, at: usize, said: &Said, effects: &mut Effects) {
        self.asked[at].state = State::Done(self.text(said));
        self.advance(effects);
    }
}

impl Session for Conversation {
    fn message(&mut self, message: Bytes, effects: &mut Effects) {
        let full = self.asked.len() >= self.most;
        let state = match Action::read(&message, &self.options) {
            Err(said) => State::Done(self.text(&said)),
            Ok(action) if full => {
                effects.push(Effect::Limit("in_flight_per_connection"));
                State::Done(self.text(&action.plan.overloaded()))
            }
            Ok(Action { question, plan }) => State::Waiting(question, plan),
        };
        let ticket = self.ticket();
        self.asked.push_back(Asked { ticket, state });
        if self.asked.len() > WAITING {
            let why = "too many replies wait for an earlier one";
            effects.push(Effect::Limit("replies_waiting"));
            effects.push(Effect::Close(CloseCode::TooSlow, why));
        }
        self.advance(effects);
    }

    fn answered(
        &mut self,
        ticket: Ticket,
        answered: Result<Answer, Refusal>,
        effects: &mut Effects,
    ) {
        let Some((at, plan)) = self.find(ticket) else {
            return;
        };
        match plan.answered(answered) {
            Step::Say(said) => self.done(at, &said, effects),
            Step::Call(caller, method, params) => {
                let ticket = self.ticket();
                self.asked[at].ticket = ticket;
                let request = Request {
                    method,
                    params,
                    timeout: None,
                    key: None,
                    progress: false,
                    patient: false,
                };
                effects.push(Effect::CallAs(ticket, caller, request));
            }
        }
    }

    fn outcome(&mut self, ticket: Ticket, outcome: Outcome, effects: &mut Effects) {
        if let Some((at, plan)) = self.find(ticket) {
            let said = plan.outcome(outcome);
            self.done(at, &said, effects);
        }
    }

    /// A client of this protocol need not read, and so answer pings, until it has said something.
    fn must_pong(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
