//! Replies to requests, handed to whoever waits in the library's own thread: another task in
//! between would be woken first, and find the library's locks still held.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use lapin::message::{Delivery as RawDelivery, DeliveryResult};
use lapin::{Consumer, ConsumerDelegate};
use tokio::sync::mpsc;

use super::sending::key_of;
use super::{Message, Shared};

/// Takes the replies of one session, until that ends.
struct Taker {
    shared: Arc<Shared>,
    /// Why nothing comes any more; empty if the broker did not say.
    ended: mpsc::Sender<String>,
}

/// Hands on what comes. The first thing that the receiver gets is why nothing does any more; it is
/// empty if the library does not know.
pub(super) fn take(replies: &Consumer, shared: &Arc<Shared>) -> mpsc::Receiver<String> {
    let (ended, ending) = mpsc::channel(1);
    replies.set_delegate(Taker {
        shared: shared.clone(),
        ended,
    });
    ending
}

impl ConsumerDelegate for Taker {
    fn on_new_delivery(
        &self,
        delivery: DeliveryResult,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match delivery {
            Ok(Some(reply)) => self.shared.reply(reply),
            // The first reason is the one that counts.
            Ok(None) => self.ended.try_send(String::new()).unwrap_or_default(),
            Err(error) => self.ended.try_send(error.to_string()).unwrap_or_default(),
        }
        let nothing_left: Ready<()> = ready(());
        Box::pin(nothing_left)
    }
}

impl Shared {
    fn reply(&self, reply: RawDelivery) {
        let reason = match key_of(&reply) {
            None => "foreign_reply",
            Some(key) => match self.pending.complete(&key, Ok(Message::new(reply))) {
                Ok(()) => return,
                Err(_) => "late_reply",
            },
        };
        self.metrics.dropped("amqp", reason);
    }
}
