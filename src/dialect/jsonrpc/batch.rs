//! Gathers the responses to the requests of one batch, which run side by side.

use std::collections::HashMap;

/// Names a batch within its conversation.
pub(super) type BatchId = u64;

/// The batches that still wait for responses.
#[derive(Default)]
pub(super) struct Batches {
    open: HashMap<BatchId, Batch>,
    next: BatchId,
}

struct Batch {
    /// How many responses are to come; while the batch is being read, one more.
    missing: usize,
    /// `[` and the responses so far, with commas between them.
    text: String,
}

impl Batches {
    /// Starts a batch. Ends its reading with [`Batches::read`].
    pub(super) fn begin(&mut self) -> BatchId {
        self.next += 1;
        let batch = Batch {
            missing: 1,
            text: String::from("["),
        };
        self.open.insert(self.next, batch);
        self.next
    }

    /// One more response will come.
    pub(super) fn expect_one(&mut self, id: BatchId) {
        if let Some(batch) = self.open.get_mut(&id) {
            batch.missing += 1;
        }
    }

    /// A response that was expected. Returns the whole answer if it was the last one.
    pub(super) fn add(&mut self, id: BatchId, response: &str) -> Option<String> {
        let batch = self.open.get_mut(&id)?;
        if batch.text.len() > 1 {
            batch.text.push(',');
        }
        batch.text.push_str(response);
        self.count_down(id)
    }

    /// All requests were read. Returns the answer if all responses are there; there is none to a
    /// batch of notifications.
    pub(super) fn read(&mut self, id: BatchId) -> Option<String> {
        self.count_down(id)
    }

    fn count_down(&mut self, id: BatchId) -> Option<String> {
        let batch = self.open.get_mut(&id)?;
        batch.missing -= 1;
        if batch.missing > 0 {
            return None;
        }
        let mut text = self.open.remove(&id)?.text;
        text.push(']');
        (text.len() > 2).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_once_and_whole() {
        let mut batches = Batches::default();
        let id = batches.begin();
        batches.expect_one(id);
        assert_eq!(batches.add(id, "1"), None, "still being read");
        batches.expect_one(id);
        assert_eq!(batches.read(id), None);
        assert_eq!(batches.add(id, "2").as_deref(), Some("[1,2]"));
        assert_eq!(batches.add(id, "3"), None, "over");
    }

    #[test]
    fn notifications_alone_have_no_answer() {
        let mut batches = Batches::default();
        let id = batches.begin();
        assert_eq!(batches.read(id), None);
        assert!(batches.open.is_empty());
    }
}
