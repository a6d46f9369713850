//! `/.runqenv`: the entrypoint's environment as a file, for programs that do not inherit it (systemd's `EnvironmentFile=`) and
//! for shells. Runs in the child, in the container's root, as root.

use anyhow::Context;
use rustix::fs::{Mode, OFlags};
use std::io::Write;

const PATH: &str = "/.runqenv";

/// Replaces the file. Only root may read it: environments carry secrets.
pub(crate) fn write(env: &[String]) -> anyhow::Result<()> {
    rustix::fs::unlink(PATH).ok();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(PATH, flags, Mode::RUSR).with_context(|| format!("cannot make {PATH}"))?;
    std::fs::File::from(file).write_all(text(env).as_bytes()).with_context(|| format!("cannot write {PATH}"))
}

/// A line for each variable; what a shell would interpret is in quotes.
fn text(env: &[String]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@%+=,-".contains(&byte);
    let mut text = String::new();
    for (name, value) in env.iter().filter_map(|variable| variable.split_once('=')) {
        match value.bytes().all(is_plain) {
            true => text.extend([name, "=", value, "\n"]),
            false => text.extend([name, "='", &value.replace('\'', "'\\''"), "'\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_set() {
        let env = ["A=b/c", "B=it's $HOME", "C=", "D=two\nlines"].map(str::to_owned);
        assert_eq!(text(&env), "A=b/c\nB='it'\\''s $HOME'\nC=\nD='two\nlines'\n");
    }
}
