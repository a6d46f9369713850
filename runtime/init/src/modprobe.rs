//! Loads modules by name or alias from the tree of the bundle, for `init` and for the kernel, which runs this program as
//! `/sbin/modprobe` when it wants one. The tree comes to the guest by the share; a view of it is taken before any process of
//! the container runs, so that none can put other modules there.

use crate::mounts::ROOT;
use anyhow::{Context, bail};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use std::path::Path;

/// Where the kernel looks for the program (`/proc/sys/kernel/modprobe`).
const PROGRAM: &str = "/sbin/modprobe";

/// The view.
const TREE: &str = "/run/modules";

/// Flag of finit_module(2): the kernel decompresses the file.
const COMPRESSED_FILE: i32 = 4;

/// Soft dependencies may ask for each other.
const MAX_DEPTH: u32 = 8;

/// Takes the view of the tree and offers it to the kernel. A container whose bundle has no tree does without.
pub(crate) fn install() -> anyhow::Result<()> {
    let root = rustix::fs::open(ROOT, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .context("cannot open the share")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let tree = match rustix::fs::openat2(&root, "lib/modules", flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(tree) => tree,
        Err(_) => return Ok(()),
    };
    let copy =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let copy =
        rustix::mount::open_tree(&tree, "", copy).context("cannot copy the mount of the kernel's modules")?;
    std::fs::create_dir(TREE).with_context(|| format!("cannot make {TREE}"))?;
    rustix::mount::move_mount(&copy, "", CWD, TREE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| format!("cannot attach {TREE}"))?;
    std::fs::create_dir_all("/sbin").context("cannot make /sbin")?;
    std::os::unix::fs::symlink("/init", PROGRAM).with_context(|| format!("cannot make {PROGRAM}"))
}

/// The kernel's request, when this program was started for one: it calls `/sbin/modprobe -q -- NAME`.
pub(crate) fn request() -> Option<String> {
    let mut args = std::env::args();
    (args.next()? == PROGRAM).then(|| args.find(|arg| !arg.starts_with('-')).unwrap_or_default())
}

/// Loads all modules of this name or alias, and what they need.
pub(crate) fn load(name: &str) -> anyhow::Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let tree = Tree::read(&format!("{TREE}/{release}"))?;
    tree.load(name, 0)
}

/// What depmod(8) wrote.
struct Tree {
    folder: String,
    dependencies: String,
    aliases: String,
    soft_dependencies: String,
}

