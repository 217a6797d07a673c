//! In any order, over several connections.

use futures_util::FutureExt as _;

use super::*;

fn tag(id: u16) -> Tag {
    Tag { id, qos: 1 }
}

/// Takes a message; each identifier stands for a text of its own.
async fn take(ledger: &Arc<Ledger>, id: u16) -> Receipt {
    let place = ledger.place(100).await.unwrap();
    ledger.receipt(tag(id), u64::from(id), place)
}

fn acks(ids: &[u16]) -> Due {
    Due::Acks(ids.iter().map(|id| tag(*id)).collect())
}

#[tokio::test]
async fn acknowledgements_keep_the_order_of_arrival() {
    let ledger = Ledger::new();
    ledger.begin(false);
    let (first, second, third) = (
        take(&ledger, 7).await,
        take(&ledger, 3).await,
        take(&ledger, 9).await,
    );
    third.ack();
    second.ack();
    assert!(ledger.due().now_or_never().is_none(), "the oldest is open");
    first.ack();
    assert_eq!(ledger.due().await, acks(&[7, 3, 9]));
    assert_eq!(ledger.last().await, Due::Nothing);
}

#[tokio::test]
async fn a_refused_one_is_told_after_what_came_before_it() {
    let ledger = Ledger::new();
    ledger.begin(false);
    let (first, second) = (take(&ledger, 1).await, take(&ledger, 2).await);
    drop(second);
    first.ack();
    assert_eq!(ledger.due().await, acks(&[1]));
    assert_eq!(ledger.due().await, Due::Refused);
}

#[tokio::test]
async fn what_was_settled_behind_a_refused_one_is_not_handed_on_again() {
    let ledger = Ledger::new();
    ledger.begin(false);
    let (first, second, third) = (
        take(&ledger, 1).await,
        take(&ledger, 2).await,
        take(&ledger, 3).await,
    );
    second.ack();
    drop(first);
    assert_eq!(ledger.due().await, Due::Refused);

    // The broker counts its identifiers anew.
    ledger.begin(true);
    assert!(!ledger.knows(tag(5), 1), "it was refused");
    let first = ledger.receipt(tag(5), 1, ledger.place(1).await.unwrap());
    assert!(ledger.knows(tag(6), 2), "it was settled");
    assert!(ledger.knows(tag(7), 3), "it is still being taken");
    assert!(!ledger.knows(tag(8), 3), "the same words once more");
    first.ack();
    assert_eq!(ledger.due().await, acks(&[5, 6]));
    third.ack();
    assert_eq!(ledger.due().await, acks(&[7]));
    assert_eq!(ledger.last().await, Due::Nothing);
}

#[tokio::test]
async fn a_new_session_knows_nothing_of_the_old_one() {
    let ledger = Ledger::new();
    ledger.begin(false);
    let (first, second) = (take(&ledger, 1).await, take(&ledger, 2).await);
    second.ack();
    ledger.begin(false);
    assert!(!ledger.knows(tag(2), 2));
    drop(first);
    assert_eq!(ledger.last().await, Due::Nothing, "that one is over");
}

#[tokio::test]
async fn nothing_is_recognised_after_two_connections() {
    let ledger = Ledger::new();
    ledger.begin(false);
    take(&ledger, 1).await.ack();
    ledger.begin(true);
    ledger.begin(true);
    assert!(!ledger.knows(tag(1), 1));
}

#[tokio::test]
async fn what_may_wait_is_bounded() {
    let ledger = Ledger::new();
    let half = PLACE * PLACES as usize / 2;
    let one = ledger.place(half).await.unwrap();
    assert!(ledger.place(half).now_or_never().is_none());
    ledger.receipt(tag(1), 1, one).ack();
    assert!(ledger.place(usize::MAX).await.is_some());
}
