//! `docker run -t`: a terminal with the size of the user's window, line editing and ^C.

use anyhow::Result;
use runq_tests::bed::{Bed, Container};
use runq_tests::docker::LIMIT;
use runq_tests::terminal::Terminal;

fn on_a_terminal(bed: &Bed, script: &str) -> Result<(Container, Terminal)> {
    let (container, mut docker) = bed.container().command(&["-it"], &["sh", "-c", script]);
    Ok((container, Terminal::start(&mut docker, 33, 101)?))
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn terminal_has_the_size_of_the_window_and_follows_it() -> Result<()> {
    let bed = Bed::shared()?;
    let script = "stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done";
    let (_container, mut terminal) = on_a_terminal(&bed, script)?;
    terminal.wait_for("ready", LIMIT)?;
    // docker sets the size after the start: what counts is what the terminal has a moment later.
    terminal.resize(44, 122)?;
    terminal.wait_for("44 122", LIMIT)?;
    terminal.end(LIMIT)?;
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn control_c_interrupts_the_foreground_process() -> Result<()> {
    let bed = Bed::shared()?;
    let (_container, mut terminal) =
        on_a_terminal(&bed, "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.1; done")?;
    terminal.wait_for("ready", LIMIT)?;
    terminal.type_in("\u{3}")?;
    terminal.wait_for("caught", LIMIT)?;
    assert_eq!(terminal.end(LIMIT)?.code(), Some(7));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn typed_lines_are_read_and_echoed() -> Result<()> {
    let bed = Bed::shared()?;
    let (_container, mut terminal) =
        on_a_terminal(&bed, "test -t 0 && test -t 2 && tty; read line; echo \"got <$line>\"; exit 5")?;
    terminal.wait_for("/dev/", LIMIT)?;
    terminal.type_in("hello\n")?;
    terminal.wait_for("got <hello>", LIMIT)?;
    assert_eq!(terminal.end(LIMIT)?.code(), Some(5));
    Ok(())
}
