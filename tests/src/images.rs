//! The images of the sandbox, made of Debian's packages: no registry is needed. On the host as root; the
//! packages are verified by apt and debootstrap, the cache by the checksum beside it.

use crate::apt::Apt;
use crate::docker::Docker;
use crate::{command, report, workspace};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// The Debian release that the images are made of.
pub const SUITE: &str = "trixie";
const PATH: &str = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Loads `busybox` and `debian` unless the daemon has them.
///
/// # Errors
/// When one cannot be made or loaded.
pub fn load(docker: &Docker) -> Result<()> {
    if !is_loaded(docker, "busybox") {
        report::step("image busybox: from Debian's busybox-static");
        import(docker, "busybox", "sh", &busybox(&fs_err::read("/bin/busybox")?)?)?;
    }
    if !is_loaded(docker, "debian") {
        report::step(format_args!("image debian: {SUITE}, minimal"));
        import(docker, "debian", "bash", &fs_err::read(debian()?)?)?;
    }
    Ok(())
}

/// Loads `busybox-<arch>` for another architecture unless the daemon has it. The program is Debian's, fetched and verified by
/// an apt that keeps its state in the cache; the applets are taken to be those of this machine's busybox.
///
/// # Errors
/// When it cannot be made or loaded.
pub fn load_foreign(docker: &Docker, arch: &str) -> Result<()> {
    let name = format!("busybox-{arch}");
    if is_loaded(docker, &name) {
        return Ok(());
    }
    report::step(format_args!("image {name}: from Debian's busybox-static for {arch}"));
    let work = tempfile::tempdir()?;
    Apt::update("bookworm", arch)?.unpack_alone("busybox-static", work.path())?;
    let binary = fs_err::read(work.path().join("bin/busybox"))?;
    let platform = format!("linux/{arch}");
    import_for(docker, (&name, Some(&platform)), "sh", &busybox(&binary)?)
}

/// Makes an image of a tar archive.
///
/// # Errors
/// When `docker import` fails.
pub fn import(docker: &Docker, name: &str, shell: &str, tar: &[u8]) -> Result<()> {
    import_for(docker, (name, None), shell, tar)
}

fn import_for(
    docker: &Docker,
    (name, platform): (&str, Option<&str>),
    shell: &str,
    tar: &[u8],
) -> Result<()> {
    let mut import = docker.command();
    import.args(["import", "--change", PATH, "--change", &format!("CMD [\"{shell}\"]")]);
    if let Some(platform) = platform {
        import.args(["--platform", platform]);
    }
    import.args(["-", name]);
    let finished = command::run(&mut import, tar, LIMIT)?;
    if finished.code != 0 {
        bail!("cannot import {name}: {}", finished.stderr_text());
    }
    Ok(())
}

pub(crate) fn is_loaded(docker: &Docker, name: &str) -> bool {
    docker.run(&["image", "inspect", name]).is_ok_and(|finished| finished.code == 0)
}

/// One static program, a link for each of its applets, and the few files that name the users.
fn busybox(binary: &[u8]) -> Result<Vec<u8>> {
    let applets = command::output(Command::new("/bin/busybox").arg("--list-full"), LIMIT)?;
    let mut rootfs = Rootfs::new();
    for dir in
        ["bin", "dev", "etc", "proc", "root", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var"]
    {
        rootfs.directory(dir, if dir == "tmp" { 0o1777 } else { 0o755 })?;
    }
    rootfs.file("bin/busybox", 0o755, binary)?;
    let users = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    rootfs.file("etc/passwd", 0o644, users.as_bytes())?;
    rootfs.file("etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n")?;
    for applet in applets.lines().filter(|applet| *applet != "bin/busybox") {
        rootfs.link(applet, "/bin/busybox")?;
    }
    rootfs.finish()
}

/// A root file system in the making, as `docker import` takes it: everything belongs to root.
pub struct Rootfs(tar::Builder<Vec<u8>>);

impl Default for Rootfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Rootfs {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// When the path does not fit in a tar header.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        Ok(self.0.append_data(&mut header, path, std::io::empty())?)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When the path does not fit in a tar header.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
        Ok(self.0.append_data(&mut header, path, content)?)
    }

    /// Adds a symbolic link; the target is taken as it is.
    ///
    /// # Errors
    /// When path or target do not fit in a tar header.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        Ok(self.0.append_link(&mut header, path, target)?)
    }

    /// Adds a named pipe.
    ///
    /// # Errors
    /// When the path does not fit in a tar header.
    pub fn fifo(&mut self, path: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Fifo, 0o644, 0);
        Ok(self.0.append_data(&mut header, path, std::io::empty())?)
    }

    /// The archive.
    ///
    /// # Errors
    /// Never in practice: it is in memory.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(self.0.into_inner()?)
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

/// The archive of a minimal Debian, from the cache or by debootstrap.
///
/// # Errors
/// When a package cannot be had.
pub fn debian() -> Result<PathBuf> {
    cached("debian", debootstrap)
}

/// An archive of the cache, made when it is not there or not whole.
pub(crate) fn cached(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = workspace::cache().join("images");
    let archive = cache.join(format!("{name}-{SUITE}.tar"));
    let checksum = archive.with_extension("tar.sha256");
    if archive.exists() && fs_err::read_to_string(&checksum).ok() == Some(sha256(&archive)?) {
        return Ok(archive);
    }
    fs_err::create_dir_all(&cache)?;
    let work = tempfile::tempdir_in(&cache)?;
    let rootfs = work.path().join("rootfs");
    make(&rootfs)?;
    let new = work.path().join("rootfs.tar");
    let mut tar = Command::new("tar");
    tar.args([
        "--numeric-owner",
        "--exclude=./var/cache/apt/archives/*.deb",
        "--exclude=./var/lib/apt/lists/*",
    ]);
    command::show(tar.arg("--directory").arg(&rootfs).arg("--file").arg(&new).args(["--create", "."]))?;
    fs_err::write(&checksum, sha256(&new)?)?;
    fs_err::rename(&new, &archive)?;
    Ok(archive)
}

/// Takes a minute and prints a line per package: shows where it is instead.
fn debootstrap(rootfs: &Path) -> Result<()> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", SUITE]).arg(rootfs).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start debootstrap")?;
    let output = BufReader::new(child.stdout.take().context("debootstrap has no output")?);
    let (mut phase, mut last) = (String::new(), String::new());
    for line in output.lines().map_while(std::result::Result::ok) {
        let action = line.split(' ').nth(1).unwrap_or_default();
        if action != phase && ["Retrieving", "Extracting", "Unpacking", "Configuring"].contains(&action) {
            report::detail(format_args!("debootstrap: {}", action.to_lowercase()));
            action.clone_into(&mut phase);
        }
        last = line;
    }
    if !child.wait()?.success() {
        bail!("debootstrap failed: {last}");
    }
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = fs_err::File::open(file)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).context("cannot hash")? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            bytes => hasher.update(&block[..bytes]),
        }
    }
}
