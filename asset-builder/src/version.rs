//! Debian package versions: their order, as `dpkg --compare-versions` has it (deb-version(7)).
//! Runs on the build machine; trusts nobody.

use std::cmp::Ordering;

/// Which of two versions is newer.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: u64,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    /// `[epoch:]upstream[-revision]`; the first colon and the last hyphen count.
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch: epoch.parse().unwrap_or(0), upstream, revision }
    }
}

/// Compares runs of other characters and runs of digits in turn.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let order = take_text(&mut a, &mut b).then_with(|| take_number(&mut a, &mut b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn take_text(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    loop {
        let (rank_a, rank_b) = (rank(a), rank(b));
        if rank_a != rank_b {
            return rank_a.cmp(&rank_b);
        }
        if rank_a == END {
            return Ordering::Equal;
        }
        (*a, *b) = (&a[1..], &b[1..]);
    }
}

const END: i32 = 0;

/// `~` sorts before the end of the run, letters before everything else.
fn rank(text: &[u8]) -> i32 {
    match text.first() {
        None | Some(b'0'..=b'9') => END,
        Some(b'~') => -1,
        Some(&letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(&other) => i32::from(other) + 256,
    }
}

/// Numbers of any length: without leading zeros, the longer one is the larger one.
fn take_number(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let (a, b) = (take_digits(a), take_digits(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn take_digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    *text = rest;
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each version is older than the next one; the groups are from dpkg's manual, its tests and the archive.
    const ASCENDING: &[&[&str]] = &[
        &["~~", "~~a", "~", "", "a"],
        &["1.0~beta1~svn1245", "1.0~beta1", "1.0"],
        &["1.0~rc1-1", "1.0-1~bpo12+1", "1.0-1", "1.0-1+b1", "1.0-1+deb12u1", "1.0-1.1", "1.0-2"],
        &["1.2", "1.2.0", "1.10", "1.010.1", "2"],
        &["9", "10", "99999999999999999999", "100000000000000000000"],
        &["10.0.2", "1:9.0", "1:10.0.2+ds-2+deb13u1", "2:0"],
        &["2.39-0ubuntu8", "2.39-0ubuntu8.4", "2.39-0ubuntu9"],
        &["1", "1Z", "1a", "1a.", "1+", "1."],
        &["6.8.0-31.31", "6.8.0-101.101"],
    ];

    #[test]
    fn orders_versions_as_dpkg_does() {
        for group in ASCENDING {
            for (i, a) in group.iter().enumerate() {
                for (j, b) in group.iter().enumerate() {
                    assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn leading_zeros_and_a_missing_revision_make_no_difference() {
        for (a, b) in [("1.01", "1.1"), ("0:1", "1"), ("1.0", "1.0-"), ("1.0", "1.0-0"), ("1.a", "1.a0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} and {b}");
        }
    }

    /// Random versions of the letters that versions have, against the real thing.
    #[test]
    #[allow(clippy::print_stderr, reason = "says that it tested nothing")]
    fn agrees_with_dpkg_on_random_versions() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        use std::process::Command;
        if Command::new("dpkg").arg("--version").output().is_err() {
            eprintln!("skipped: there is no dpkg");
            return;
        }
        let mut random = StdRng::seed_from_u64(4);
        let mut version = || {
            let mut letters = |alphabet: &[u8], most: usize| -> String {
                let count = random.gen_range(0..most);
                (0..count).map(|_| char::from(alphabet[random.gen_range(0..alphabet.len())])).collect()
            };
            let epoch = ["", "0:", "1:"][letters(b"x", 3).len()];
            let revision = letters(b"0019a~+.", 4);
            let hyphen = if revision.is_empty() { "" } else { "-" };
            let upstream = letters(b"000129aZ~~+..-", 7);
            // A version does not end in a hyphen.
            let upstream = if hyphen.is_empty() { upstream.trim_end_matches('-') } else { &upstream };
            format!("{epoch}1{upstream}{hyphen}{revision}")
        };
        for _ in 0..300 {
            let (a, b) = (version(), version());
            let order = compare(&a, &b);
            let operator = match order {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            let agrees =
                Command::new("dpkg").args(["--compare-versions", &a, operator, &b]).status().unwrap();
            assert!(agrees.success(), "{a} {operator} {b}");
        }
    }
}
