//! The beginning of a connection: a CONNECT within its time and size, a caller, a session.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::devices::Claim;
use super::socket::Socket;
use super::talk::Talk;
use crate::auth::{Caller, Digest, Secret, Source};
use crate::call::Fault;
use crate::config::{Limits, MqttOptions};
use crate::context::Context;
use crate::dialect::mqtt::encode::{self, Welcome};
use crate::dialect::mqtt::{
    self, ALIAS_MAXIMUM, Connect, Conversation, RECEIVE_MAXIMUM, Reason, Version, topic,
};

/// Bytes of a CONNECT: a will of the largest size, and room for the rest.
const LARGEST_CONNECT: usize = 96 * 1024;
/// Bytes of a client identifier.
const LONGEST_CLIENT: usize = 256;
/// What a packet has beside its payload.
const BESIDE: usize = 16 * 1024;
/// How long a refusal may wait for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who knocks, and where.
pub(in crate::ingress) struct Guest {
    pub(in crate::ingress) options: MqttOptions,
    pub(in crate::ingress) source: Source,
    /// The fingerprint of its certificate, once its stream says so.
    pub(in crate::ingress) certificate: Option<Digest>,
    /// One connection too many.
    pub(in crate::ingress) beyond: bool,
    pub(in crate::ingress) context: Context,
}

/// The largest packet that is taken.
pub(super) fn most(limits: &Limits) -> usize {
    limits.message + BESIDE
}

/// Why a client is not let in, and how that is said, where it can be.
type Refusal = (Option<Version>, Reason);

/// From the first byte to the last.
pub(super) async fn run(mut socket: Box<dyn Socket>, guest: Guest) {
    // Boxed, so that an idle connection does not keep the room that its beginning needed.
    let opened = Box::pin(open(&mut *socket, &guest)).await;
    match opened {
        Some(Ok(opened)) => {
            let (talk, claim, input) = *opened;
            let Guest {
                context, source, ..
            } = guest;
            Box::pin(talk.run(socket, claim, context, (source, input))).await;
        }
        Some(Err((version, reason))) => {
            let mut out = BytesMut::new();
            if let Some(version) = version {
                encode::refusal(version, reason, &mut out);
            }
            tracing::debug!(?reason, "an MQTT client was refused");
            // It may be gone already.
            let said = async {
                socket.write_all(&out).await?;
                socket.flush().await?;
                socket.shutdown().await
            };
            let _gone = timeout(PATIENCE, said).await;
        }
        None => {}
    }
}

type Opened = Box<(Talk, Claim, BytesMut)>;

/// `None` if there is nobody to tell.
async fn open(socket: &mut dyn Socket, guest: &Guest) -> Option<Result<Opened, Refusal>> {
    let context = &guest.context;
    let (stop, within) = (&context.stop, context.config.limits.handshake);
    let read = tokio::select! {
        () = stop.cancelled() => return None,
        read = timeout(within, read_connect(socket)) => read,
    };
    let (connect, input) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(refusal)) => return Some(Err(refusal?)),
        Err(_elapsed) => {
            context.metrics.limit_reached("handshake");
            return None;
        }
    };
    let version = connect.version;
    let refused = |reason| Some(Err((Some(version), reason)));
    let caller = match admit(guest, &connect).await {
        Ok(caller) => caller,
        Err(reason) => return refused(reason),
    };
    let Some(devices) = context.devices.get() else {
        return refused(Reason::ServerUnavailable);
    };
    let mut welcome = Welcome {
        receive_maximum: RECEIVE_MAXIMUM,
        maximum_packet: u32::try_from(most(&context.config.limits)).unwrap_or(u32::MAX),
        alias_maximum: ALIAS_MAXIMUM,
        ..Welcome::default()
    };
    let client: Arc<str> = match &*connect.client {
        "" if version == Version::V4 && !connect.clean => {
            return refused(Reason::ClientIdentifierNotValid);
        }
        "" => {
            let client = devices.fresh_client();
            welcome.client = Some(client.to_string());
            client
        }
        client => client.into(),
    };
    let options = &guest.options;
    let expiry = expiry(&connect, options, &mut welcome);
    let longest = options.keep_alive;
    let keep_alive = match (version, connect.keep_alive) {
        (Version::V5, wanted) if wanted == 0 || wanted > longest => {
            welcome.keep_alive = Some(longest);
            longest
        }
        (_, keep_alive) => keep_alive,
    };
    if connect.wants_response_information {
        welcome.response_information = Some(format!("{}/{client}", topic::REPLIES));
    }
    let claim = devices.claim(&caller, client, &connect, (options, expiry));
    welcome.session_present = claim.present;
    let mut out = BytesMut::new();
    encode::welcome(version, &welcome, &mut out);
    let conversation = Conversation::new(&connect);
    for id in claim.device.lock().session.resume() {
        conversation.release(id, &mut out);
    }
    let talk = Talk::new(conversation, keep_alive, options.session_expiry, out);
    Some(Ok(Box::new((talk, claim, input))))
}

