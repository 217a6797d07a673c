//! A device that calls a method by an envelope, as MQTT 3.1.1 does it.

use tokio::net::TcpStream;

use super::client::{Place, connect};
use crate::Failure;
use crate::packets::{self, PUBLISH};
use crate::wire::{PARAMS, Wire, find, number};

/// What is called.
pub(super) const METHOD: &str = "bench/js";

/// Requests made beforehand, one for each slot.
pub(super) struct Question(Vec<Vec<u8>>);

impl Question {
    pub(super) async fn connect(
        place: Place<'_>,
        number: usize,
        in_flight: usize,
    ) -> Result<(TcpStream, Question), Failure> {
        let reply_to = format!("callway/reply/{number}");
        let client = format!("caller-{number}");
        let stream = connect(place, (&client, true), Some((&reply_to, 0))).await?;
        let request = |slot| {
            let payload = format!(
                r#"{{"method":"{METHOD}","params":{PARAMS},"id":{slot},"reply_to":"{reply_to}"}}"#
            );
            let mut out = Vec::new();
            packets::publish(&mut out, "callway/call", payload.as_bytes(), None);
            out
        };
        Ok((stream, Question((0..in_flight).map(request).collect())))
    }
}

impl Wire for Question {
    fn request(&mut self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[slot]);
    }

    fn replies(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        done: &mut Vec<usize>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while let Some((kind, length)) = packets::first(&input[used..]) {
            let packet = &input[used..used + length];
            used += length;
            let (_, reply) = match kind {
                PUBLISH => packets::message(packet).ok_or("a broken message came")?,
                _ => continue,
            };
            if find(reply, br#""error":"#).is_some() {
                return Err(String::from_utf8_lossy(reply).into());
            }
            let at = find(reply, br#""id":"#).ok_or("a reply without id")?;
            done.push(number(&reply[at + 5..]));
        }
        Ok(used)
    }
}
