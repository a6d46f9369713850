//! `runq --help`: the table of settings, and what to try.

use crate::settings::{Who, all};
use std::fmt::Write;

const HEAD: &str = "\
runq runs each container in a virtual machine of its own. Docker calls it, with the settings that runtimeArgs in
/etc/docker/daemon.json and /etc/runq/config.toml give.

Usage: runq [SETTINGS] [RUNC FLAGS] COMMAND [ARGUMENTS]

";

const TAIL: &str = "
  --config FILE       settings, instead of /etc/runq/config.toml
  --runc FILE         runtime that starts the host side, instead of runc in dockerd's PATH; crun works, too

A container decides the settings that have a variable, with it or the annotation io.runq.FLAG; those in brackets when
the admin allows it. Variable before annotation, docker's -m and --cpus, runtimeArgs, config.toml, default.

runq rewrites what the command create and run start, and what update limits; all other commands are those of runc.

Examples:
  docker run --runtime runq -ti busybox sh
  docker run --runtime runq -m 512m --cpus 2 -ti busybox sh
  docker run --runtime runq -e RUNQ_MEM=512 -e RUNQ_CPU=2 -ti busybox sh
  /etc/docker/daemon.json: { \"runtimes\": { \"runq\": { \"path\": \"/var/lib/runq/runq\",
                             \"runtimeArgs\": [ \"--mem\", \"512\", \"--max-mem\", \"4096\" ] } } }
";

/// The whole text.
pub(crate) fn text() -> String {
    let mut text = HEAD.to_owned();
    for row in all() {
        let flag = format!("--{} {}", row.flag, row.value);
        let variables = match row.who {
            Who::WhenAllowed => format!("[{}]", row.variables.join(" ")),
            Who::Container | Who::Admin => row.variables.join(" "),
        };
        // Writing into a String cannot fail.
        writeln!(text, "  {flag:<19} {:<64} {variables}", row.help).ok();
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n" + TAIL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_a_wide_terminal() {
        for line in text().lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }

    #[test]
    fn the_readme_has_every_setting() {
        let readme =
            fs_err::read_to_string(format!("{}/../../README.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for row in all() {
            let flag = format!("| `--{}", row.flag);
            let line = readme.lines().find(|line| line.starts_with(&flag));
            let line = line.unwrap_or_else(|| panic!("no row {flag} in the table of README.md"));
            for variable in row.variables {
                assert!(line.contains(variable), "{variable} is not in {line}");
            }
        }
    }
}
