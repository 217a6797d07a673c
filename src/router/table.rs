//! The routing table: rows with their targets, found by name.

use std::sync::Arc;

use super::admission::Admission;
use super::trie::Trie;
use crate::config::Route;
use crate::target::Target;

/// One row: what the configuration says, what answers, and who may pass right now.
pub struct Row {
    /// The configured route.
    pub route: Arc<Route>,
    pub(super) target: Arc<dyn Target>,
    pub(super) admission: Admission,
}

/// All rows. The configuration has refused equal patterns before.
#[derive(Default)]
pub struct Table {
    rows: Trie<Arc<Row>>,
}

impl Table {
    /// Adds a row.
    pub fn add(&mut self, route: Arc<Route>, target: Arc<dyn Target>) {
        let admission = Admission::new(&route);
        self.rows.insert(
            &route.pattern.clone(),
            Arc::new(Row {
                route,
                target,
                admission,
            }),
        );
    }

    /// The row that takes this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Row>> {
        self.rows.find(name)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
