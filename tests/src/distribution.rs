//! Which distribution's packages the bundle is made of. On the host; asks the network, believes little of it
//! (the asset builder verifies everything).

use crate::report;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long an archive has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// All hosts and files that a bundle of Ubuntu 24.04 begins with.
const UBUNTU: [(&str, &str); 2] = [
    ("archive.ubuntu.com", "/ubuntu/dists/noble/InRelease"),
    ("security.ubuntu.com", "/ubuntu/dists/noble-security/InRelease"),
];

/// What a clear-signed index begins with; a captive portal's page does not.
const CLEAR_SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// A recipe of `arch/<arch>/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Distribution {
    /// Debian trixie.
    Debian,
    /// Ubuntu 24.04.
    Ubuntu,
    /// Ubuntu 22.04.
    #[value(name = "ubuntu-22.04")]
    Ubuntu2204,
    /// Ubuntu 26.04.
    #[value(name = "ubuntu-26.04")]
    Ubuntu2604,
    /// Ubuntu when its archive answers, else Debian.
    Auto,
}

impl Distribution {
    /// Name of the recipe; probes the archive when that decides.
    #[must_use]
    pub fn recipe(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
            Self::Ubuntu2204 => "ubuntu-22.04",
            Self::Ubuntu2604 => "ubuntu-26.04",
            Self::Auto => choose(),
        }
    }
}

fn choose() -> &'static str {
    for (host, path) in UBUNTU {
        if let Err(reason) = answers(host, path) {
            report::step(format_args!("distribution: Debian, because {host} {reason}"));
            return "debian";
        }
    }
    report::step("distribution: Ubuntu, because its archive answers");
    "ubuntu"
}

/// Resolving a name has no time limit of its own: the whole attempt runs beside us.
fn answers(host: &'static str, path: &'static str) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(first_bytes(host, path)));
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(response)) if is_index(&response) => Ok(()),
        Ok(Ok(_)) => Err("does not serve a signed index".to_owned()),
        Ok(Err(error)) => Err(format!("cannot be reached: {error}")),
        Err(_) => Err(format!("does not answer within {} s", PATIENCE.as_secs())),
    }
}

fn first_bytes(host: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let address = (host, 80).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.take(4096).read_to_end(&mut response)?;
    Ok(response)
}

fn is_index(response: &[u8]) -> bool {
    let end_of_head = response.windows(4).position(|window| window == b"\r\n\r\n");
    let ok = response.starts_with(b"HTTP/1.0 200") || response.starts_with(b"HTTP/1.1 200");
    ok && end_of_head.is_some_and(|end| response[end + 4..].starts_with(CLEAR_SIGNED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_signed_index_and_nothing_else() {
        assert!(is_index(
            b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n"
        ));
        assert!(!is_index(b"HTTP/1.1 200 OK\r\n\r\n<html>please log in</html>"));
        assert!(!is_index(b"HTTP/1.1 302 Found\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\n"));
        assert!(!is_index(b""));
    }
}
