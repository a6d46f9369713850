//! Standard input, output and error: separate, binary-clean, complete.

use anyhow::{Context, Result};
use runq_tests::bed::Bed;
use sha2::{Digest, Sha256};
use std::io::Read;

const MEBIBYTE: usize = 1 << 20;

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn output_and_error_stay_separate() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().shell("echo to stdout; echo to stderr >&2; echo again")?;
    assert_eq!(
        (finished.stdout.as_slice(), finished.stderr.as_slice()),
        (&b"to stdout\nagain\n"[..], &b"to stderr\n"[..])
    );
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn random_bytes_survive_the_way_in_and_both_ways_out() -> Result<()> {
    let bed = Bed::shared()?;
    let mut bytes = vec![0; MEBIBYTE];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let finished =
        bed.container().options(&["-i"]).run_with_input(&["sh", "-c", "tee /proc/self/fd/2"], &bytes)?;
    assert_eq!(finished.code, 0);
    let digests =
        [&bytes, &finished.stdout, &finished.stderr].map(|bytes| (bytes.len(), Sha256::digest(bytes)));
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn random_bytes_made_in_the_guest_arrive() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "head -c 1048576 /dev/urandom | tee /tmp/a; head -c 1048576 /dev/urandom | tee /tmp/b >&2; sha256sum /tmp/a /tmp/b > /hashes/hashes";
    let dir = tempfile::tempdir()?;
    let volume = format!("{}:/hashes", dir.path().display());
    let finished = bed.container().options(&["-v", &volume]).shell(script)?;
    let hashes = fs_err::read_to_string(dir.path().join("hashes"))?;
    let mut hashes = hashes.lines().filter_map(|line| line.split(' ').next());
    for bytes in [finished.stdout, finished.stderr] {
        assert_eq!(bytes.len(), MEBIBYTE);
        assert_eq!(format!("{:x}", Sha256::digest(&bytes)), hashes.next().context("no hash")?);
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn end_of_input_reaches_the_entrypoint() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().options(&["-i"]).run_with_input(&["wc", "-c"], b"twelve bytes")?;
    assert_eq!(finished.stdout_text(), "12");
    let finished = bed.container().run_with_input(&["wc", "-c"], b"not for the guest: no -i")?;
    assert_eq!(finished.stdout_text(), "0");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn log_has_the_output_and_nothing_of_the_kernel() -> Result<()> {
    let bed = Bed::shared()?;
    let container = bed.container().start(&["sh", "-c", "echo only this; exit 3"])?;
    assert_eq!(container.wait()?, 3);
    assert_eq!(container.logs()?.trim(), "only this");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn last_lines_are_not_lost() -> Result<()> {
    let bed = Bed::shared()?;
    let finished = bed.container().shell("seq 1 20000; exec seq 20001 40000")?;
    let expected: String = (1..=40_000).map(|number| format!("{number}\n")).collect();
    assert!(finished.stdout == expected.as_bytes(), "{} of {} bytes", finished.stdout.len(), expected.len());
    Ok(())
}
