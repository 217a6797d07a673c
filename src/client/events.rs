//! Channels as a client sees them: publishes one event, or follows a channel, over WebSocket, HTTP
//! or the MQTT listener.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::channels::{self, Stream};
use super::sse::EventStream;
use super::{Address, Frame, Request, Socket, Trust, fault, http, ws};
use crate::auth::Secret;
use crate::call::{Fault, Kind, Payload};

/// A server that shows no sign of life for so long is asked for one, and after twice as long lost.
const QUIET: Duration = Duration::from_secs(20);
/// How long connecting and subscribing may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Publishes one event; returns `{"id","position"?}`, of which MQTT tells nothing.
pub async fn publish(
    address: &Address,
    token: Option<&Secret>,
    trust: &Trust,
    (channel, payload): (&str, &Payload),
    within: Duration,
) -> Result<Payload, Fault> {
    let publishing = async {
        match address {
            Address::Ws(url) => {
                let (name, payload) = (json!(channel), payload.as_json());
                let params = format!(r#"{{"channel":{name},"payload":{payload}}}"#);
                let request = Request {
                    method: "callway.publish".into(),
                    params: Payload::json(params),
                    timeout: within,
                    key: None,
                };
                ws::call(url, token, trust, &request).await
            }
            Address::Http(url) => http::publish(url, token, trust, channel, payload).await,
            Address::Mqtt(address) => {
                channels::publish(address, token, trust, (channel, payload), within).await
            }
            Address::Amqp(_) => Err(no_channels()),
        }
    };
    timeout(within, publishing).await.unwrap_or_else(|_| {
        let message = "no answer in time; whether the event was published is unknown";
        Err(Fault::new(Kind::Timeout, message))
    })
}

/// A channel that is being followed.
pub struct Following {
    source: Source,
    /// What was said when it began: where the channel stood, and whether nothing is missing since
    /// the place that was asked for.
    pub begun: Begun,
}

/// How a subscription began.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The place to come back to while there was no event; MQTT has none.
    pub position: Option<String>,
    /// Nothing is missing.
    pub recovered: bool,
}

enum Source {
    Ws(Box<Socket>),
    Http(EventStream),
    Mqtt(Box<Stream>),
}

/// One event: its members as JSON text, and its position.
#[derive(Clone, Debug)]
pub struct Told {
    /// `{"channel","id","position","time","payload"}`; over MQTT channel and payload alone.
    pub json: String,
    /// The place to come back to; MQTT has none.
    pub position: Option<String>,
}

impl Following {
    /// Connects and subscribes, from behind a place on if there is one.
    pub async fn begin(
        address: &Address,
        token: Option<&Secret>,
        trust: &Trust,
        channel: &str,
        since: Option<&str>,
    ) -> Result<Following, Fault> {
        let beginning = async {
            match address {
                Address::Ws(url) => {
                    let socket = Socket::connect(url, token, trust).await?;
                    subscribe(socket, channel, since).await
                }
                Address::Http(url) => {
                    let response = http::follow(url, token, trust, channel, since).await?;
                    let (stream, begun) = EventStream::begin(response).await?;
                    let source = Source::Http(stream);
                    Ok(Following { source, begun })
                }
                Address::Mqtt(_) if since.is_some() => Err(Fault::new(
                    Kind::InvalidRequest,
                    "over MQTT events have no positions: use ws:// or http:// with --since",
                )),
                Address::Mqtt(address) => {
                    let stream =
                        channels::follow(address, token, trust, channel, HANDSHAKE).await?;
                    Ok(Following {
                        source: Source::Mqtt(Box::new(stream)),
                        begun: Begun {
                            position: None,
                            recovered: false,
                        },
                    })
                }
                Address::Amqp(_) => Err(no_channels()),
            }
        };
        timeout(HANDSHAKE, beginning).await.unwrap_or_else(|_| {
            let message = "the server did not take the subscription in time";
            Err(Fault::new(Kind::Timeout, message))
        })
    }

    /// The next event. A fault is the end.
    pub async fn next(&mut self) -> Result<Told, Fault> {
        match &mut self.source {
            Source::Http(stream) => stream.next().await,
            Source::Ws(socket) => next_of(socket).await,
            Source::Mqtt(stream) => stream.next().await,
        }
    }
}

fn no_channels() -> Fault {
    Fault::new(
        Kind::InvalidRequest,
        "a broker knows channels only by their topics and routing keys; see `callway routes CHANNEL`",
    )
}

#[derive(Deserialize)]
struct Message<'a> {
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Message<'_> {
    fn read(text: &str) -> Result<Message<'_>, Fault> {
        serde_json::from_str(text).map_err(|_| foreign())
    }
}

fn foreign() -> Fault {
    Fault::new(
        Kind::ParseError,
        "the server does not speak JSON-RPC there; is the path that of a jsonrpc endpoint?",
    )
}

async fn subscribe(
    mut socket: Socket,
    channel: &str,
    since: Option<&str>,
) -> Result<Following, Fault> {
    #[derive(Deserialize)]
    struct Subscribed {
        position: String,
        recovered: bool,
    }
    let params = json!({ "channel": channel, "since": since });
    let request =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "callway.subscribe", "params": params });
    socket.send(request.to_string()).await?;
    loop {
        let Frame::Text(text) = socket.next().await? else {
            continue;
        };
        let message = Message::read(&text)?;
        if let Some(error) = message.error {
            return Err(fault::from_jsonrpc(error.get()));
        }
        if let Some(result) = message.result {
            let subscribed: Subscribed =
                serde_json::from_str(result.get()).map_err(|_| foreign())?;
            return Ok(Following {
                source: Source::Ws(Box::new(socket)),
                begun: Begun {
                    position: Some(subscribed.position),
                    recovered: subscribed.recovered,
                },
            });
        }
    }
}

async fn next_of(socket: &mut Socket) -> Result<Told, Fault> {
    #[derive(Deserialize)]
    struct Event {
        position: String,
    }
    let mut heard = Instant::now();
    loop {
        let frame = match timeout(QUIET, socket.next()).await {
            Ok(frame) => frame?,
            Err(_quiet) if heard.elapsed() > 2 * QUIET => {
                return Err(Fault::new(Kind::Unavailable, "the server fell silent"));
            }
            Err(_quiet) => {
                socket.ping().await?;
                continue;
            }
        };
        heard = Instant::now();
        let Frame::Text(text) = frame else { continue };
        let message = Message::read(&text)?;
        if let (Some("callway.event"), Some(params)) = (message.method, message.params) {
            let event: Event = serde_json::from_str(params.get()).map_err(|_| foreign())?;
            return Ok(Told {
                json: params.get().to_owned(),
                position: Some(event.position),
            });
        }
    }
}
