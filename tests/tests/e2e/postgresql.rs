//! The README's full example, as it stands there: a database with a disk of its own, and a client that is linked to it.

use anyhow::{Result, bail};
use runq_tests::bed::Bed;
use runq_tests::{command, readme, service_images};
use std::time::Duration;

/// The first start makes the database, which is much work under emulation.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn database_keeps_its_data_on_a_disk() -> Result<()> {
    let bed = Bed::shared()?;
    service_images::load_postgres(&bed.docker)?;
    let dir = tempfile::tempdir()?;
    let run = |script: &str| {
        command::output(bed.docker.shell(script).current_dir(dir.path()), Duration::from_secs(120))
    };
    let readme = readme::commands()?;
    let example: Vec<&str> =
        readme.iter().map(String::as_str).skip_while(|line| !line.starts_with("dd if=")).take(4).collect();
    let [disk, file_system, server, client] = example[..] else {
        bail!("not the README's example: {example:?}")
    };
    let first = bed.adopt("pgserver");
    run(&[disk, file_system, server].join("\n"))?;
    let is_ready = || first.logs().is_ok_and(|logs| logs.contains("ready to accept connections"));
    let waited = command::wait_until("the database", PATIENCE, is_ready);
    assert!(waited.is_ok(), "{waited:?}: {}", first.logs()?);
    assert_eq!(run(client)?, "answer \n--------\n     42\n(1 row)");
    let query = |sql: &str| run(&client.replace("select 42 as answer;", sql));
    query("create table kept as select 7 as number;")?;
    bed.docker.output(&["stop", "--time", "60", &first.name])?;
    drop(first);
    let second = bed.adopt("pgserver");
    run(server)?;
    second.wait_for("ready to accept connections")?;
    let answer = query("select number from kept;")?;
    assert!(answer.contains("      7"), "{answer}");
    assert!(!second.logs()?.contains("initdb"), "the database was made again");
    Ok(())
}
