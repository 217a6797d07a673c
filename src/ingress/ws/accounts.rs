//! What one connection asks of the accounts of its endpoint.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::dialect::Ticket;
use crate::dialect::action::{Answer, Question, Refusal};
use crate::ingress::action::Desk;
use crate::ingress::work::Work;

/// Questions that a connection may have under way. With more it is not read on: who guesses slows
/// itself down.
const MOST: usize = 8;

type Answered = (Ticket, Result<Answer, Refusal>);

/// The questions of one connection. Dropping it gives them up, but what was to be kept is kept.
pub(super) struct Accounts {
    desk: Option<Arc<Desk>>,
    under_way: Work<BoxFuture<'static, Answered>>,
}

impl Accounts {
    /// Those that are asked for at this desk; without one there are none.
    pub(super) fn at(desk: Option<Arc<Desk>>) -> Accounts {
        let under_way = Work::default();
        Accounts { desk, under_way }
    }

    pub(super) fn ask(&mut self, ticket: Ticket, question: Question) {
        if let Some(desk) = self.desk.clone() {
            let answer = desk.answer(question).map(move |answer| (ticket, answer));
            self.under_way.push(answer.boxed());
        }
    }

    /// Whether nothing is under way that somebody waits for.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether so much is under way that no more should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= MOST
    }

    /// The next answer; pending also when nothing was asked.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Answered> {
        self.under_way.poll(cx)
    }
}
