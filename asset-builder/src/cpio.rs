//! cpio archives in the `newc` format, which the kernel unpacks as its initial root
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Runs on the build machine. The same members give the
//! same bytes: owner root, times at the epoch, numbers in the order of writing.

/// An archive under construction.
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    inode: usize,
}

const TRAILER: &str = "TRAILER!!!";
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Cpio {
    /// An empty archive.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), inode: 0 }
    }

    /// Adds a directory. Its parent has to be there already.
    pub(crate) fn directory(&mut self, path: &str) {
        self.member(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.member(path, FILE | mode, (0, 0), content);
    }

    /// Adds a character device.
    pub(crate) fn character_device(&mut self, path: &str, mode: u32, major_minor: (usize, usize)) {
        self.member(path, CHARACTER_DEVICE | mode, major_minor, &[]);
    }

    /// The bytes, with the trailer that the format demands.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.member(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn member(&mut self, path: &str, mode: u32, (major, minor): (usize, usize), content: &[u8]) {
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let mode = mode as usize;
        let name_bytes = path.len() + 1;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.inode, mode, 0, 0, links, 0, content.len(), 0, 0, major, minor, name_bytes, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
        self.inode += 1;
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A member of an archive that was read.
pub(crate) struct Member<'a> {
    pub(crate) path: &'a str,
    pub(crate) mode: u32,
    pub(crate) content: &'a [u8],
}

/// Whether a member's mode is that of a directory.
pub(crate) fn is_directory(mode: u32) -> bool {
    mode & 0o170_000 == DIRECTORY
}

/// The members of an archive; `None` when it is none that this program writes.
pub(crate) fn members(archive: &[u8]) -> Option<Vec<Member<'_>>> {
    const HEADER_BYTES: usize = 6 + 13 * 8;
    let mut members = Vec::new();
    let mut position = 0;
    loop {
        let header = archive.get(position..position + HEADER_BYTES)?;
        let field = |number: usize| {
            let digits = header.get(6 + number * 8..14 + number * 8)?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (size, name_bytes) = (usize::try_from(field(6)?).ok()?, usize::try_from(field(11)?).ok()?);
        let name = position + HEADER_BYTES;
        let path = archive.get(name..name + name_bytes)?.strip_suffix(b"\0")?;
        let start = (name + name_bytes).next_multiple_of(4);
        let content = archive.get(start..start + size)?;
        if !header.starts_with(b"070701") {
            return None;
        }
        if path == TRAILER.as_bytes() {
            return Some(members);
        }
        members.push(Member { path: std::str::from_utf8(path).ok()?, mode: field(1)?, content });
        position = (start + size).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_cpio_writes() {
        let mut cpio = Cpio::new();
        cpio.directory("dev");
        cpio.character_device("dev/console", 0o600, (5, 1));
        cpio.file("init", 0o755, b"hello");
        let expected = concat!(
            "07070100000000000041ED000000000000000000000002000000000000000000000000000000000000000000000000",
            "0000000400000000dev\0\0\0",
            "0707010000000100002180000000000000000000000001000000000000000000000000000000000000000500000001",
            "0000000C00000000dev/console\0\0\0",
            "07070100000002000081ED000000000000000000000001000000000000000500000000000000000000000000000000",
            "0000000500000000init\0\0hello\0\0\0",
            "0707010000000000000000000000000000000000000001000000000000000000000000000000000000000000000000",
            "0000000B00000000TRAILER!!!\0\0\0\0",
        );
        assert_eq!(String::from_utf8(cpio.finish()).unwrap(), expected);
    }
    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let mut cpio = Cpio::new();
        cpio.directory("dev");
        cpio.file("init", 0o755, b"hello");
        let archive = cpio.finish();
        let found: Vec<_> = members(&archive).unwrap().iter().map(|m| (m.path, m.mode, m.content)).collect();
        assert_eq!(found, [("dev", 0o040_755, &b""[..]), ("init", 0o100_755, &b"hello"[..])]);
        for end in 0..archive.len() - 1 {
            assert!(members(&archive[..end]).is_none(), "{end}");
        }
        assert!(members(&archive[1..]).is_none());
    }
}
