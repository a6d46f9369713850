//! The file operations of a program below a directory, in their order, from strace(1). What changes files and is not
//! understood is an error, so that nothing is missed.

use crate::installation::{Node, Snapshot};
use crate::{command, faults};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Beside [`faults::CHANGING`].
const FURTHER: &str =
    "lseek,dup,dup2,dup3,truncate,fallocate,pwritev,pwritev2,?fchmodat2,splice,mknod,mknodat,creat,open,sync";

/// The umask of the program.
const UMASK: u32 = 0o022;

/// One change; paths are relative to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the system calls have them")]
pub enum Operation {
    MakeDirectory { path: PathBuf, mode: u32 },
    Open { path: PathBuf, mode: u32, create: bool, truncate: bool },
    Write { path: PathBuf, offset: usize, bytes: Vec<u8> },
    Resize { path: PathBuf, length: usize },
    SetMode { path: PathBuf, mode: u32 },
    Link { target: PathBuf, path: PathBuf },
    HardLink { from: PathBuf, to: PathBuf },
    Rename { from: PathBuf, to: PathBuf, exchange: bool },
    Remove { path: PathBuf },
    Flush { path: PathBuf },
    FlushAll,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, offset, bytes } => {
                write!(f, "write of {} bytes at {offset} to {}", bytes.len(), path.display())
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl Operation {
    /// Those of a copy.
    #[must_use]
    pub fn that_make(snapshot: &Snapshot) -> Vec<Self> {
        let mut operations = Vec::new();
        for (path, node) in &snapshot.0 {
            let path = path.clone();
            match node {
                Node::Directory(mode) => operations.push(Self::MakeDirectory { path, mode: *mode }),
                Node::Link(target) => operations.push(Self::Link { target: target.clone(), path }),
                Node::File(mode, bytes) => {
                    let open = Self::Open { path: path.clone(), mode: *mode, create: true, truncate: false };
                    operations.extend([open, Self::Write { path, offset: 0, bytes: bytes.clone() }]);
                }
            }
        }
        operations
    }
}

/// Runs a command and lists what it does below `root`. `inject` is a fault, as strace takes it.
///
/// # Errors
/// When strace fails, or the command does something that is not understood.
pub fn record(command: &Command, root: &Path, log: &Path, inject: Option<&str>) -> Result<Vec<Operation>> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-y", "-xx", "-s", "4194304", "-o"]).arg(log);
    strace.arg("--trace").arg(format!("{},{FURTHER}", faults::CHANGING.join(",")));
    inject.map(|inject| strace.args(["--inject", inject]));
    strace.arg("--").arg(command.get_program()).args(command.get_args());
    let finished = command::run(&mut strace, &[], LIMIT)?;
    let expected = if inject.is_some() { 137 } else { 0 };
    ensure!(finished.code == expected, "ended with {}: {}", finished.code, finished.stderr_text());
    let text = fs_err::read_to_string(log)?;
    let mut reader = Reader { root: root.to_owned(), positions: BTreeMap::new(), operations: Vec::new() };
    for line in whole_calls(&text) {
        reader.read(&line).with_context(|| format!("cannot understand {}", shown(&line)))?;
    }
    Ok(reader.operations)
}

fn shown(line: &str) -> String {
    line.chars().take(300).collect()
}

/// Lines of completed calls, each once it has ended, without the thread.
fn whole_calls(text: &str) -> Vec<String> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for (thread, line) in text.lines().filter_map(|line| line.split_once(' ')) {
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
        } else if let Some((_, end)) =
            line.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            calls.push(format!("{}{end}", begun.remove(thread).unwrap_or_default()));
        } else {
            calls.push(line.to_owned());
        }
    }
    calls
}

struct Reader {
    root: PathBuf,
    /// Where the next write goes, by descriptor and path.
    positions: BTreeMap<(String, PathBuf), usize>,
    operations: Vec<Operation>,
}