impl Tree {
    fn read(folder: &str) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = format!("{folder}/{name}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        Ok(Self {
            dependencies: read("modules.dep")?,
            aliases: read("modules.alias")?,
            soft_dependencies: read("modules.softdep")?,
            folder: folder.to_owned(),
        })
    }

    fn load(&self, name: &str, depth: u32) -> anyhow::Result<()> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        if let Some(paths) = self.paths(name) {
            return self.load_with_soft_dependencies(name, &paths, depth);
        }
        let modules = self.modules_of(name);
        if modules.is_empty() {
            bail!("there is no module {name}");
        }
        for module in modules {
            let paths = self.paths(module).with_context(|| format!("modules.dep lacks {module}"))?;
            self.load_with_soft_dependencies(module, &paths, depth)?;
        }
        Ok(())
    }

    /// What a soft dependency lacks is no error: it may be built in.
    fn load_with_soft_dependencies(&self, name: &str, paths: &[&str], depth: u32) -> anyhow::Result<()> {
        let (before, after) = self.soft_dependencies_of(name);
        for other in before {
            self.load(other, depth + 1).ok();
        }
        for path in paths.iter().rev() {
            self.insert(path)?;
        }
        for other in after {
            self.load(other, depth + 1).ok();
        }
        Ok(())
    }

    /// The file of a module and of those that it needs, each before what it needs itself.
    fn paths(&self, name: &str) -> Option<Vec<&str>> {
        let wanted = normal(name);
        self.dependencies.lines().find_map(|line| {
            let (path, needed) = line.split_once(':')?;
            (module_name(path) == wanted)
                .then(|| std::iter::once(path).chain(needed.split_whitespace()).collect())
        })
    }

    fn modules_of(&self, alias: &str) -> Vec<&str> {
        let wanted = normal(alias);
        let lines = self.aliases.lines().filter_map(|line| line.strip_prefix("alias ")?.split_once(' '));
        lines
            .filter(|(pattern, _)| matches(normal(pattern).as_bytes(), wanted.as_bytes()))
            .map(|(_, name)| name)
            .collect()
    }

    /// Names behind `pre:` and `post:`.
    fn soft_dependencies_of(&self, name: &str) -> (Vec<&str>, Vec<&str>) {
        let wanted = normal(name);
        let mut found = (Vec::new(), Vec::new());
        for line in self.soft_dependencies.lines().filter_map(|line| line.strip_prefix("softdep ")) {
            let mut words = line.split_whitespace();
            if words.next().map(normal) != Some(wanted.clone()) {
                continue;
            }
            let mut is_after = false;
            for word in words {
                match word {
                    "pre:" => is_after = false,
                    "post:" => is_after = true,
                    other if is_after => found.1.push(other),
                    other => found.0.push(other),
                }
            }
        }
        found
    }

    fn insert(&self, path: &str) -> anyhow::Result<()> {
        let file = format!("{}/{path}", self.folder);
        let descriptor = rustix::fs::open(&file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open module {file}"))?;
        let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED_FILE };
        match rustix::system::finit_module(&descriptor, c"", flags) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot load module {file}")),
        }
    }
}

/// `a-b.ko.xz` is module `a_b`.
fn module_name(path: &str) -> String {
    let file = Path::new(path).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    normal(file.split(".ko").next().unwrap_or_default())
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether text fits a pattern of fnmatch(3) with `*`, `?` and `[…]`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        (Some((b'[', rest)), Some((letter, text))) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let set = &rest[..end];
            let in_range = |range: &[u8]| range[1] == b'_' && (range[0]..=range[2]).contains(letter);
            (set.contains(letter) || set.windows(3).any(in_range)) && matches(&rest[end + 1..], text)
        }
        (Some((b'?', rest)), Some((_, text))) => matches(rest, text),
        (Some((wanted, rest)), Some((letter, text))) => wanted == letter && matches(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree {
            folder: String::new(),
            dependencies: "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko\n\
                           kernel/fs/jbd2/jbd2.ko.xz:\nkernel/drivers/block/virtio_blk.ko:\n"
                .to_owned(),
            aliases: "# text\nalias fs-ext4 ext4\nalias ext3 ext4\nalias virtio:d00000002v* virtio_blk\n"
                .to_owned(),
            soft_dependencies: "softdep ext4 pre: crc32c post: a b\n".to_owned(),
        }
    }

    #[test]
    fn finds_modules_by_name_and_alias() {
        let tree = tree();
        let ext4 = ["kernel/fs/ext4/ext4.ko.xz", "kernel/fs/jbd2/jbd2.ko.xz", "kernel/lib/crc16.ko"];
        assert_eq!(tree.paths("ext4").unwrap(), ext4);
        assert!(tree.paths("virtio-blk").is_some() && tree.paths("fs-ext4").is_none());
        assert_eq!(tree.modules_of("fs-ext4"), ["ext4"]);
        assert_eq!(tree.modules_of("virtio:d00000002v00001AF4"), ["virtio_blk"]);
        assert!(tree.modules_of("fs-nothing").is_empty());
        assert_eq!(tree.soft_dependencies_of("ext4"), (vec!["crc32c"], vec!["a", "b"]));
    }

    #[test]
    fn patterns_are_those_of_the_kernel() {
        for (pattern, text, expected) in [
            ("usb:v04*d?", "usb:v0412dx", true),
            ("a[0_9b]c", "a7c", true),
            ("a[0_9b]c", "axc", false),
            ("*", "", true),
            ("a", "ab", false),
            ("a[", "ab", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
