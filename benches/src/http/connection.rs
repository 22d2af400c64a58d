//! Requests and answers as plain bytes on a keep-alive connection: the client shares the cores with the server that it measures.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A keep-alive connection.
pub(super) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    request: Vec<u8>,
    /// Where the body of the last answer begins.
    body_at: usize,
}

impl Connection {
    pub(super) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096), request: Vec::with_capacity(1024), body_at: 0 })
    }

    /// Posts a body, with an `Idempotency-Key` if there is one, and gives the status.
    pub(super) async fn post(&mut self, path: &str, key: &str, id: Option<&str>, body: &str) -> anyhow::Result<u16> {
        self.request.clear();
        write!(self.request, "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n")?;
        if let Some(id) = id {
            write!(self.request, "idempotency-key: {id}\r\n")?;
        }
        write!(self.request, "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        self.exchange().await
    }

    /// Asks without a key, and gives the status.
    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<u16> {
        self.request.clear();
        write!(self.request, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        self.exchange().await
    }

    /// The body of the last answer.
    pub(super) fn body(&self) -> &[u8] {
        self.received.get(self.body_at..).unwrap_or_default()
    }

    async fn exchange(&mut self) -> anyhow::Result<u16> {
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        let mut head = None;
        loop {
            let read = self.stream.read_buf(&mut self.received).await?;
            ensure!(read > 0, "the server closed the connection");
            if head.is_none() {
                head = Head::read(&self.received)?;
            }
            if let Some(Head { status, bytes, body_bytes }) = head
                && self.received.len() >= bytes + body_bytes
            {
                ensure!(self.received.len() == bytes + body_bytes, "more came than was asked for");
                self.body_at = bytes;
                return Ok(status);
            }
        }
    }
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Its own bytes, the empty line included.
    bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// `None` until it is there as a whole.
    fn read(received: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(received.get(..end).unwrap_or_default())?;
        let length = head
            .lines()
            .find_map(|line| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
            .context("an answer without content-length")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Some(Self { status, bytes: end + 4, body_bytes: length.1.trim().parse()? }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\nx: y\r\n\r\n{";
        assert_eq!(Head::read(answer.get(..40).unwrap()).unwrap(), None);
        let head = Head { status: 201, bytes: answer.len() - 1, body_bytes: 12 };
        assert_eq!(Head::read(answer).unwrap(), Some(head));
        assert!(Head::read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
