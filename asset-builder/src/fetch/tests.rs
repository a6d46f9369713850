//! Tests of downloads, from a server that answers as it is told.

use super::*;
use runq_bundle::digest::sha256;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

/// Answers one request per response and gives the URL. The thread ends after the last one.
fn serve(responses: &'static [(&'static str, &'static str)]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/pool/a.deb", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for (status, body) in responses {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let length = body.len();
            write!(
                &stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    (url, server)
}

fn fetch(url: &str, expected: &str, times: usize) -> Result<Bytes, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let (network, progress) = (Network::default(), Progress::new());
    let fetcher = Fetcher::new(&cache, &network, &progress).unwrap();
    let expected = IndexFile { size: expected.len() as u64, sha256: sha256(expected.as_bytes()) };
    (1..times).for_each(|_| drop(fetcher.verified(url, expected).unwrap()));
    fetcher.verified(url, expected)
}

#[test]
fn asks_again_after_a_failure_of_the_server_and_never_for_what_it_has() {
    let (url, server) = serve(&[("503 Busy", ""), ("200 OK", "content")]);
    assert_eq!(fetch(&url, "content", 2).unwrap(), "content");
    server.join().unwrap();
}

#[test]
fn refuses_other_bytes_and_more_bytes_than_the_index_says() {
    let (url, server) = serve(&[("200 OK", "contenT"), ("200 OK", "content"), ("404 Not Found", "")]);
    let error = fetch(&url, "content", 1).unwrap_err();
    assert!(matches!(error, FetchError::Mismatch { found_size: 7, .. }) && error.to_string().contains(&url));
    assert!(matches!(fetch(&url, "cont", 1), Err(FetchError::TooLarge { allowed: 4, .. })));
    assert!(fetch(&url, "content", 1).unwrap_err().is_not_found());
    server.join().unwrap();
}
