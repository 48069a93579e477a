//! One HTTP/1.1 connection: one request, one answer, and it is closed (RFC 9112).

use super::doors::Door;
use core::time::Duration;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use portolan::driver;
use portolan::health::Answer;
use portolan::net::Instant;
use std::io::{self, Read, Write};

/// Longest request head, in bytes.
const MAX_HEAD: usize = 8 << 10;
/// How long a connection may take, its answer included.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer ready to be sent.
#[derive(Debug)]
pub(super) struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    /// A word for people.
    pub(super) fn plain(status: u16, body: &str) -> Self {
        Self::text(status, "text/plain; charset=utf-8", body.to_owned())
    }

    /// Text of some type.
    pub(super) fn text(status: u16, content_type: &str, body: String) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body,
        }
    }

    fn bytes(&self, with_body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let len = self.body.len();
        text.push_str(&format!(
            "Content-Length: {len}\r\nConnection: close\r\n\r\n"
        ));
        if with_body {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }
    }
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Progress {
    /// For the other side, or for an answer.
    Waiting,
    /// A request is complete: answer it.
    Asked { door: Door, path: String },
    /// Nothing is left to do.
    Done,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    door: Door,
    deadline: Instant,
    head: Vec<u8>,
    /// The request is complete.
    asked: bool,
    /// Its method is HEAD.
    head_only: bool,
    out: Vec<u8>,
    sent: usize,
}

impl Connection {
    pub(super) fn new(
        registry: &Registry,
        token: Token,
        mut stream: TcpStream,
        door: Door,
    ) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            door,
            deadline: driver::now().after(PATIENCE),
            head: Vec::new(),
            asked: false,
            head_only: false,
            out: Vec::new(),
            sent: 0,
        })
    }

    /// Has it taken too long?
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Takes the answer; [`Connection::advance`] sends it.
    pub(super) fn respond(&mut self, response: &Response) {
        self.asked = true;
        self.out = response.bytes(!self.head_only);
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn advance(&mut self) -> io::Result<Progress> {
        if !self.asked {
            match self.read()? {
                Progress::Waiting if self.out.is_empty() => return Ok(Progress::Waiting),
                Progress::Waiting => {}
                asked_or_done @ (Progress::Asked { .. } | Progress::Done) => {
                    return Ok(asked_or_done);
                }
            }
        }
        if self.out.is_empty() {
            return Ok(Progress::Waiting);
        }
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent = self.sent.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Done)
    }

    fn read(&mut self) -> io::Result<Progress> {
        let mut chunk = [0; 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Progress::Done),
                Ok(count) => self
                    .head
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.head.len() > MAX_HEAD {
                self.respond(&Response::plain(431, "the request is too long\n"));
                return Ok(Progress::Waiting);
            }
            if self.head.windows(4).any(|window| window == b"\r\n\r\n") {
                self.asked = true;
                return Ok(self.request());
            }
        }
    }

    /// The request line: method, path, version.
    fn request(&mut self) -> Progress {
        let text = String::from_utf8_lossy(&self.head);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let mut words = line.split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some(version)) = (method, target, version) else {
            self.respond(&Response::plain(400, "not HTTP\n"));
            return Progress::Waiting;
        };
        if !version.starts_with("HTTP/1.") {
            self.respond(&Response::plain(400, "not HTTP/1\n"));
            return Progress::Waiting;
        }
        self.head_only = method == "HEAD";
        if method != "GET" && method != "HEAD" {
            self.respond(&Response::plain(405, "only GET and HEAD\n"));
            return Progress::Waiting;
        }
        let path = target.split('?').next().unwrap_or_default();
        Progress::Asked {
            door: self.door,
            path: path.to_owned(),
        }
    }
}
