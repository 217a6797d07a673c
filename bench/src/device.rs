//! A device that publishes over MQTT, over raw TCP, so that it leaves the machine to the others.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Failure;
use crate::packets::{self, CONNACK, PUBACK};

/// One connection to the broker.
pub struct Device {
    stream: TcpStream,
    input: Vec<u8>,
    out: Vec<u8>,
    id: u16,
}

impl Device {
    /// Connects and waits until the broker has taken it.
    pub async fn connect(port: u16) -> Result<Device, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut device = Device {
            stream,
            input: Vec::with_capacity(16 * 1024),
            out: packets::connect("bench-device"),
            id: 0,
        };
        device.flush().await?;
        device.came(CONNACK).await?;
        Ok(device)
    }

    /// Puts a message into the buffer.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) {
        let id = (qos > 0).then(|| {
            self.id = self.id.checked_add(1).unwrap_or(1);
            self.id
        });
        packets::publish(&mut self.out, topic, payload, id);
    }

    /// Sends what is in the buffer.
    pub async fn flush(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// Waits until the broker acknowledges messages; says how many. May be dropped while it waits.
    pub async fn acknowledged(&mut self) -> Result<usize, Failure> {
        self.came(PUBACK).await
    }

    async fn came(&mut self, wanted: u8) -> Result<usize, Failure> {
        loop {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err("the MQTT broker closed the connection".into());
            }
            let (mut used, mut count) = (0, 0);
            while let Some((kind, length)) = packets::first(&self.input[used..]) {
                used += length;
                count += usize::from(kind == wanted);
            }
            self.input.drain(..used);
            if count > 0 {
                return Ok(count);
            }
        }
    }
}
