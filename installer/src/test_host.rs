//! A host in a temporary directory, with bundles that are made and signed here: for the tests of the commands. Docker is left
//! alone (`--no-reload`); the black-box tests have a real one.

use crate::cli::Cli;
use crate::report::Report;
use clap::Parser;
use object::elf::{EM_S390, EM_X86_64};
use runq_bundle::archive::write_bundle;
use runq_bundle::digest::sha256;
use runq_bundle::manifest::{Entry, EntryKind, FORMAT, Manifest, PRODUCT};
use runq_bundle::signature::{KeyPair, keygen, sign};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const DAEMON_JSON: &str = "{\n\t\"debug\": true\n}";

pub(crate) struct Host {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) pair: KeyPair,
}

/// The 20 bytes of an ELF header that say for whom it is, and zeros.
pub(crate) fn elf(machine: u16, big_endian: bool) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if big_endian { 2 } else { 1 }, 1]);
    let machine = if big_endian { machine.to_be_bytes() } else { machine.to_le_bytes() };
    header[18..20].copy_from_slice(&machine);
    header
}

pub(crate) fn elf_of(arch: &str) -> Vec<u8> {
    match arch {
        "s390x" => elf(EM_S390.0, true),
        _ => elf(EM_X86_64.0, false),
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self { directory: tempfile::tempdir().unwrap(), pair: keygen().unwrap() };
        fs::write(host.path("key.pub"), &host.pair.public).unwrap();
        fs::write(host.path("daemon.json"), DAEMON_JSON).unwrap();
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn prefix(&self, name: &str) -> PathBuf {
        self.path("prefix").join(name)
    }

    /// A bundle of this version, in which everything is for `arch` but the proxy, which is for `proxy_arch`.
    pub(crate) fn bundle(&self, version: &str, arch: &str, proxy_arch: &str) -> PathBuf {
        let files = [
            ("qemu", None, 0o755),
            ("qemu/proxy", Some(elf_of(proxy_arch)), 0o755),
            ("qemu/proxy.link", None, 0o777),
            ("runq", Some(elf_of(arch)), 0o755),
            ("sbom.spdx.json", Some(version.as_bytes().to_vec()), 0o644),
        ];
        let entry = |(path, content, mode): &(&str, Option<Vec<u8>>, u32)| Entry {
            path: (*path).to_owned(),
            kind: match content {
                Some(content) => EntryKind::File { size: content.len() as u64, sha256: sha256(content) },
                None if *mode == 0o777 => EntryKind::Symlink { target: "proxy".into() },
                None => EntryKind::Directory,
            },
            mode: *mode,
            package: None,
        };
        let manifest = Manifest {
            format: FORMAT,
            product: PRODUCT.into(),
            version: version.into(),
            sequence: version.replace('.', "").parse().unwrap(),
            host_arch: arch.into(),
            guest_arch: arch.into(),
            build_id: "b".into(),
            distribution: "debian-trixie".into(),
            created: 1_700_000_000,
            packages: Vec::new(),
            files: files.iter().map(entry).collect(),
            machine: serde_json::json!({}),
        };
        let signature = sign(&self.pair.secret, &manifest.to_json().unwrap(), "test").unwrap();
        let path = self.path(&format!("runq-{version}-{arch}.tar.zst"));
        write_bundle(fs::File::create(&path).unwrap(), &manifest, &signature, |entry| {
            let content = files.iter().find(|file| file.0 == entry.path).and_then(|file| file.1.clone());
            Ok(Box::new(std::io::Cursor::new(content.unwrap_or_default())))
        })
        .unwrap();
        path
    }

    pub(crate) fn run(&self, line: &str) -> anyhow::Result<Report> {
        let line = line.replace("DIR", self.directory.path().to_str().unwrap());
        let cli = Cli::try_parse_from(["runq-install"].into_iter().chain(line.split_whitespace()))?;
        crate::run(&cli.into_command())
    }

    pub(crate) fn install(&self, bundle: &Path, more: &str) -> anyhow::Result<Report> {
        let bundle = bundle.display();
        let arch = if bundle.to_string().contains("s390x") { "s390x" } else { "x86_64" };
        self.run(&format!(
            "--arch {arch} --bundle {bundle} --public-key DIR/key.pub --prefix DIR/prefix --no-reload {more}"
        ))
    }

    pub(crate) fn with_docker(&self, bundle: &Path) -> anyhow::Result<Report> {
        self.install(bundle, "--daemon-json DIR/daemon.json --runtime-arg --accel --runtime-arg tcg")
    }

    pub(crate) fn daemon_json(&self) -> String {
        fs::read_to_string(self.path("daemon.json")).unwrap()
    }

    /// A copy of the prefix to `DIR/copy`, in which `script` then does what copying may do; `$V` is the version.
    pub(crate) fn copy(&self, script: &str) {
        let line = format!("cp -a prefix copy && cd copy && V=$(echo versions/*) && {script}");
        let done =
            std::process::Command::new("sh").args(["-ec", &line]).current_dir(&self.directory).status();
        assert!(done.unwrap().success(), "{line}");
    }

    /// All names directly below a directory of the prefix.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(items) = fs::read_dir(self.prefix(directory)) else { return Vec::new() };
        let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