impl Reader {
    fn read(&mut self, line: &str) -> Result<()> {
        // `call(arguments) = result`; a call that was not completed has `?`, one that failed `-1`.
        let Some((call, rest)) = line.split_once('(') else { return Ok(()) };
        let Some((arguments, result)) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(" = ")) else {
            return Ok(());
        };
        let result = result.trim();
        if call.starts_with("+++") || result.starts_with(['?', '-']) {
            return Ok(());
        }
        let arguments: Vec<&str> = arguments.trim_end().trim_end_matches(')').split(", ").collect();
        let argument = |number: usize| arguments.get(number).copied().unwrap_or_default();
        match call {
            "openat" => return self.open(&arguments, result),
            "write" | "pwrite64" => {
                let Some(path) = self.of_descriptor(argument(0))? else { return Ok(()) };
                let bytes = text(argument(1))?;
                let written: usize = result.parse()?;
                ensure!(written == bytes.len(), "{written} of {} bytes", bytes.len());
                let offset = match argument(3) {
                    "" => {
                        let position =
                            self.positions.entry((descriptor(argument(0)), path.clone())).or_default();
                        *position += written;
                        *position - written
                    }
                    offset => offset.parse()?,
                };
                self.operations.push(Operation::Write { path, offset, bytes });
            }
            "lseek" => {
                if let Some(path) = self.of_descriptor(argument(0))? {
                    self.positions.insert((descriptor(argument(0)), path), result.parse()?);
                }
            }
            "ftruncate" => {
                if let Some(path) = self.of_descriptor(argument(0))? {
                    self.operations.push(Operation::Resize { path, length: argument(1).parse()? });
                }
            }
            "fsync" | "fdatasync" => {
                let flush = self.of_descriptor(argument(0))?.map(|path| Operation::Flush { path });
                self.operations.extend(flush);
            }
            "syncfs" => {
                let all = self.of_descriptor(argument(0))?.map(|_| Operation::FlushAll);
                self.operations.extend(all);
            }
            "fchmod" => {
                let mode = mode(argument(1))?;
                let set = self.of_descriptor(argument(0))?.map(|path| Operation::SetMode { path, mode });
                self.operations.extend(set);
            }
            // Whose a file is says nothing about its content.
            "fchown" => {}
            "sync" => self.operations.push(Operation::FlushAll),
            "writev" | "pwritev" | "pwritev2" | "copy_file_range" | "sendfile" | "splice" | "fallocate"
            | "dup" | "dup2" | "dup3" => {
                for argument in arguments {
                    ensure!(self.of_descriptor(argument)?.is_none(), "the model has no {call}");
                }
            }
            _ => self.by_path(call, &arguments)?,
        }
        Ok(())
    }

    fn open(&mut self, arguments: &[&str], result: &str) -> Result<()> {
        let [directory, name, flags, rest @ ..] = arguments else { bail!("arguments are missing") };
        let Some(path) = self.at(directory, name)? else { return Ok(()) };
        let has = |flag: &str| flags.split('|').any(|found| found == flag);
        ensure!(!has("O_TMPFILE") && !has("O_APPEND"), "the model has no {flags}");
        self.positions.insert((descriptor(result), path.clone()), 0);
        let (create, truncate) = (has("O_CREAT"), has("O_TRUNC"));
        if create || truncate {
            let mode = rest.first().map_or(Ok(0), |text| mode(text))? & !UMASK;
            self.operations.push(Operation::Open { path, mode, create, truncate });
        }
        Ok(())
    }

    /// Calls with one path or two, each perhaps after the descriptor of a directory.
    fn by_path(&mut self, call: &str, arguments: &[&str]) -> Result<()> {
        let path = |number: usize| -> Result<Option<PathBuf>> {
            let argument = |number: usize| arguments.get(number).copied().context("an argument is missing");
            if call.ends_with("at") || call.ends_with("at2") {
                self.at(argument(number)?, argument(number + 1)?)
            } else {
                self.at("AT_FDCWD", argument(number)?)
            }
        };
        let last = arguments.last().copied().unwrap_or_default();
        let Some(first) = path(usize::from(call.starts_with("symlink")))? else { return Ok(()) };
        let operation = match call {
            "mkdir" | "mkdirat" => Operation::MakeDirectory { path: first, mode: mode(last)? & !UMASK },
            "chmod" => Operation::SetMode { path: first, mode: mode(last)? },
            "fchmodat" | "fchmodat2" => {
                let text = arguments.get(2).copied().unwrap_or_default();
                Operation::SetMode { path: first, mode: mode(text)? }
            }
            "symlink" | "symlinkat" => {
                let target = arguments.first().copied().unwrap_or_default();
                Operation::Link { target: String::from_utf8(text(target)?)?.into(), path: first }
            }
            "unlink" | "unlinkat" | "rmdir" => Operation::Remove { path: first },
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
                let to =
                    path(if call.contains("at") { 2 } else { 1 })?.context("leads out of the directory")?;
                if call.starts_with("link") {
                    Operation::HardLink { from: first, to }
                } else {
                    Operation::Rename { from: first, to, exchange: last.contains("RENAME_EXCHANGE") }
                }
            }
            other => bail!("the model has no {other}"),
        };
        self.operations.push(operation);
        Ok(())
    }

    /// `3</path>`; `None` for what is elsewhere, or has no name any more: `3</path>(deleted)`.
    fn of_descriptor(&self, argument: &str) -> Result<Option<PathBuf>> {
        let path = argument.split_once('<').and_then(|(_, path)| path.strip_suffix('>'));
        let Some(path) = path else { return Ok(None) };
        let path = String::from_utf8(unescape(path)?)?;
        Ok(self.below(Path::new(&path)))
    }

    fn at(&self, directory: &str, name: &str) -> Result<Option<PathBuf>> {
        let name = PathBuf::from(String::from_utf8(text(name)?)?);
        if name.is_absolute() {
            return Ok(self.below(&name));
        }
        Ok(self.of_descriptor(directory)?.map(|directory| directory.join(name)))
    }

    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }
}

fn descriptor(argument: &str) -> String {
    argument.split('<').next().unwrap_or_default().to_owned()
}

fn mode(octal: &str) -> Result<u32> {
    u32::from_str_radix(octal, 8).with_context(|| format!("{octal:?} is no mode"))
}

/// `"\x2f…"`, whole.
fn text(argument: &str) -> Result<Vec<u8>> {
    let inner = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    unescape(inner.with_context(|| format!("{} is no whole text", shown(argument)))?)
}

fn unescape(escaped: &str) -> Result<Vec<u8>> {
    let bytes = escaped.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16));
    bytes.collect::<Result<_, _>>().with_context(|| format!("{} is not hexadecimal", shown(escaped)))
}
