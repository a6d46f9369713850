//! The installer among enemies: altered bundles, a hostile environment, strange prefixes and file systems, and other installers.

use anyhow::{Context, Result, ensure};
use runq_tests::command::{self, Finished};
use runq_tests::installation::{Installation, LIMIT, Snapshot, program};
use runq_tests::small_bundle::{Content, Scheme, Signer, SmallBundle, compress, member, tar};
use runq_tests::workspace;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use tar::EntryType;

/// Puts these bytes in the place of version 1.0.0 and says what becomes of its installation; nothing may.
fn refused(installation: &Installation, name: &str, bytes: &[u8], before: &Snapshot) -> Result<String> {
    fs_err::write(installation.bundle("1.0.0"), bytes)?;
    let finished = installation.run(&["install", "1.0.0"])?;
    ensure!(finished.code == 125, "{name}: ended with {}", finished.code);
    let after = installation.snapshot()?;
    ensure!(after.leftovers().is_empty(), "{name}: left {:?}", after.leftovers());
    ensure!(
        after.file("etc/daemon.json") == before.file("etc/daemon.json"),
        "{name}: daemon.json has changed"
    );
    ensure!(!installation.prefix().join("current").exists(), "{name}: was installed");
    Ok(finished.stderr_text())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn every_attack_on_the_archive_is_refused_and_leaves_nothing() -> Result<()> {
    let installation = Installation::new()?;
    let before = installation.snapshot()?;
    let small = SmallBundle::new("1.0.0", 10);
    let manifest = small.manifest();
    let signature = installation.signer.sign(&manifest, Scheme::Prehashed)?;
    let good: Vec<Vec<u8>> = small.items.iter().map(runq_tests::small_bundle::Item::blocks).collect();
    let last = good.len() - 1;
    let swapped = |position: usize, block: Vec<u8>| {
        let mut members = good.clone();
        members[position] = block;
        members
    };
    let with = |position: usize, block: Vec<u8>| {
        let mut members = good.clone();
        members.insert(position, block);
        members
    };
    let file = |path: &str| member(path, EntryType::Regular, 0o755, "", b"#!/bin/sh\n");
    let attacks: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("outside the manifest", with(last, file("intruder"))),
        ("after the end of the manifest", with(last + 1, file("zzz"))),
        ("missing", good[..last].to_vec()),
        ("twice", with(1, good[0].clone())),
        ("upwards", swapped(last, file("../runq-install"))),
        ("absolute", swapped(last, file("/etc/cron.d/runq"))),
        ("device", swapped(last, member("runq-install", EntryType::Char, 0o755, "", b""))),
        ("FIFO", swapped(last, member("runq-install", EntryType::Fifo, 0o755, "", b""))),
        ("hard link", swapped(last, member("runq-install", EntryType::Link, 0o755, "/etc/shadow", b""))),
        (
            "setuid",
            swapped(
                last,
                member("runq-install", EntryType::Regular, 0o4755, "", small_content(&small, last)),
            ),
        ),
        (
            "link in the place of a directory",
            swapped(0, member("qemu", EntryType::Symlink, 0o777, "/etc", b"")),
        ),
        (
            "larger than the manifest says",
            swapped(2, member("qemu/kernel", EntryType::Regular, 0o644, "", &[b'k'; 3001])),
        ),
        (
            "other content of the same size",
            swapped(2, member("qemu/kernel", EntryType::Regular, 0o644, "", &[b'x'; 3000])),
        ),
    ];
    for (name, members) in attacks {
        let said = refused(&installation, name, &compress(&tar(&manifest, &signature, &members))?, &before)?;
        assert!(said.contains("cannot"), "{name}: {said}");
    }
    // A gigabyte of zeros that follows what the manifest lists is not even decompressed.
    let mut bomb = tar(&manifest, &signature, &good);
    bomb.resize(bomb.len() + (1 << 30), 0);
    let start = std::time::Instant::now();
    refused(&installation, "bomb", &compress(&bomb)?, &before)?;
    assert!(start.elapsed() < LIMIT);
    Ok(())
}

