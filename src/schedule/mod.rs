//! Methods that are called at a time: triggers, kept in the store, become one-way calls when they
//! are due. What was due while callway was away is made up for once.

mod timing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::timing::{is_once, next};
use crate::auth::{Caller, Verb};
use crate::call::{Call, CallId, Fault, Kind, Payload, Via, random_bits, unix_ms};
use crate::context::Context;
use crate::oneway;
use crate::store::{Store, Trigger};

/// Never longer without a look at the clock: it may be set.
const LOOK: Duration = Duration::from_secs(60);
/// After something could not be done now.
const PAUSE: Duration = Duration::from_secs(1);
/// Triggers that are looked at together.
const GROUP: usize = 64;

/// The triggers of this process.
pub struct Schedule {
    store: Store,
    changed: Notify,
}

impl Schedule {
    /// Over the store that keeps them.
    pub fn new(store: Store) -> Schedule {
        Schedule {
            store,
            changed: Notify::new(),
        }
    }

    /// Lets a method be called at a time, as this caller; says how that can be taken back.
    ///
    /// Returns `invalid_params` for what is no time to come, `forbidden` for a method that the
    /// caller may not call, `overloaded` if there are too many.
    pub async fn add(&self, caller: &Caller, method: &str, when: &str) -> Result<String, Fault> {
        let Some(due) = next_time(when).await? else {
            let message = format!("{when:?} has passed, or never comes");
            return Err(Fault::new(Kind::InvalidParams, message));
        };
        if !caller.may(Verb::Call, method) {
            let message = format!("no grant of this token allows to call {method:?}");
            return Err(Fault::new(Kind::Forbidden, message));
        }
        let bits = random_bits()
            .ok_or_else(|| Fault::new(Kind::Internal, "the system gives no random numbers"))?;
        let handle = format!("{bits:032X}");
        let trigger = Trigger {
            handle: handle.clone(),
            method: method.into(),
            caller: caller.token().name.clone(),
            when: when.to_owned(),
            due,
        };
        if !self.store.add_trigger(trigger).await? {
            let message = "too much is scheduled already; unschedule something";
            return Err(Fault::new(Kind::Overloaded, message));
        }
        self.changed.notify_one();
        Ok(handle)
    }

    /// Takes a trigger back. Says whether there was one.
    pub async fn remove(&self, handle: &str) -> Result<bool, Fault> {
        self.store.move_trigger(handle.to_owned(), None).await
    }
}

/// Calls what is due, for as long as callway lets callers in.
pub fn start(context: &Context) {
    let watched = context.clone();
    context.background.spawn(async move {
        let drain = watched.drain.clone();
        drain.run_until_cancelled(watch(&watched)).await;
    });
}

async fn watch(context: &Context) {
    let schedule = &context.schedule;
    loop {
        let wait = match round(context).await {
            Ok(wait) => wait,
            Err(fault) => {
                tracing::warn!(%fault, "what is scheduled waits");
                PAUSE
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = schedule.changed.notified() => {}
        }
    }
}

/// Calls what is due; says how long nothing else is. What cannot be called now holds up nothing else
/// of its group.
async fn round(context: &Context) -> Result<Duration, Fault> {
    loop {
        let mut later = None;
        let triggers = context.store.next_triggers(GROUP).await?;
        let now = unix_ms();
        let due: Vec<_> = triggers
            .iter()
            .filter(|trigger| trigger.due <= now)
            .collect();
        if due.is_empty() {
            let wait = triggers
                .first()
                .map(|trigger| trigger.due.saturating_sub(now));
            return Ok(wait.map_or(LOOK, Duration::from_millis).min(LOOK));
        }
        for trigger in due {
            if let Err(fault) = fire(context, trigger).await {
                later = Some(fault);
                continue;
            }
            let again = match is_once(&trigger.when) {
                true => None,
                false => match next_time(&trigger.when).await {
                    Err(fault) if fault.kind != Kind::InvalidParams => return Err(fault),
                    next => next.unwrap_or(None),
                },
            };
            context
                .store
                .move_trigger(trigger.handle.clone(), again)
                .await?;
        }
        if let Some(fault) = later {
            return Err(fault);
        }
    }
}

/// The next time from now on, looked for beside the event loop: for a day that never comes thousands
/// of years are looked through.
async fn next_time(when: &str) -> Result<Option<u64>, Fault> {
    let when = when.to_owned();
    match spawn_blocking(move || next(&when, unix_ms())).await {
        Ok(found) => found.map_err(|why| Fault::new(Kind::InvalidParams, why)),
        Err(_stopped) => Err(Fault::shutting_down()),
    }
}

/// Accepts the call of a trigger. A fault means that it is to be tried again.
async fn fire(context: &Context, trigger: &Trigger) -> Result<(), Fault> {
    let Some(caller) = context.auth.by_name(&trigger.caller) else {
        tracing::warn!(caller = %trigger.caller, method = %trigger.method,
            "not called as scheduled: its token is gone");
        return Ok(());
    };
    let call = Call {
        id: CallId::new(),
        method: trigger.method.clone(),
        params: Payload::null(),
        caller,
        via: Via::Script,
        deadline: context.dispatcher.deadline(None),
        hops: 0,
        traceparent: None,
        // If callway ends right after, it is not called twice.
        key: Some(Arc::from(format!(
            "schedule-{}-{}",
            trigger.handle, trigger.due
        ))),
        http: None,
        progress: None,
    };
    match context.dispatcher.accept(call.clone()).await {
        Ok(_receipt) => Ok(()),
        Err(fault) if fault.may_pass() => Err(fault),
        Err(fault) => {
            tracing::warn!(method = %trigger.method, %fault, "not called as scheduled");
            context.bury(oneway::letter(&call, &fault)).await
        }
    }
}
