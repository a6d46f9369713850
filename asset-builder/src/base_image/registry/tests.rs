//! Tests of pulls from a registry that answers as it is told.

use super::*;
use crate::base_image::{BaseImage, ImageSource};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A registry without passwords, and a reference to an image of it. Everything but the manifest is as `answer` writes it.
fn serve(answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            // Whoever hangs up has heard enough.
            let path = request.split(' ').nth(1).unwrap_or_default();
            match path {
                "/v2/" => drop(
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                ),
                path => drop(answer(path, &mut stream)),
            }
        }
    });
    format!("{address}/image:1")
}

fn pull(reference: &str) -> BaseImageError {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let source: ImageSource = reference.parse().unwrap();
    let pulled = BaseImage::load(&source, "amd64", (&Network::default(), &cache), &Progress::new(true));
    pulled.err().expect("it is refused")
}

/// A body of a gibibyte, and how much of it the other side has taken.
fn endless(
    status: &'static str,
    taken: &Arc<AtomicU64>,
) -> impl Fn(&str, &mut TcpStream) -> io::Result<()> + use<> {
    let taken = Arc::clone(taken);
    move |_, stream| {
        write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")?;
        for _ in 0..1024 {
            stream.write_all(&[b' '; 1 << 20])?;
            taken.fetch_add(1 << 20, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn a_registry_without_end_is_refused_and_not_listened_to() {
    let taken = Arc::new(AtomicU64::new(0));
    let error = pull(&serve(endless("200 OK", &taken))).to_string();
    assert!(
        error.starts_with("manifests/1 of 127.0.0.1:") && error.contains("more than 8388608 bytes"),
        "{error}"
    );
    let error = pull(&serve(endless("404 Not Found", &taken))).to_string();
    assert!(error.contains("the registry answers 404"), "{error}");
    // The bound, and what lies in the buffers of sockets.
    assert!(taken.load(Ordering::Relaxed) < 64 << 20, "{taken:?}");
}

#[test]
fn another_manifest_than_the_one_of_the_digest_is_refused() {
    let reference = serve(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    });
    let pinned = format!("{}@sha256:{}", reference.trim_end_matches(":1"), sha256(b"other"));
    let error = pull(&pinned).to_string();
    assert!(error.contains("is not what its digest says"), "{error}");
}

#[test]
fn who_lets_us_in_not_is_named() {
    let closed = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let reference = serve(move |_, stream| stream.write_all(closed));
    let error = pull(&reference).to_string();
    assert!(error.contains("does not let us pull") && error.contains("no credentials"), "{error}");
}
