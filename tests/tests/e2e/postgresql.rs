//! The README's full example, as it stands there: a database with a disk of its own, and a client that is linked to it.

use anyhow::Result;
use runq_tests::bed::Bed;
use runq_tests::{command, service_images};
use std::process::Command;
use std::time::Duration;

/// The first start makes the database, which is much work under emulation.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn database_keeps_its_data_on_a_disk() -> Result<()> {
    let bed = Bed::shared()?;
    service_images::load_postgres(&bed.docker)?;
    let dir = tempfile::tempdir()?;
    let shell = |script: &str| {
        command::output(
            Command::new("sh").args(["-ec", script]).current_dir(dir.path()),
            Duration::from_secs(60),
        )
    };
    shell("dd if=/dev/zero of=data.img bs=1M count=200; mkfs.ext4 -q -F data.img")?;
    let volume = format!("{}/data.img:/dev/disk/writeback/ext4/var/lib/postgresql", dir.path().display());
    let options =
        ["-e", "RUNQ_CPU=2", "-e", "RUNQ_MEM=512", "-e", "POSTGRES_PASSWORD=mysecret", "-v", &volume];
    let server = || bed.container().image("postgres:alpine").options(&options);
    let query = |server: &str, sql: &str| {
        let link = format!("{server}:postgres");
        let client =
            bed.container().image("postgres:alpine").options(&["--link", &link, "-e", "PGPASSWORD=mysecret"]);
        client.run(&["psql", "-h", "postgres", "-U", "postgres", "-c", sql])
    };
    let first = server().start(&[])?;
    let is_ready = || first.logs().is_ok_and(|logs| logs.contains("ready to accept connections"));
    let waited = command::wait_until("the database", PATIENCE, is_ready);
    assert!(waited.is_ok(), "{waited:?}: {}", first.logs()?);
    let answer = query(&first.name, "select 42 as answer;")?;
    assert_eq!(answer.stdout_text(), "answer \n--------\n     42\n(1 row)", "{answer:?}");
    query(&first.name, "create table kept as select 7 as number;")?;
    bed.docker.output(&["stop", "--time", "60", &first.name])?;
    drop(first);
    let second = server().start(&[])?;
    second.wait_for("ready to accept connections")?;
    let answer = query(&second.name, "select number from kept;")?;
    assert!(answer.stdout_text().contains("      7"), "{answer:?}");
    assert!(!second.logs()?.contains("initdb"), "the database was made again");
    Ok(())
}
