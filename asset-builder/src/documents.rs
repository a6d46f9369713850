//! Man pages and completions, made of the command line's own definition. Runs on the build machine.

use crate::cli::Cli;
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use std::path::Path;

/// Writes `man1/runq-assets*.1` and `completions/*` into a directory.
pub(crate) fn write(directory: &Path) -> std::io::Result<()> {
    let (man, completions) = (directory.join("man1"), directory.join("completions"));
    fs_err::create_dir_all(&man)?;
    fs_err::create_dir_all(&completions)?;
    let mut command = Cli::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "runq-assets", &completions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_completions() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(read("man1/runq-assets.1").contains("Examples:"));
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = read(&format!("man1/runq-assets-{}.1", command.get_name()));
            assert!(page.contains(".SH SYNOPSIS"), "{}", command.get_name());
            for file in ["runq-assets.bash", "_runq-assets", "runq-assets.fish"] {
                assert!(read(&format!("completions/{file}")).contains(command.get_name()), "{file}");
            }
        }
    }
}