/// Reads the first packet, and no more into memory than came. `Err(None)` if the client left.
async fn read_connect(socket: &mut dyn Socket) -> Result<(Connect, BytesMut), Option<Refusal>> {
    let mut read = BytesMut::new();
    loop {
        if socket
            .read_buf(&mut read)
            .await
            .is_ok_and(|count| count > 0)
        {
            // What is no CONNECT is not waited for.
            if read[0] != 0x10 {
                return Err(Some((None, Reason::ProtocolError)));
            }
            let frame = mqtt::frame(&read, LARGEST_CONNECT);
            if let Some(frame) = frame.map_err(|reason| Some((None, reason)))? {
                let connect = mqtt::connect(frame.head, &read[frame.start..frame.end]);
                read.advance(frame.end);
                return connect.map(|connect| (connect, read)).map_err(Some);
            }
        } else {
            return Err(None);
        }
    }
}

/// Lets a caller in, or says why not.
async fn admit(guest: &Guest, connect: &Connect) -> Result<Caller, Reason> {
    let context = &guest.context;
    if guest.beyond {
        context.metrics.limit_reached("connections");
        return Err(Reason::ServerBusy);
    }
    if context.drain.is_cancelled() {
        return Err(Reason::ServerShuttingDown);
    }
    if connect.wants_authentication {
        return Err(Reason::BadAuthenticationMethod);
    }
    let client = &connect.client;
    if client.len() > LONGEST_CLIENT || client.contains(char::is_control) {
        return Err(Reason::ClientIdentifierNotValid);
    }
    prove(guest, connect.password.as_ref()).await
}

/// The caller whom the password and the certificate prove: the same one, where both do. Who shows
/// neither is whom the endpoint says.
async fn prove(guest: &Guest, password: Option<&Secret>) -> Result<Caller, Reason> {
    let (auth, metrics) = (&guest.context.auth, &guest.context.metrics);
    let anonymous = || auth.by_name(guest.options.anonymous.as_deref()?);
    let certificate = guest.certificate.as_ref();
    let of_certificate = certificate.and_then(|own| auth.by_certificate(own));
    let of_password = match password {
        None => None,
        Some(token) => {
            let caller = auth.authenticate(token, &guest.source).await;
            Some(caller.map_err(|_: Fault| Reason::BadUserNameOrPassword)?)
        }
    };
    match (of_password, of_certificate) {
        (Some(one), Some(other)) if one.name() != other.name() => {
            metrics.auth_refused("mqtt");
            Err(Reason::NotAuthorized)
        }
        (Some(caller), _) | (None, Some(caller)) => Ok(caller),
        (None, None) => anonymous().ok_or_else(|| {
            metrics.auth_refused("mqtt");
            Reason::NotAuthorized
        }),
    }
}

/// How long the session outlives its connection.
fn expiry(connect: &Connect, options: &MqttOptions, welcome: &mut Welcome) -> Duration {
    let most = options.session_expiry;
    match (connect.version, connect.expiry) {
        (Version::V4, _) if connect.clean => Duration::ZERO,
        (Version::V4, _) => most,
        (Version::V5, expiry) => {
            let wanted = Duration::from_secs(expiry.unwrap_or(0).into());
            if wanted > most {
                welcome.session_expiry = Some(u32::try_from(most.as_secs()).unwrap_or(u32::MAX));
            }
            wanted.min(most)
        }
    }
}
