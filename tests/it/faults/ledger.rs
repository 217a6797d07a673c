//! The ledger of every attempt, every acknowledgement and every delivery, and what it adds up to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::id::{Flow, Id};

/// Shared by all who write into it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    pages: BTreeMap<Flow, Page>,
    /// Why a publisher was refused, and how often.
    refusals: HashMap<String, usize>,
    /// The first few payloads that nobody ever published.
    strange: Vec<String>,
}

/// What is known of one flow.
#[derive(Default)]
struct Page {
    attempts: HashMap<Id, usize>,
    acknowledged: HashSet<Id>,
    /// In the order in which they came.
    delivered: Vec<Id>,
    seen: HashSet<Id>,
    /// Acknowledged and not delivered yet.
    owed: HashSet<Id>,
}

/// What a page adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Including those that tried the same message again.
    pub attempts: usize,
    /// Messages, each once.
    pub acknowledged: usize,
    /// Messages, each once.
    pub delivered: usize,
    /// Acknowledged and never delivered.
    pub lost: usize,
    /// Deliveries of what had been delivered before.
    pub duplicates: usize,
    /// Those that the publisher's own further attempts do not account for.
    pub unasked: usize,
    /// First deliveries behind that of a later message of the same key.
    pub inversions: usize,
}

impl Ledger {
    /// A publisher tries.
    pub fn attempt(&self, id: Id) {
        let mut book = self.0.lock();
        *book.page(id).attempts.entry(id).or_default() += 1;
    }

    /// A broker delivers it to callway. One that has forgotten that it was acknowledged is like a
    /// publisher that tries again.
    pub fn offer(&self, id: Id) {
        let mut book = self.0.lock();
        let page = book.page(id);
        if page.acknowledged.contains(&id) {
            *page.attempts.entry(id).or_default() += 1;
        }
    }

    /// From now on callway answers for it.
    pub fn acknowledge(&self, id: Id) {
        let mut book = self.0.lock();
        let page = book.page(id);
        if page.acknowledged.insert(id) && !page.seen.contains(&id) {
            page.owed.insert(id);
        }
    }

    /// A publisher was told why not.
    pub fn refuse(&self, reason: &str) {
        let mut book = self.0.lock();
        *book.refusals.entry(reason.to_owned()).or_default() += 1;
    }

    /// Something arrived.
    pub fn deliver(&self, payload: &[u8]) {
        let mut book = self.0.lock();
        match Id::of(payload) {
            Some(id) if book.page(id).attempts.contains_key(&id) => {
                let page = book.page(id);
                page.delivered.push(id);
                page.seen.insert(id);
                page.owed.remove(&id);
            }
            _ if book.strange.len() < 10 => {
                let shown = String::from_utf8_lossy(payload).into_owned();
                book.strange.push(shown);
            }
            _ => {}
        }
    }

    /// How many messages of a flow are acknowledged.
    pub fn acknowledged(&self, flow: Flow) -> usize {
        let book = self.0.lock();
        book.pages
            .get(&flow)
            .map_or(0, |page| page.acknowledged.len())
    }

    /// How often a publisher was refused for a reason.
    pub fn refused(&self, reason: &str) -> usize {
        self.0.lock().refusals.get(reason).copied().unwrap_or(0)
    }

    /// All reasons, with how often.
    pub fn refusals(&self) -> Vec<(String, usize)> {
        let book = self.0.lock();
        let mut refusals: Vec<_> = book.refusals.clone().into_iter().collect();
        refusals.sort();
        refusals
    }

    /// What is acknowledged and not delivered, in order.
    pub fn owed(&self) -> Vec<Id> {
        let book = self.0.lock();
        let owed = book.pages.values().flat_map(|page| &page.owed);
        let mut owed: Vec<_> = owed.copied().collect();
        owed.sort();
        owed
    }

    /// What arrived although nobody published it.
    pub fn strange(&self) -> Vec<String> {
        self.0.lock().strange.clone()
    }

    /// Adds up each flow.
    pub fn sums(&self) -> BTreeMap<Flow, Sum> {
        let book = self.0.lock();
        let pages = book.pages.iter();
        pages.map(|(flow, page)| (*flow, page.sum())).collect()
    }
}

impl Book {
    fn page(&mut self, id: Id) -> &mut Page {
        self.pages.entry(id.flow).or_default()
    }
}

impl Page {
    fn sum(&self) -> Sum {
        let mut times: HashMap<Id, usize> = HashMap::new();
        let mut latest: HashMap<u16, u32> = HashMap::new();
        let mut inversions = 0;
        for id in &self.delivered {
            let times = times.entry(*id).or_default();
            *times += 1;
            let latest = latest.entry(id.key).or_default();
            inversions += usize::from(*times == 1 && id.number < *latest);
            *latest = id.number.max(*latest);
        }
        let unasked = |(id, times): (&Id, &usize)| times.saturating_sub(self.attempts[id]);
        Sum {
            attempts: self.attempts.values().sum(),
            acknowledged: self.acknowledged.len(),
            delivered: times.len(),
            lost: self.owed.len(),
            duplicates: self.delivered.len() - times.len(),
            unasked: times.iter().map(unasked).sum(),
            inversions,
        }
    }
}

#[test]
fn the_ledger_finds_what_is_wrong() {
    let id = |number| Id {
        flow: Flow::WsToMqtt,
        key: 3,
        number,
    };
    let ledger = Ledger::default();
    for number in [0, 1, 1, 2, 3, 4] {
        ledger.attempt(id(number));
    }
    for number in 0..4 {
        ledger.acknowledge(id(number));
    }
    // 1 twice, as often as it was tried; 2 late; 0 once too often; 3 never; 4 without a promise.
    for number in [0, 1, 1, 4, 2, 0] {
        ledger.deliver(id(number).payload().as_bytes());
    }
    ledger.deliver(id(5).payload().as_bytes());
    ledger.deliver(&id(3).payload().as_bytes()[1..]);
    let sum = Sum {
        attempts: 6,
        acknowledged: 4,
        delivered: 4,
        lost: 1,
        duplicates: 2,
        unasked: 1,
        inversions: 1,
    };
    assert_eq!(ledger.sums()[&Flow::WsToMqtt], sum);
    assert_eq!(ledger.owed(), [id(3)]);
    assert_eq!(ledger.strange().len(), 2);
}
