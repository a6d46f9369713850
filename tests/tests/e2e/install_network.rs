//! Bundles over the ways of a company's network: a proxy, an authority and a password of its own; and other programs that read what
//! was pushed.

use anyhow::{Context, Result, ensure};
use runq_tests::apt::Apt;
use runq_tests::command::{self, Finished};
use runq_tests::connect_proxy::{ConnectProxy, NAME};
use runq_tests::https_server::{Answer, HttpsServer};
use runq_tests::images;
use runq_tests::installation::{Installation, LIMIT, program};
use runq_tests::registry::Registry;
use runq_tests::small_bundle::SmallBundle;
use runq_tests::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command with a key, and a proxy if there is one.
fn run(installation: &Installation, command: &mut Command, proxy: Option<&ConnectProxy>) -> Result<Finished> {
    command.arg("--public-key").arg(installation.signer.public_key()).env_remove("NO_PROXY");
    if let Some(proxy) = proxy {
        command.env("HTTPS_PROXY", proxy.url());
    }
    command::run(command, &[], LIMIT)
}

/// Pushes the bundle of this machine and one of the other kind, and gives the latter.
fn push(
    installation: &Installation,
    registry: &Registry,
    target: &str,
    ca_file: Option<&Path>,
    proxy: Option<&ConnectProxy>,
) -> Result<PathBuf> {
    let mut foreign = SmallBundle::new("1.0.0", 10);
    foreign.arch = "s390x".into();
    let foreign = foreign.write(&installation.path(""), &installation.signer)?;
    let config = registry.docker_config("runq:secret")?;
    let mut push = Command::new(workspace::dist().join("runq-assets"));
    push.arg("push").arg(installation.bundle("1.0.0")).arg(&foreign).arg(target);
    push.arg("--docker-config").arg(config.path());
    ca_file.map(|file| push.arg("--ca-file").arg(file));
    let pushed = run(installation, &mut push, proxy)?;
    ensure!(pushed.code == 0, "{}", pushed.stderr_text());
    Ok(foreign)
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_web_server_is_reached_through_the_proxy() -> Result<()> {
    let installation = Installation::new()?;
    let bytes = fs_err::read(installation.bundle("1.0.0"))?;
    let server = HttpsServer::start(
        &installation.path(""),
        vec![("/b.tar.zst", Answer::Cut(bytes.clone(), bytes.len() / 2 + 1))],
    )?;
    let proxy = ConnectProxy::start()?;
    let url = server.url("/b.tar.zst").replace("127.0.0.1", NAME);
    let output = installation.path("pulled.tar.zst");
    let pull = || {
        let mut pull = Command::new(program());
        pull.args(["pull", &url, "-o"]).arg(&output).arg("--ca-file").arg(server.ca_file());
        pull
    };
    let finished = run(&installation, &mut pull(), Some(&proxy))?;
    ensure!(finished.code == 0, "{}", finished.stderr_text());
    assert_eq!(fs_err::read(&output)?, bytes);
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap_or_default();
    assert_eq!(proxy.targets(), [format!("{NAME}:{port}"), format!("{NAME}:{port}")]);
    // Without the proxy nobody knows the name; and nothing is left of the attempt.
    fs_err::remove_file(&output)?;
    let finished = run(&installation, pull().env("NO_PROXY", NAME), None)?;
    ensure!(finished.code == 125 && finished.stderr_text().contains("HTTPS_PROXY"), "{finished:?}");
    assert!(!output.exists());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn a_registry_with_tls_and_a_password_is_reached_through_the_proxy() -> Result<()> {
    let installation = Installation::new()?;
    let registry = Registry::start_with_tls_and_password(NAME)?;
    let ca_file = registry.ca_file().context("no authority")?;
    let proxy = ConnectProxy::start()?;
    let target = format!("oci://{}/some/runq:1.0.0", registry.address());
    let foreign = push(&installation, &registry, &target, Some(&ca_file), Some(&proxy))?;

    let output = installation.path("pulled.tar.zst");
    let pull = |credentials: &str, ca_file: &Path| {
        let config = registry.docker_config(credentials)?;
        let mut pull = Command::new(program());
        pull.args(["pull", &target, "--arch", "s390x", "-o"]).arg(&output).arg("--ca-file").arg(ca_file);
        run(&installation, pull.env("DOCKER_CONFIG", config.path()), Some(&proxy))
    };
    let finished = pull("runq:secret", &ca_file)?;
    ensure!(finished.code == 0, "{}", finished.stderr_text());
    assert_eq!(fs_err::read(&output)?, fs_err::read(foreign)?);
    fs_err::remove_file(&output)?;
    let finished = pull("runq:guess", &ca_file)?;
    ensure!(finished.code == 125, "{finished:?}");
    assert!(finished.stderr_text().to_lowercase().contains("auth"), "{}", finished.stderr_text());
    // Somebody else's authority.
    let other = HttpsServer::start(&installation.path(""), Vec::new())?;
    let finished = pull("runq:secret", other.ca_file())?;
    ensure!(finished.code == 125 && finished.stderr_text().contains("--ca-file"), "{finished:?}");
    assert!(!output.exists());
    Ok(())
}

#[test]
#[ignore = "needs the sandbox: run `make test`"]
fn oras_reads_what_was_pushed() -> Result<()> {
    let installation = Installation::new()?;
    let registry = Registry::start_with_password()?;
    let target = format!("oci://{}/some/runq:1.0.0", registry.address());
    let foreign = push(&installation, &registry, &target, None, None)?;
    let oras = oras()?;
    let directory = installation.path("oras");
    fs_err::create_dir(&directory)?;
    let config = registry.docker_config("runq:secret")?;
    let run = |words: &[&str]| {
        let mut command = Command::new(&oras);
        command.args(words).arg(target.replace("oci://", "")).arg("--plain-http");
        command::output(command.current_dir(&directory).env("DOCKER_CONFIG", config.path()), LIMIT)
    };
    let index: serde_json::Value = serde_json::from_str(&run(&["manifest", "fetch"])?)?;
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(2), "{index}");
    for (platform, bundle) in [("linux/amd64", installation.bundle("1.0.0")), ("linux/s390x", foreign)] {
        run(&["pull", "--platform", platform])?;
        let pulled = directory.join(bundle.file_name().context("no name")?);
        assert_eq!(fs_err::read(pulled)?, fs_err::read(&bundle)?, "{platform}");
    }
    Ok(())
}

/// Debian's own, from a release that has it; unpacked once.
fn oras() -> Result<PathBuf> {
    let root = workspace::target().join("oras");
    let program = root.join("usr/bin/oras");
    if !program.exists() {
        let apt = Apt::update(images::SUITE, "amd64")?;
        fs_err::create_dir_all(&root)?;
        apt.unpack_alone("oras", &root)?;
    }
    Ok(program)
}
