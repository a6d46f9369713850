//! Man pages and completions, made of the command line's own definition. Runs on the build machine, or where they are wanted.

use crate::cli::Cli;
use crate::report::Report;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use std::path::Path;

/// Writes `man1/runq-install*.1` and `completions/*` into a directory.
pub(crate) fn write(directory: &Path) -> Result<Report> {
    let (man, completions) = (directory.join("man1"), directory.join("completions"));
    fs_err::create_dir_all(&man)?;
    fs_err::create_dir_all(&completions)?;
    let mut command = Cli::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "runq-install", &completions)?;
    }
    let summary = format!("man pages and completions are in {}", directory.display());
    Ok(Report { summary, ..Report::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_completions() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(read("man1/runq-install.1").contains(".SH SYNOPSIS"));
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = read(&format!("man1/runq-install-{}.1", command.get_name()));
            assert!(page.contains("Examples:"), "{}", command.get_name());
            for file in ["runq-install.bash", "_runq-install", "runq-install.fish"] {
                assert!(read(&format!("completions/{file}")).contains(command.get_name()), "{file}");
            }
        }
    }
}
