//! How the library is brought to go on with a session of MQTT 5 that the broker kept.
//!
//! It refuses that unless it finds its own half of the session in a store, and where it may go on
//! without (`BrokerSessionResumePolicy::AllowBrokerOnly`) it refuses to subscribe anything. The
//! half of a connection that only receives is empty: it never published. At most the last step of
//! QoS 2 is open, and the library answers a PUBREL that it does not know as the standard wants.

use futures_util::future::BoxFuture;
use rumqttc_v5::{
    PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey,
};

/// A store that always holds an empty session, and saves none.
#[derive(Debug)]
pub(super) struct Afresh {
    /// The limit that the connection has for messages on their way; they are compared.
    pub inflight: u16,
}

type Stored<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for Afresh {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        let empty = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.inflight),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async { Ok(Some(empty)) })
    }

    fn save<'a>(
        &'a self,
        _key: &'a SessionStoreKey,
        _session: &'a PersistedSession,
    ) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _key: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
