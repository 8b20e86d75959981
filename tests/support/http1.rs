//! A client that costs little: both servers share the machine with it.
//!
//! One connection, HTTP/1.1, one request at a time. Requests are whole byte strings, encoded once by
//! [`Template`]; of an answer only the code and the length are read, its body is passed over.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::servers::Target;

/// Room for what was received and not used yet, in bytes.
const ROOM: usize = 64 * 1024;
/// What stands for a call's number, as seven digits, in the name of an object and elsewhere.
pub const NAME: &str = "@@@@@@@";
pub const VALUE: &str = "#######";
const DIGITS: usize = 7;

/// Opens a connection that speaks `protocol`.
pub async fn stream(target: &Target, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(target.address).await?;
    tcp.set_nodelay(true)?;
    let mut tls = target.tls.clone();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let name = rustls::pki_types::ServerName::IpAddress(target.address.ip().into());
    Ok(TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?)
}

/// A whole request; for each call only the digits of its number are written into a copy.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    names: Vec<usize>,
    values: Vec<usize>,
    /// Names go round after so many.
    pub count: u64,
}

impl Template {
    /// A request with [`NAME`] and [`VALUE`] in its path and body.
    pub fn new(target: &Target, method: &str, path: &str, accept: &str, body: Option<&str>) -> Template {
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: {accept}\r\n"
        );
        if let Some(token) = &target.token {
            text.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if let Some(body) = body {
            text.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            ));
        }
        text.push_str("\r\n");
        text.push_str(body.unwrap_or_default());
        let places = |mark: &str| text.match_indices(mark).map(|(at, _)| at).collect();
        Template {
            names: places(NAME),
            values: places(VALUE),
            count: u64::MAX,
            bytes: text.into_bytes(),
        }
    }

    fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        for (places, mut left) in [(&self.names, number % self.count), (&self.values, number)] {
            let mut digits = [b'0'; DIGITS];
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
            for at in places {
                out[*at..at + DIGITS].copy_from_slice(&digits);
            }
        }
    }
}

/// A connection in HTTP/1.1: one request at a time.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    sent: Vec<u8>,
    held: Vec<u8>,
    used: usize,
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Connection> {
        Ok(Connection {
            stream: stream(target, b"http/1.1").await?,
            sent: Vec::new(),
            held: Vec::with_capacity(ROOM),
            used: 0,
        })
    }

    /// Sends the call with a number; its code and the length of its body in bytes.
    pub async fn call(&mut self, template: &Template, number: u64) -> Result<(u16, usize)> {
        let mut length = 0;
        let code = self
            .exchange(template, number, |part| length += part.len())
            .await?;
        Ok((code, length))
    }

    /// Sends a single call; its code and body.
    pub async fn read(&mut self, template: &Template) -> Result<(u16, Vec<u8>)> {
        let mut body = Vec::new();
        let code = self
            .exchange(template, 0, |part| body.extend_from_slice(part))
            .await?;
        Ok((code, body))
    }

    async fn exchange(
        &mut self,
        template: &Template,
        number: u64,
        mut part: impl FnMut(&[u8]),
    ) -> Result<u16> {
        template.write(number, &mut self.sent);
        self.stream.write_all(&self.sent).await?;
        self.stream.flush().await?;
        let end = self.find(b"\r\n\r\n").await?;
        let head = std::str::from_utf8(&self.held[self.used..end])?;
        let code = head.get(9..12).and_then(|code| code.parse::<u16>().ok());
        let code = code.context("an answer without a code")?;
        let (mut length, mut chunked) = (0, false);
        for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        self.used = end + 4;
        if !chunked {
            self.pass(length, &mut part).await?;
            return Ok(code);
        }
        loop {
            let end = self.find(b"\r\n").await?;
            let size = std::str::from_utf8(&self.held[self.used..end])?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
            self.used = end + 2;
            self.pass(size, &mut part).await?;
            self.pass(2, |_| {}).await?;
            if size == 0 {
                return Ok(code);
            }
        }
    }

    /// Where `mark` begins.
    async fn find(&mut self, mark: &[u8]) -> Result<usize> {
        loop {
            let held = &self.held[self.used..];
            if let Some(at) = held.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.used + at);
            }
            ensure!(held.len() < ROOM, "a head of {ROOM} bytes");
            self.fill().await?;
        }
    }

    /// Hands over the next `left` bytes.
    async fn pass(&mut self, mut left: usize, mut part: impl FnMut(&[u8])) -> Result<()> {
        while left > 0 {
            if self.used == self.held.len() {
                self.fill().await?;
            }
            let end = self.held.len().min(self.used + left);
            part(&self.held[self.used..end]);
            left -= end - self.used;
            self.used = end;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        self.held.drain(..self.used);
        self.used = 0;
        self.held.reserve(ROOM - self.held.len().min(ROOM));
        if self.stream.read_buf(&mut self.held).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}
