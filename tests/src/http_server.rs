//! A small HTTP server on loopback that serves a directory and misbehaves where a test tells it to. On the host, on a
//! port of its own; trusts its one client.

use anyhow::{Context, Result};
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a client may be silent in the middle of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a request gets.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The file of the directory.
    File,
    /// These bytes.
    Body(Vec<u8>),
    /// The file, but the connection breaks after so many bytes of it.
    Cut(usize),
    /// So many bytes of the file, and then nothing more until the client hangs up.
    Stall(usize),
    /// Spaces until the client hangs up.
    Endless,
    /// A status without content.
    Status(u16),
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// From the slash on.
    pub path: String,
    /// The first byte that it wants, when it wants not all of them.
    pub range_start: Option<usize>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

struct Shared {
    root: PathBuf,
    stopping: AtomicBool,
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    requests: Mutex<Vec<Request>>,
}

/// A server that ends with this value.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves the files below `root`.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(root: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            stopping: AtomicBool::new(false),
            answers: Mutex::default(),
            requests: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.stopping.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&state);
                // A client that hangs up early, or says nonsense, gets no answer; its test will tell.
                thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives the next requests of `path` these answers, one each; the last one is for all that follow.
    pub fn answer(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.shared.answers).insert(path.to_owned(), answers.into_iter().collect());
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // Wakes the acceptor; without a connection it would wait for ever.
        if TcpStream::connect(self.address).is_ok() {
            let ended = self.acceptor.take().map(JoinHandle::join);
            drop(ended);
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = read_request(&mut BufReader::new(&stream))?;
        lock(&self.requests).push(request.clone());
        match self.next_answer(&request.path) {
            Answer::Status(status) => respond(&stream, &format!("{status} As Told"), &[], 0)?,
            Answer::Endless => {
                write!(&stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                while (&stream).write_all(&[b' '; 1 << 16]).is_ok() {}
            }
            Answer::Body(body) => send(&stream, &request, &body, body.len())?,
            answer => match std::fs::read(self.root.join(request.path.trim_start_matches('/'))) {
                Ok(file) => {
                    let end = match answer {
                        Answer::Cut(end) | Answer::Stall(end) => end.min(file.len()),
                        _ => file.len(),
                    };
                    send(&stream, &request, &file, end)?;
                    if let Answer::Stall(_) = answer {
                        let hung_up = (&stream).read(&mut [0]);
                        drop(hung_up);
                    }
                }
                Err(_) => respond(&stream, "404 Not Found", &[], 0)?,
            },
        }
        Ok(stream.shutdown(Shutdown::Both)?)
    }

    fn next_answer(&self, path: &str) -> Answer {
        match lock(&self.answers).get_mut(path) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        }
        .unwrap_or(Answer::File)
    }
}

fn read_request(lines: &mut impl BufRead) -> Result<Request> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let path = line.split(' ').nth(1).context("no path")?.to_owned();
    let mut request = Request { path, range_start: None, authorization: None };
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(request) };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let start = value.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
                request.range_start = Some(start.context("range of another form")?.parse()?);
            }
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// Announces all of `body` from where the client wants it on, and sends it up to `end`.
fn send(stream: &TcpStream, request: &Request, body: &[u8], end: usize) -> Result<()> {
    let length = body.len();
    match request.range_start {
        None => respond(stream, "200 OK", &body[..end], length),
        Some(start) if start < length => {
            let head = format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{length}", length - 1);
            respond(stream, &head, &body[start..end.max(start)], length - start)
        }
        Some(_) => respond(stream, "416 Range Not Satisfiable", &[], 0),
    }
}

fn respond(mut stream: &TcpStream, head: &str, body: &[u8], announced: usize) -> Result<()> {
    let rest = "Accept-Ranges: bytes\r\nConnection: close";
    write!(stream, "HTTP/1.1 {head}\r\n{rest}\r\nContent-Length: {announced}\r\n\r\n")?;
    Ok(stream.write_all(body)?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(server: &HttpServer, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n{header}\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    #[test]
    fn serves_files_and_ranges_and_breaks_off_where_told() {
        let root = tempfile::tempdir().unwrap();
        fs_err::write(root.path().join("file"), "0123456789").unwrap();
        let server = HttpServer::start(root.path()).unwrap();
        server.answer("/file", [Answer::Cut(4), Answer::Status(503), Answer::File]);
        assert!(get(&server, "/file", "").ends_with("Content-Length: 10\r\n\r\n0123"));
        assert!(get(&server, "/file", "").starts_with("HTTP/1.1 503"));
        let rest = get(&server, "/file", "Range: bytes=4-\r\n");
        assert!(rest.contains("Content-Range: bytes 4-9/10") && rest.ends_with("\r\n\r\n456789"), "{rest}");
        assert!(get(&server, "/other", "").starts_with("HTTP/1.1 404"));
        assert_eq!(server.requests()[2].range_start, Some(4));
    }
}
