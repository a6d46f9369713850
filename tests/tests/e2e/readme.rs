//! Examples of the README, as they stand there.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::docker::LIMIT;
use runq_tests::readme;
use runq_tests::terminal::Terminal;
use std::collections::BTreeSet;

/// Removes the containers and networks that an example has left.
struct Cleaner<'a> {
    bed: &'a Bed,
    before: BTreeSet<String>,
}

impl<'a> Cleaner<'a> {
    fn new(bed: &'a Bed) -> Self {
        Self { bed, before: Self::containers(bed) }
    }

    fn containers(bed: &Bed) -> BTreeSet<String> {
        let ids = bed.docker.output(&["ps", "--all", "--quiet"]).unwrap_or_default();
        ids.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cleaner<'_> {
    fn drop(&mut self) {
        for id in Self::containers(self.bed).difference(&self.before) {
            // A failure here would hide the one that ended the test.
            drop(self.bed.docker.run(&["rm", "--force", "--volumes", id]));
        }
    }
}

/// What it shows on a terminal on which `input` is typed once there is a prompt.
fn on_a_terminal(start: &str, input: Option<(&str, &str)>, shown: &str) -> Result<()> {
    let bed = Bed::alone()?;
    let _cleaner = Cleaner::new(&bed);
    let mut terminal = Terminal::start(&mut bed.docker.shell(&readme::command(start)?), 24, 80)?;
    if let Some((prompt, line)) = input {
        terminal.wait_for(prompt, LIMIT)?;
        terminal.type_in(line)?;
    }
    terminal.wait_for(shown, LIMIT)?;
    assert_eq!(terminal.end(LIMIT)?.code(), Some(0));
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_shell_in_debian() -> Result<()> {
    on_a_terminal("docker run --rm -it", Some(("# ", "echo $((40 + 2)) answers; exit\n")), "42 answers")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn size_by_variables() -> Result<()> {
    on_a_terminal("docker run --rm --runtime runq -e RUNQ_CPU=2", None, "2\r\n")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_module_is_loaded() -> Result<()> {
    on_a_terminal("docker run --runtime runq --cap-add sys_module", None, "\nbrd ")
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn networks_are_connected_before_the_start() -> Result<()> {
    let bed = Bed::alone()?;
    let commands = readme::commands()?;
    let example =
        commands.iter().skip_while(|command| !command.starts_with("docker create --name web")).take(3);
    let example: Vec<&str> = example.map(String::as_str).collect();
    let networks = "docker network create --subnet 198.18.7.0/24 front; docker network create back";
    let cleaner = Cleaner::new(&bed);
    let list = "for i in $(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' web); do echo $i; done";
    let run = || {
        runq_tests::command::output(&mut bed.docker.shell(networks), LIMIT)?;
        runq_tests::command::output(&mut bed.docker.shell(&example.join("\n")), LIMIT)?;
        runq_tests::command::output(&mut bed.docker.shell(list), LIMIT)
    };
    let addresses = run();
    drop(cleaner);
    bed.docker.run(&["network", "rm", "front", "back"])?;
    let addresses = addresses?;
    assert_eq!(addresses.lines().count(), 2, "{addresses}");
    assert!(addresses.contains("198.18.7.7"), "{addresses}");
    Ok(())
}
