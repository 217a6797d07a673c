//! A WebSocket server that sends back what it is sent (100,000 bytes for `big`; after `deaf` it reads
//! no more), and remembers with what it was asked, what it heard and how clients left. Of the
//! protocols that it is offered it takes any but `unknown`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The headers of each upgrade.
type Heads = Arc<Mutex<Vec<Vec<(String, String)>>>>;
/// The texts that came.
type Texts = Arc<Mutex<Vec<String>>>;

/// The server; it ends on drop.
pub struct Echo {
    address: SocketAddr,
    tls: bool,
    asked: Heads,
    heard: Texts,
    closed: Arc<Mutex<Vec<u16>>>,
    close: broadcast::Sender<(u16, &'static str)>,
    serving: JoinHandle<()>,
}

impl Echo {
    /// In plain text.
    pub async fn start() -> Echo {
        Echo::serve(None).await
    }

    /// With TLS for `localhost`; the certificate is its own authority and is written to `ca`.
    pub async fn start_tls(ca: &Path) -> Echo {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(ca, made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        Echo::serve(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(tls: Option<TlsAcceptor>) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, closed) = (Heads::default(), Arc::<Mutex<Vec<u16>>>::default());
        let heard = Texts::default();
        let (close, _) = broadcast::channel(4);
        let (heads, texts, codes) = (asked.clone(), heard.clone(), closed.clone());
        let (closing, acceptor) = (close.clone(), tls.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, texts, codes) = (heads.clone(), texts.clone(), codes.clone());
                let closing = closing.subscribe();
                match acceptor.clone() {
                    None => drop(tokio::spawn(talk(stream, heads, texts, codes, closing))),
                    Some(acceptor) => drop(tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            talk(stream, heads, texts, codes, closing).await;
                        }
                    })),
                }
            }
        });
        Echo {
            address,
            tls: tls.is_some(),
            asked,
            heard,
            closed,
            close,
            serving,
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        match self.tls {
            true => format!("wss://localhost:{}/", self.address.port()),
            false => format!("ws://{}/", self.address),
        }
    }

    /// The headers of the upgrades so far.
    pub fn asked(&self) -> Vec<Vec<(String, String)>> {
        self.asked.lock().unwrap().clone()
    }

    /// The texts that came so far.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// The codes with which clients closed.
    pub fn closed(&self) -> Vec<u16> {
        self.closed.lock().unwrap().clone()
    }

    /// Closes all connections.
    pub fn close(&self, code: u16, reason: &'static str) {
        self.close.send((code, reason)).unwrap();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: Heads,
    heard: Texts,
    closed: Arc<Mutex<Vec<u16>>>,
    mut closing: broadcast::Receiver<(u16, &'static str)>,
) {
    #[allow(clippy::result_large_err)] // the library's own type
    let look = |request: &Request, mut response: Response| {
        let heads = request.headers().iter();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let heads = heads.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        asked.lock().unwrap().push(heads.collect());
        let offered = request.headers().get("sec-websocket-protocol");
        if let Some(protocol) = offered.filter(|offered| *offered != "unknown") {
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else {
        return;
    };
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) if text.as_str() == "big" => {
                    socket.send(Message::text("x".repeat(100_000))).await.ok();
                }
                Some(Ok(Message::Text(text))) if text.as_str() == "deaf" => {
                    std::future::pending::<()>().await;
                }
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if let Message::Text(text) = &message {
                        heard.lock().unwrap().push(text.as_str().to_owned());
                    }
                    socket.send(message).await.ok();
                }
                Some(Ok(Message::Close(Some(frame)))) => closed.lock().unwrap().push(frame.code.into()),
                Some(Ok(_)) => {}
                _ => return,
            },
            Ok((code, reason)) = closing.recv() => {
                let frame = CloseFrame { code: code.into(), reason: reason.into() };
                socket.close(Some(frame)).await.ok();
                return;
            }
        }
    }
}
