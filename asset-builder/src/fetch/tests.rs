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
    let (network, progress) = (Network::default(), Progress::new(true));
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

/// Sends the first bytes of a body that it announces whole, then the rest to whoever asks for it.
fn serve_in_two_parts(body: &'static str, first: usize) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/pool/a.deb", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut ranges = Vec::new();
        for part in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            ranges.extend(headers.into_iter().filter(|line| line.to_lowercase().starts_with("range")));
            let length = body.len();
            let (head, text) = match part {
                0 => (format!("200 OK\r\nContent-Length: {length}"), &body[..first]),
                _ => (
                    format!(
                        "206 Partial Content\r\nContent-Range: bytes {first}-{}/{length}\r\nContent-Length: {}",
                        length - 1,
                        length - first
                    ),
                    &body[first..],
                ),
            };
            write!(&stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{text}").unwrap();
        }
        ranges
    });
    (url, server)
}

#[test]
fn goes_on_where_a_connection_broke() {
    let (url, server) = serve_in_two_parts("content", 3);
    assert_eq!(fetch(&url, "content", 1).unwrap(), "content");
    assert_eq!(server.join().unwrap(), ["range: bytes=3-"]);
}

#[test]
fn begins_anew_when_what_was_there_is_of_another_file() {
    let (url, server) = serve(&[("200 OK", "tent"), ("200 OK", "content")]);
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let digest = sha256(b"content");
    cache.partial(digest).unwrap().unwrap().append(b"CON").unwrap();
    let (network, progress) = (Network::default(), Progress::new(true));
    let fetcher = Fetcher::new(&cache, &network, &progress).unwrap();
    let expected = IndexFile { size: 7, sha256: digest };
    // The server knows no ranges: what it sends first is short, and then whole.
    assert_eq!(fetcher.verified(&url, expected).unwrap(), "content");
    server.join().unwrap();
}

#[test]
fn names_a_web_page_that_stands_for_a_file() {
    let (url, server) = serve(&[("200 OK", "<!DOCTYPE html><p>Log in"), ("200 OK", "\n<HTML>")]);
    let error = fetch(&url, "content of this length or so", 1).unwrap_err();
    assert!(matches!(error, FetchError::WebPage { .. }) && error.is_not_found(), "{error}");
    let error = fetch(&url, "content", 1).unwrap_err();
    assert!(matches!(error, FetchError::WebPage { .. }), "{error}");
    server.join().unwrap();
}

#[test]
fn nothing_is_fetched_offline() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let (network, progress) = (Network { offline: true, ..Network::default() }, Progress::new(true));
    let fetcher = Fetcher::new(&cache, &network, &progress).unwrap();
    let expected = IndexFile { size: 7, sha256: sha256(b"content") };
    assert!(matches!(fetcher.verified("http://127.0.0.1:1/", expected), Err(FetchError::Offline { .. })));
    cache.put(b"content").unwrap();
    assert_eq!(fetcher.verified("http://127.0.0.1:1/", expected).unwrap(), "content");
}
