//! callway's own account of its spool: what it accepted is what became of it and what waits.

use crate::eventually;
use crate::support::Daemon;

const QUEUES: [&str; 2] = ["bus/field", "bus/office"];

/// Waits until nothing waits any more, and adds up.
pub async fn are_balanced(daemon: &Daemon) {
    for queue in QUEUES {
        let waiting = format!(r#"callway_spool_messages{{queue="{queue}"}}"#);
        eventually!(daemon.metric(&waiting).await == 0.0);
        let records = async |event| {
            let name = "callway_spool_records_total";
            let line = format!(r#"{name}{{queue="{queue}",event="{event}"}}"#);
            daemon.metric(&line).await
        };
        let came = records("accepted").await + records("recovered").await;
        let lost = records("purged").await + records("lost").await;
        let done = records("done").await;
        assert!(done > 0.0, "{queue}: is it counted under another name?");
        assert_eq!((came, lost), (done, 0.0), "{queue}");
    }
    assert_eq!(daemon.metric("callway_spool_damaged_total").await, 0.0);
    assert_eq!(daemon.metric("callway_dead_letters").await, 0.0);
}