fn small_content(small: &SmallBundle, position: usize) -> &[u8] {
    match &small.items[position].content {
        Content::File(bytes) => bytes,
        _ => &[],
    }
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn altered_cut_and_wrongly_signed_bundles_are_refused() -> Result<()> {
    let installation = Installation::new()?;
    let before = installation.snapshot()?;
    let good = fs_err::read(installation.bundle("1.0.0"))?;
    let stride = if std::env::var("RUNQ_TEST_FAULTS").is_ok_and(|value| value == "all") { 1 } else { 29 };
    let plain = zstd::decode_all(&good[..])?;
    for position in (0..good.len()).step_by(stride) {
        let mut bytes = good.clone();
        bytes[position] ^= 0x10;
        // Some bits of a frame's header say nothing about its content, and minisign's first line is covered by nothing.
        if zstd::decode_all(&bytes[..])
            .is_ok_and(|tar| without_comment(tar) == without_comment(plain.clone()))
        {
            continue;
        }
        refused(&installation, &format!("byte {position}"), &bytes, &before)?;
    }
    for length in (0..plain.len()).step_by(512 * stride.min(5)) {
        refused(&installation, &format!("{length} bytes"), &compress(&plain[..length])?, &before)?;
    }

    let small = SmallBundle::new("1.0.0", 10);
    let stranger = Signer::generate(&installation.path("stranger"))?;
    let said =
        refused(&installation, "stranger", &compress(&small.tar(&stranger, Scheme::Prehashed)?)?, &before)?;
    assert!(said.contains("signature is by key"), "{said}");
    let legacy = small.tar(&installation.signer, Scheme::Legacy)?;
    let said = refused(&installation, "legacy", &compress(&legacy)?, &before)?;
    assert!(said.contains("does not match") || said.contains("malformed"), "{said}");
    let mut foreign = small.clone();
    foreign.items[6].content = Content::File(elf(if workspace::ARCH == "s390x" { 62 } else { 22 }));
    let foreign = foreign.tar(&installation.signer, Scheme::Prehashed)?;
    let said = refused(&installation, "foreign program", &compress(&foreign)?, &before)?;
    assert!(said.contains("runq is an ELF file for machine"), "{said}");
    fs_err::write(installation.bundle("1.0.0"), good)?;
    installation.must(&["install", "1.0.0"]).map(drop)
}

/// The tar file without the text of minisign's untrusted comment.
fn without_comment(mut tar: Vec<u8>) -> Vec<u8> {
    let name = b"manifest.json.minisig";
    let start = tar.windows(name.len()).position(|window| window == name).unwrap_or_default() + 512;
    let length = "untrusted comment: signature from minisign secret key".len();
    if let Some(comment) = tar.get_mut(start..start + length) {
        comment.fill(0);
    }
    tar
}

/// The header of a program for a machine, little-endian whatever that is.
fn elf(machine: u16) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[18..20].copy_from_slice(&machine.to_le_bytes());
    header
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn the_environment_changes_nothing() -> Result<()> {
    let installation = Installation::new()?;
    installation.must(&["install", "1.0.0"])?;
    let expected = installation.snapshot()?.comparable();
    let evil = installation.path("evil");
    fs_err::create_dir(&evil)?;
    for program in ["sh", "tar", "zstd", "docker", "dockerd"] {
        fs_err::write(evil.join(program), format!("#!/bin/sh\ntouch {}\n", evil.join("ran").display()))?;
        fs_err::set_permissions(evil.join(program), PermissionsExt::from_mode(0o755))?;
    }
    for mask in ["000", "777"] {
        installation.must(&["uninstall"])?;
        fs_err::remove_dir_all(installation.world().join("etc"))?;
        fs_err::create_dir(installation.world().join("etc"))?;
        fs_err::write(installation.daemon_json(), runq_tests::installation::DAEMON_JSON)?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]).arg(program());
        shell.args(installation.arguments(&["install", "1.0.0"]));
        shell.env_clear().env("PATH", &evil).env("TMPDIR", "/nonexistent").env("HOME", "/nonexistent");
        shell.env("LD_PRELOAD", "/nonexistent.so").env("LD_LIBRARY_PATH", &evil);
        shell.env("DOCKER_HOST", "tcp://203.0.113.1:2375").env("SOURCE_DATE_EPOCH", "x");
        let finished = command::run(&mut shell, &[], LIMIT)?;
        ensure!(finished.code == 0, "umask {mask}: {}", finished.stderr_text());
        let found = installation.snapshot()?.comparable();
        ensure!(found == expected, "umask {mask}: {:?}", expected.difference(&found));
        assert!(!evil.join("ran").exists(), "a program of PATH was run");
    }
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn strange_prefixes_and_file_systems_are_refused_before_anything_changes() -> Result<()> {
    let installation = Installation::new()?;
    let prefix = installation.prefix();
    let refuses = |what: &str| -> Result<String> {
        let finished = installation.run(&["install", "1.0.0"])?;
        ensure!(finished.code == 125, "{what}: ended with {}", finished.code);
        let daemon_json = fs_err::read_to_string(installation.daemon_json())?;
        ensure!(daemon_json == runq_tests::installation::DAEMON_JSON, "{what}: daemon.json has changed");
        Ok(finished.stderr_text())
    };
    fs_err::create_dir(&prefix)?;
    chown(&prefix, Some(1000), Some(1000))?;
    assert!(refuses("foreign owner")?.contains("belongs to another user"));
    fs_err::remove_dir(&prefix)?;
    fs_err::write(&prefix, "a file")?;
    refuses("a file")?;
    fs_err::remove_file(&prefix)?;

    // An immutable daemon.json, one that is a mount, and one on a read-only file system.
    let mount = |words: &[&str]| command::output(Command::new("mount").args(words), LIMIT).map(drop);
    let daemon_json = installation.daemon_json();
    let text = |path: &Path| path.display().to_string();
    mount(&["--bind", &text(&daemon_json), &text(&daemon_json)])?;
    let said = refuses("mounted daemon.json");
    command::output(Command::new("umount").arg(&daemon_json), LIMIT)?;
    assert!(said?.contains("is a mount of its own"));
    let etc = daemon_json.parent().context("no directory")?;
    mount(&["--bind", &text(etc), &text(etc)])?;
    mount(&["-o", "remount,ro,bind", &text(etc)])?;
    let said = refuses("read-only /etc");
    command::output(Command::new("umount").arg(etc), LIMIT)?;
    assert!(said?.contains("read-only file system"));

    // A prefix of another file system, and one where nothing may be executed.
    fs_err::create_dir_all(&prefix)?;
    mount(&["-t", "tmpfs", "-o", "noexec,mode=0755", "none", &text(&prefix)])?;
    let said = refuses("noexec");
    command::output(Command::new("umount").arg(&prefix), LIMIT)?;
    assert!(said?.contains("noexec"));
    let real = installation.world().join("lib/other");
    fs_err::create_dir(&real)?;
    fs_err::remove_dir_all(&prefix)?;
    symlink("other", &prefix)?;
    mount(&["-t", "tmpfs", "-o", "mode=0755", "none", &text(&real)])?;
    let installed = installation.must(&["install", "1.0.0"]).and_then(|_| installation.must(&["verify"]));
    command::output(Command::new("umount").arg(&real), LIMIT)?;
    installed.map(drop)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_hundred_rounds_of_two_installers_end_well() -> Result<()> {
    let installation = Installation::new()?;
    let rounds = 100;
    for round in 0..rounds {
        let start = |version: &str| {
            let mut command = installation.command(&["install", version, "--allow-downgrade"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let (mut first, mut second) = (start("1.0.0")?, start("1.1.0")?);
        let codes = [first.wait()?.code(), second.wait()?.code()];
        // One of them wins; the other waits for nobody and says so, or comes after.
        ensure!(codes.contains(&Some(0)), "round {round}: {codes:?}");
        ensure!(codes.iter().all(|code| matches!(code, Some(0 | 4 | 125))), "round {round}: {codes:?}");
        if round % 20 == 0 {
            installation.must(&["verify"])?;
        }
    }
    installation.must(&["verify"])?;
    let snapshot = installation.snapshot()?;
    assert!(snapshot.leftovers().is_empty(), "{:?}", snapshot.leftovers());
    assert_eq!(snapshot.backups(), 1);
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_version_that_is_not_active_is_verified_before_it_is_needed() -> Result<()> {
    let installation = Installation::new()?;
    installation.must(&["install", "1.0.0"])?;
    let active = || Ok::<_, anyhow::Error>(fs_err::read_link(installation.prefix().join("current"))?);
    let old = installation.prefix().join(active()?);
    let id = old.file_name().and_then(|name| name.to_str()).context("no version")?.to_owned();
    installation.must(&["install", "1.1.0"])?;
    ensure!(!active()?.ends_with(&id));
    let good = installation.must(&["verify", "--version", &id])?;
    ensure!(good.contains(&id) && good.contains("is good"), "{good}");

    let program = old.join("runq");
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let mut content = fs_err::read(&program)?;
    *content.last_mut().context("an empty program")? ^= 1;
    fs_err::write(&program, content)?;
    let bad = installation.run(&["verify", "--version", &id])?;
    ensure!(bad.code == 1 && bad.stdout_text().contains("runq"), "{bad:?}");
    installation.must(&["verify"])?;
    let unknown = installation.run(&["verify", "--version", "0.0.1-nothing"])?;
    ensure!(unknown.code == 125 && unknown.stderr_text().contains("0.0.1-nothing"), "{unknown:?}");
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn other_engines_read_what_was_registered() -> Result<()> {
    let installation = Installation::new()?;
    installation.must(&["install", "1.0.0", "--no-reload"])?;
    let register = |engine: &str, file: &Path| -> Result<Finished> {
        let mut register = installation.command(&["register"]);
        command::run(register.args(["--engine", engine, "--config-file"]).arg(file), &[], LIMIT)
    };
    let runtime = installation.prefix().join("runq").display().to_string();
    let config = installation.path("config.toml");
    fs_err::write(&config, "version = 2\nroot = \"/nonexistent\"\n")?;
    let finished = register("containerd", &config)?;
    ensure!(finished.code == 0, "{}", finished.stderr_text());
    let dump = command::output(
        Command::new("containerd").arg("--config").arg(&config).args(["config", "dump"]),
        LIMIT,
    )?;
    assert!(dump.contains(&format!("BinaryName = \"{runtime}\"")), "{dump}");
    assert!(dump.contains("root = \"/nonexistent\""), "{dump}");

    let drop_in = installation.path("50-runq.conf");
    let finished = register("podman", &drop_in)?;
    ensure!(finished.code == 0, "{}", finished.stderr_text());
    let mut info = Command::new("podman");
    info.args(["--runtime", "runq", "info", "--format", "{{.Host.OCIRuntime.Path}}"]);
    info.env("CONTAINERS_CONF", &drop_in);
    let finished = command::run(&mut info, &[], LIMIT)?;
    let said = format!("{} {}", finished.stdout_text(), finished.stderr_text());
    assert!(said.contains(&runtime), "{said}");
    installation.must(&["uninstall"])?;
    assert!(!drop_in.exists());
    assert_eq!(fs_err::read_to_string(&config)?, "version = 2\nroot = \"/nonexistent\"\n");
    Ok(())
}
