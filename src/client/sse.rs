//! Reads an event stream (the HTML standard's server-sent events) from the body of a response.

use std::time::Duration;

use reqwest::Response;
use tokio::time::timeout;

use super::events::{Begun, Told};
use super::http::cause;
use crate::call::{Fault, Kind};

/// A stream on which nothing comes for so long, not even a sign of life, is lost.
const SILENT: Duration = Duration::from_secs(120);
/// The longest line that is read.
const LONGEST: usize = 64 * 1024 * 1024;

/// An open event stream.
pub(super) struct EventStream {
    response: Response,
    lines: Lines,
    last_id: String,
}

impl EventStream {
    /// Reads up to where it says from where on it tells.
    pub(super) async fn begin(response: Response) -> Result<(EventStream, Begun), Fault> {
        let mut stream = EventStream {
            response,
            lines: Lines::default(),
            last_id: String::new(),
        };
        let mut recovered = false;
        loop {
            let line = stream.line().await?;
            match field(&line) {
                ("", "recovered=true") => recovered = true,
                ("id", id) => stream.last_id = id.to_owned(),
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        let position = Some(stream.last_id.clone());
        let begun = Begun {
            position,
            recovered,
        };
        Ok((stream, begun))
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Result<Told, Fault> {
        let mut data = String::new();
        loop {
            let line = self.line().await?;
            match field(&line) {
                ("id", id) => self.last_id = id.to_owned(),
                ("data", text) => {
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(text);
                }
                _ if line.is_empty() && !data.is_empty() => {
                    return Ok(Told {
                        json: data,
                        position: Some(self.last_id.clone()),
                    });
                }
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<String, Fault> {
        let lost = |why: String| Fault::new(Kind::Unavailable, why);
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(line);
            }
            let chunk = timeout(SILENT, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| lost("the server fell silent".into()))?;
            match chunk.map_err(|error| lost(format!("the stream broke: {}", cause(&error))))? {
                Some(chunk) => self.lines.0.extend_from_slice(&chunk),
                None => return Err(lost("the server ended the stream".into())),
            }
            if self.lines.0.len() > LONGEST {
                let why = "an event is too large to be read";
                return Err(Fault::new(Kind::TooLarge, why));
            }
        }
    }
}

/// What was received and is not a whole line yet.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn next(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let rest = self.0.split_off(end + 1);
        let line = std::mem::replace(&mut self.0, rest);
        let line = String::from_utf8_lossy(&line);
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// The name and the value of a line; a comment has no name.
fn field(line: &str) -> (&str, &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name, value.strip_prefix(' ').unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut lines = Lines::default();
        let mut whole = Vec::new();
        for piece in ["id: a", ":1\r\ndata: {\"a\"", ":1}\n\n", ":"] {
            lines.0.extend_from_slice(piece.as_bytes());
            whole.extend(std::iter::from_fn(|| lines.next()));
        }
        assert_eq!(whole, ["id: a:1", "data: {\"a\":1}", ""]);
        assert_eq!(field("id: a:1"), ("id", "a:1"));
        assert_eq!(field(": alive"), ("", "alive"));
        assert_eq!(field("data"), ("data", ""));
    }
}
