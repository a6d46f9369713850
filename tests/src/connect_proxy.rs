//! An HTTP proxy on loopback that knows CONNECT, and leads every name to a port of this machine: whoever asks for a name that
//! nobody else knows can only have come through it. On the host; ends with the process.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A name of no network, which the certificates of [`crate::https_server`] are for.
pub const NAME: &str = "bundles.test";

const PATIENCE: Duration = Duration::from_secs(30);

/// The proxy.
pub struct ConnectProxy {
    port: u16,
    targets: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts one.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self { port: listener.local_addr()?.port(), targets: Arc::default() };
        let targets = Arc::clone(&proxy.targets);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let targets = Arc::clone(&targets);
                // A client that goes away has its reasons; its test will tell.
                thread::spawn(move || drop(serve(&stream, &targets)));
            }
        });
        Ok(proxy)
    }

    /// For `HTTPS_PROXY`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `NAME:PORT` of all connections so far.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(client: &TcpStream, targets: &Mutex<Vec<String>>) -> Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    // A client says nothing more before it has the answer: nothing of the tunnel is lost in the buffer.
    let mut lines = BufReader::new(client).lines();
    let request = lines.next().context("no request")??;
    while !lines.next().context("no end of the request")??.is_empty() {}
    let Some(target) = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        (&mut &*client).write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")?;
        bail!("{request:?} is no CONNECT");
    };
    targets.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
    let port: u16 = target.rsplit(':').next().unwrap_or_default().parse()?;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    (&mut &*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &server));
        pass(&server, client);
    });
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    // Whichever side ends it: the other one is to know.
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}
