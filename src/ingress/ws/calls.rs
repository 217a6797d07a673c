//! The calls of one connection, under way inside its task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::auth::Caller;
use crate::call::{Call, CallId, Deadline, Fault, Kind, Outcome, Progress, ProgressSink, Via};
use crate::context::Context;
use crate::dialect::{Request, Ticket};
use crate::ingress::work::Work;

/// Pieces of interim news that may wait for the connection; more are dropped and counted.
const NEWS: usize = 64;

type News = (Ticket, Box<RawValue>);

/// The calls that one client made. Dropping it cancels them.
pub(super) struct Calls {
    caller: Caller,
    context: Context,
    under_way: Work<UnderWay>,
    /// Parts of batches that found no place; at most `limits.batch`.
    waiting: VecDeque<(Ticket, Caller, Request, Deadline)>,
    /// Made with the first call that can take news.
    news: Option<(Arc<ProgressSink>, mpsc::Receiver<News>)>,
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
    pub(super) fn new(caller: Caller, context: Context) -> Calls {
        Calls {
            caller,
            context,
            under_way: Work::default(),
            waiting: VecDeque::new(),
            news: None,
        }
    }

    /// Who makes them, unless somebody else is named.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Starts a call, or lets it wait if it may.
    ///
    /// Returns `overloaded` if there is no place for it.
    pub(super) fn submit(
        &mut self,
        ticket: Ticket,
        caller: Caller,
        request: Request,
    ) -> Result<(), Fault> {
        let limits = &self.context.config.limits;
        let places = limits.in_flight_per_connection;
        let deadline = self.context.dispatcher.deadline(request.timeout);
        if self.under_way.len() < places {
            self.start(ticket, caller, request, deadline);
            return Ok(());
        }
        if request.patient && self.waiting.len() < limits.batch {
            self.waiting.push_back((ticket, caller, request, deadline));
            return Ok(());
        }
        self.context
            .metrics
            .limit_reached("in_flight_per_connection");
        Err(Fault::new(
            Kind::Overloaded,
            format!("this connection has {places} calls under way already"),
        )
        .with_retry_after(Duration::from_secs(1)))
    }

    fn start(&mut self, ticket: Ticket, caller: Caller, request: Request, deadline: Deadline) {
        let call = Call {
            id: CallId::new(),
            method: request.method,
            params: request.params,
            caller,
            via: Via::Ws,
            deadline,
            hops: 0,
            traceparent: None,
            key: request.key,
            http: None,
            progress: request.progress.then(|| self.progress(ticket)),
        };
        let outcome = self.context.dispatcher.call(call).boxed();
        self.under_way.push(UnderWay { ticket, outcome });
    }

    fn progress(&mut self, ticket: Ticket) -> Progress {
        let (sink, _) = self.news.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(NEWS);
            let metrics = self.context.metrics.clone();
            let sink = move |ticket: Ticket, data| {
                if sender.try_send((ticket, data)).is_err() {
                    metrics.dropped("ws", "progress");
                }
            };
            (Arc::new(sink), receiver)
        });
        Progress::new(sink.clone(), ticket)
    }

    /// Gives up a call.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.waiting.retain(|(waiting, ..)| *waiting != ticket);
        self.under_way.retain(|call| call.ticket != ticket);
        self.fill();
    }

    /// The next outcome; pending also when there are no calls.
    pub(super) fn poll_outcome(&mut self, cx: &mut TaskContext<'_>) -> Poll<(Ticket, Outcome)> {
        let done = self.under_way.poll(cx);
        if done.is_ready() {
            self.fill();
        }
        done
    }

    /// Gives free places to those who wait for one.
    fn fill(&mut self) {
        while self.under_way.len() < self.context.config.limits.in_flight_per_connection
            && let Some((ticket, caller, request, deadline)) = self.waiting.pop_front()
        {
            self.start(ticket, caller, request, deadline);
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
