//! The calls of one connection, under way inside its task.

use std::task::{Context as TaskContext, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::auth::Caller;
use crate::call::{Call, CallId, Outcome, Progress, Via};
use crate::context::Context;
use crate::dialect::{Request, Ticket};

/// Pieces of interim news that may wait for the connection; more are dropped and counted.
const NEWS: usize = 64;

type News = (Ticket, Box<RawValue>);

/// Dropping it cancels every call.
#[derive(Default)]
pub(super) struct Calls {
    under_way: FuturesUnordered<UnderWay>,
    /// Made with the first call that can take news.
    news: Option<(mpsc::Sender<News>, mpsc::Receiver<News>)>,
}

struct UnderWay {
    ticket: Ticket,
    outcome: BoxFuture<'static, Outcome>,
}

impl Future for UnderWay {
    type Output = (Ticket, Outcome);

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let ticket = self.ticket;
        self.outcome.poll_unpin(cx).map(|outcome| (ticket, outcome))
    }
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn start(
        &mut self,
        ticket: Ticket,
        request: Request,
        caller: &Caller,
        context: &Context,
    ) {
        let dispatcher = context.dispatcher.clone();
        let progress = request.progress.then(|| self.progress(ticket, context));
        let call = Call {
            id: CallId::new(),
            method: request.method,
            params: request.params,
            caller: caller.clone(),
            via: Via::Ws,
            deadline: dispatcher.deadline(request.timeout),
            hops: 0,
            traceparent: None,
            http: None,
            progress,
        };
        let outcome = async move { dispatcher.call(call).await }.boxed();
        self.under_way.push(UnderWay { ticket, outcome });
    }

    fn progress(&mut self, ticket: Ticket, context: &Context) -> Progress {
        let (sender, _) = self.news.get_or_insert_with(|| mpsc::channel(NEWS));
        let (sender, metrics) = (sender.clone(), context.metrics.clone());
        Progress::new(move |data| {
            if sender.try_send((ticket, data)).is_err() {
                metrics.dropped("ws", "progress");
            }
        })
    }

    /// Gives up a call.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        // The set cannot take out one future, so it is filled anew without it. Rare enough.
        let all = std::mem::take(&mut self.under_way);
        self.under_way = all
            .into_iter()
            .filter(|call| call.ticket != ticket)
            .collect();
    }

    /// The next outcome; pending also when there are no calls.
    pub(super) fn poll_outcome(&mut self, cx: &mut TaskContext<'_>) -> Poll<(Ticket, Outcome)> {
        match self.under_way.poll_next_unpin(cx) {
            Poll::Ready(Some(done)) => Poll::Ready(done),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The next piece of interim news.
    pub(super) fn poll_news(&mut self, cx: &mut TaskContext<'_>) -> Poll<News> {
        match &mut self.news {
            Some((_, receiver)) => match receiver.poll_recv(cx) {
                Poll::Ready(Some(news)) => Poll::Ready(news),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }
}
