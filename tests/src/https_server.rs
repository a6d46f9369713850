//! A web server with TLS and a certificate authority of its own, that serves bytes well or badly. On the host, for the length of a
//! test; answers GET with and without a range, and nothing else.

use crate::command;
use crate::connect_proxy::NAME;
use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// How a path is served.
#[derive(Debug, Clone)]
pub enum Answer {
    /// As it should be.
    Whole(Vec<u8>),
    /// The connection breaks after so many bytes of each answer.
    Cut(Vec<u8>, usize),
    /// This status and body, as of a captive portal.
    Page(u16, &'static str),
}

/// The server. Its thread ends with the process.
pub struct HttpsServer {
    port: u16,
    ca_file: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

impl HttpsServer {
    /// Serves these paths, everything else with 404.
    ///
    /// # Errors
    /// When openssl fails or no port is free.
    pub fn start(directory: &Path, answers: Vec<(&'static str, Answer)>) -> Result<Self> {
        let certificates = certificates(directory)?;
        let config = Arc::new(server_config(&certificates)?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One that goes away in the middle is served no more; the next one is.
                drop(serve(stream, &config, &answers, &seen));
            }
        });
        Ok(Self { port, ca_file: certificates.ca_file, requests })
    }

    /// Address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// The authority that has signed its certificate.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Path and range of all requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    answers: &[(&str, Answer)],
    seen: &Mutex<Vec<String>>,
) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(Arc::clone(config))?, stream));
    let (mut path, mut from) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            rest.split(' ').next().unwrap_or_default().clone_into(&mut path);
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim().trim_end_matches('-').parse().context("a range of another form")?;
        }
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{path} from {from}"));
    let answer = answers.iter().find(|(served, _)| *served == path).map(|(_, answer)| answer);
    let stream = stream.get_mut();
    match answer {
        Some(Answer::Whole(bytes)) => send(stream, bytes, from, usize::MAX)?,
        Some(Answer::Cut(bytes, after)) => send(stream, bytes, from, *after)?,
        Some(Answer::Page(status, body)) => page(stream, *status, body)?,
        None => page(stream, 404, "<html>404 Not Found</html>")?,
    }
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn send(stream: &mut impl Write, bytes: &[u8], from: usize, at_most: usize) -> Result<()> {
    let total = bytes.len();
    let part = bytes.get(from..).unwrap_or_default();
    if from > 0 {
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\n",
            total - 1
        )?;
    } else {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", part.len())?;
    Ok(stream.write_all(&part[..part.len().min(at_most)])?)
}

fn page(stream: &mut impl Write, status: u16, body: &str) -> Result<()> {
    let length = body.len();
    Ok(write!(
        stream,
        "HTTP/1.1 {status} Status\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?)
}

/// What a server needs, in files of PEM.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority, for clients.
    pub ca_file: PathBuf,
    /// The server's, for this machine's address and [`crate::connect_proxy::NAME`].
    pub certificate: PathBuf,
    /// Its secret key.
    pub key: PathBuf,
}

/// Makes an authority, and a server's certificate by it.
///
/// # Errors
/// When openssl fails.
pub fn certificates(directory: &Path) -> Result<Certificates> {
    let file = |name: &str| directory.join(name);
    let openssl = |line: &str| {
        let words = line.split_whitespace().map(|word| word.replace("DIR", &directory.display().to_string()));
        command::output(Command::new("openssl").args(words), LIMIT)
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -subj /CN=test-authority -days 30 -keyout DIR/ca.key -out DIR/ca.pem"
    ))?;
    openssl(&format!("req {key} -subj /CN=127.0.0.1 -keyout DIR/server.key -out DIR/server.csr"))?;
    fs_err::write(file("san"), format!("subjectAltName=IP:127.0.0.1,DNS:{NAME}\n"))?;
    openssl(
        "x509 -req -in DIR/server.csr -CA DIR/ca.pem -CAkey DIR/ca.key -CAcreateserial -days 30 -extfile DIR/san -out DIR/server.pem",
    )?;
    Ok(Certificates { ca_file: file("ca.pem"), certificate: file("server.pem"), key: file("server.key") })
}

fn server_config(certificates: &Certificates) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&certificates.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&certificates.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_no_client_auth().with_single_cert(chain, key)?)
}
