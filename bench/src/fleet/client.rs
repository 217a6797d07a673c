//! A connection of a device, by hand, so that ten thousand cost little.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Failure;
use crate::packets::{self, CONNACK, Login, SUBACK};

/// Where devices connect.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) port: u16,
    /// What lets them in, where anything has to.
    pub(super) token: Option<&'a str>,
}

/// What a device promises: seconds between two packets.
const KEEP_ALIVE: u16 = 60;

/// Connects, and subscribes where there is a filter.
pub(super) async fn connect(
    place: Place<'_>,
    (client, clean): (&str, bool),
    filter: Option<(&str, u8)>,
) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", place.port)).await?;
    stream.set_nodelay(true)?;
    let login = packets::login(Login {
        client,
        token: place.token,
        clean,
        keep_alive: KEEP_ALIVE,
    });
    if ask(&mut stream, &login, CONNACK).await?.get(3) != Some(&0) {
        return Err(format!("{client} is not let in").into());
    }
    if let Some((filter, qos)) = filter {
        let subscribe = packets::subscribe(filter, qos);
        if ask(&mut stream, &subscribe, SUBACK).await?.get(4) != Some(&qos) {
            return Err(format!("{client} may not subscribe {filter}").into());
        }
    }
    Ok(stream)
}

/// Sends a packet and returns the answer, which nothing else comes before or with.
async fn ask(stream: &mut TcpStream, packet: &[u8], wanted: u8) -> Result<Vec<u8>, Failure> {
    stream.write_all(packet).await?;
    let mut input = Vec::with_capacity(64);
    loop {
        if let Some((kind, _)) = packets::first(&input) {
            return match kind == wanted {
                true => Ok(input),
                false => Err(format!("a packet of type {kind} came, not {wanted}").into()),
            };
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err("a device was cut off".into());
        }
    }
}
