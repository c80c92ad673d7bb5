//! A small blocking HTTP/1.1 client: enough to meet the bank as a stranger would.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

/// One connection, kept alive between requests and opened when it is needed.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: bank\r\n\r\n"))
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> io::Result<Response> {
        self.send(&post(path, body))
    }

    /// Sends a whole request, head and body, and reads its answer. After an error nothing is known of its fate.
    pub(crate) fn send(&mut self, request: &str) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(connect(self.address)?),
        };
        connection.get_mut().write_all(request.as_bytes())?;
        let response = Response::read(&mut connection)?;
        if response.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A POST request, head and body.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: bank\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An answer that does not come is a failure of the test, not a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// The bank's answer to a change or a look at the balance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) cents: u64,
    pub(crate) seq_nr: u64,
}

impl Response {
    pub(crate) fn read(connection: &mut impl BufRead) -> io::Result<Self> {
        let status_line = line(connection)?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed(&status_line))?;
        let mut headers = Vec::new();
        loop {
            let header = line(connection)?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self { status, headers, body: String::new() };
        let body = if response.header("transfer-encoding") == Some("chunked") {
            chunks(connection)?
        } else {
            let length = response.header("content-length").map_or(Ok(0), str::parse);
            let mut body = vec![0; length.map_err(io::Error::other)?];
            connection.read_exact(&mut body)?;
            body
        };
        response.body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(response)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The answer of a 200.
    #[track_caller]
    pub(crate) fn answer(&self) -> Answer {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// The sentence of an error, which has this status.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> String {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            error: String,
        }
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str::<Body>(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.body))
            .error
    }
}

fn chunks(connection: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(connection)?;
        let size = u64::from_str_radix(&size, 16).map_err(|_| malformed(&size))?;
        let read = connection.by_ref().take(size).read_to_end(&mut body)? as u64;
        if read < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line(connection)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}
