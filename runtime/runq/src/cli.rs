//! The command line: the admin's `runtimeArgs`, then runc's own global flags, then a command with its arguments.
//! Runs on the host; the caller is containerd's shim. Only what `runq` needs is looked at, everything else goes on to
//! runc byte for byte, flags that it learns in the future included.

use crate::log::Log;
use crate::settings;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// runc's global flags that take a value.
const RUNC_FLAGS_WITH_VALUE: [&str; 5] = ["root", "log", "log-format", "criu", "rootless"];

/// runc's global flags that take none. One that is in neither list is taken for such a flag.
const RUNC_FLAGS: [&str; 2] = ["debug", "systemd-cgroup"];

/// Flags of `create` and `run` that take a value, which may look like a flag.
const CREATE_FLAGS_WITH_VALUE: [&str; 6] =
    ["bundle", "b", "console-socket", "pid-file", "pidfd-socket", "preserve-fds"];

/// Commands that runc must not get as they are.
const OURS: [&str; 4] = ["create", "run", "exec", "update"];

/// The host's own runtime, found through `PATH`.
const RUNC: &str = "runc";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// Our settings in the order given, by flag; a later one wins, but for those that add up.
    pub(crate) settings: Vec<(String, String)>,
    /// The file of settings: `--config`.
    pub(crate) config: Option<PathBuf>,
    /// The runc to use, or what behaves like it: `--runc`.
    pub(crate) runc: PathBuf,
    /// Everything for runc: its global flags, the command, the arguments.
    pub(crate) runc_args: Vec<OsString>,
    /// runc's command; `None` when there are only flags.
    pub(crate) command: Option<String>,
    /// The arguments behind the command.
    command_args: Vec<OsString>,
    /// Where errors are logged for the caller.
    pub(crate) log: Log,
    /// `--help`
    pub(crate) help: bool,
    /// `--version`
    pub(crate) version: bool,
    /// `--build-id`
    pub(crate) build_id: bool,
}

/// A flag that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CliError {
    #[error("--{flag} needs a value")]
    MissingValue { flag: String },
    #[error("--{flag} has a value that is not UTF-8")]
    NotUtf8 { flag: String },
    #[error(
        "--{flag} is unknown, and {word:?} may be its value or the command: write --{flag}=VALUE if it has one"
    )]
    Ambiguous { flag: String, word: String },
}

impl CommandLine {
    /// Takes the arguments apart, without the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        let mut line = Self {
            settings: Vec::new(),
            config: None,
            runc: PathBuf::from(RUNC),
            runc_args: Vec::new(),
            command: None,
            command_args: Vec::new(),
            log: Log::default(),
            help: false,
            version: false,
            build_id: false,
        };
        let mut args = args.into_iter();
        let mut unknown = None;
        while let Some(arg) = args.next() {
            let Some((name, inline)) = flag(&arg) else {
                line.take_command(arg, args);
                return line.unambiguous(unknown);
            };
            unknown = None;
            let takes_value = RUNC_FLAGS_WITH_VALUE.contains(&name.as_str());
            if let Some(row) = settings::find(&name) {
                let on = row.is_switch().then(|| OsString::from("true"));
                let value = value_of(&name, inline.or(on), &mut args)?.into_string();
                let value = value.map_err(|_value| CliError::NotUtf8 { flag: name.clone() })?;
                line.settings.push((name, value));
            } else if name == "runc" {
                line.runc = value_of(&name, inline, &mut args)?.into();
            } else if name == "config" {
                line.config = Some(value_of(&name, inline, &mut args)?.into());
            } else if takes_value {
                line.runc_args.push(arg);
                let is_inline = inline.is_some();
                let value = value_of(&name, inline, &mut args)?;
                line.runc_args.extend((!is_inline).then(|| value.clone()));
                line.note_value(&name, value);
            } else {
                line.runc_args.push(arg);
                let is_known = line.note(&name) || RUNC_FLAGS.contains(&name.as_str());
                unknown = (!is_known && inline.is_none()).then_some(name);
            }
        }
        Ok(line)
    }

    /// The first word that is no flag, and all behind it. `--` ends the flags.
    fn take_command(&mut self, word: OsString, mut rest: impl Iterator<Item = OsString>) {
        let command = if word == "--" { rest.next() } else { Some(word.clone()) };
        if word == "--" {
            self.runc_args.push(word);
        }
        self.command = command.as_ref().map(|word| word.to_string_lossy().into_owned());
        self.command_args = rest.collect();
        self.runc_args.extend(command.into_iter().chain(self.command_args.iter().cloned()));
    }

    /// Refuses a line of which a command of ours would reach runc if the unknown flag has a value.
    fn unambiguous(self, unknown: Option<String>) -> Result<Self, CliError> {
        let hides_ours = self.command_args.iter().any(|word| OURS.iter().any(|ours| word == ours));
        match (unknown, &self.command) {
            (Some(flag), Some(word)) if hides_ours => Err(CliError::Ambiguous { flag, word: word.clone() }),
            _ => Ok(self),
        }
    }

    /// Notes a flag that asks for something of ours; false for another.
    fn note(&mut self, name: &str) -> bool {
        let asked = match name {
            "help" | "h" => &mut self.help,
            "version" | "v" => &mut self.version,
            "build-id" => &mut self.build_id,
            _ => return false,
        };
        *asked = true;
        true
    }

    /// Notes a value of runc's that concerns us, too.
    fn note_value(&mut self, name: &str, value: OsString) {
        match name {
            "log" => self.log.path = Some(value.into()),
            "log-format" => self.log.is_json = value == "json",
            _ => {}
        }
    }

    /// The OCI bundle of `create` and `run`: runc's last `--bundle`, by default the current directory.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.command_flag(&["bundle", "b"]).map_or_else(|| PathBuf::from("."), PathBuf::from)
    }

    /// The last value of a flag of the command's, which has one of these names.
    pub(crate) fn command_flag(&self, names: &[&str]) -> Option<OsString> {
        let mut found = None;
        let mut args = self.command_args.iter();
        while let Some(arg) = args.next() {
            let Some((name, inline)) = flag(arg) else { continue };
            let is_wanted = names.contains(&name.as_str());
            if !is_wanted && !CREATE_FLAGS_WITH_VALUE.contains(&name.as_str()) {
                continue;
            }
            let value = inline.or_else(|| args.next().cloned());
            if is_wanted {
                found = value.or(found);
            }
        }
        found
    }

    /// runc's global flags.
    pub(crate) fn global_args(&self) -> &[OsString] {
        let behind = self.command_args.len() + usize::from(self.command.is_some());
        &self.runc_args[..self.runc_args.len() - behind]
    }

    /// The container's id, which comes last.
    pub(crate) fn container_id(&self) -> String {
        self.command_args.last().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether the command is to explain itself.
    pub(crate) fn asks_for_help(&self) -> bool {
        self.command_args.iter().any(|arg| arg == "--help" || arg == "-h")
    }
}

/// The value in the flag itself or in the next word.
fn value_of(
    name: &str,
    inline: Option<OsString>,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, CliError> {
    inline.or_else(|| rest.next()).ok_or_else(|| CliError::MissingValue { flag: name.to_owned() })
}

/// Name and inline value of `--name=value`, `--name` or, as Go's flags have it, `-name`; `None` for anything else.
fn flag(arg: &OsStr) -> Option<(String, Option<OsString>)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = arg.as_bytes();
    let bytes =
        bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")).filter(|name| !name.is_empty())?;
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
        None => (bytes, None),
    };
    Some((String::from_utf8_lossy(name).into_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CommandLine {
        CommandLine::parse(text.split(' ').map(OsString::from)).unwrap()
    }

    #[test]
    fn separates_our_settings_from_what_is_runcs() {
        let line = parse(
            "--cpu 2 --mem=512 -accel tcg --root /run/r --log /b/log.json --log-format json --systemd-cgroup \
             create --bundle /b --pid-file /b/pid abc",
        );
        assert_eq!(
            line.settings,
            [("cpu", "2"), ("mem", "512"), ("accel", "tcg")]
                .map(|(flag, value)| (flag.to_owned(), value.to_owned()))
        );
        assert_eq!(line.command.as_deref(), Some("create"));
        assert_eq!(line.bundle(), PathBuf::from("/b"));
        assert_eq!(line.container_id(), "abc");
        assert_eq!(line.log, Log { path: Some(PathBuf::from("/b/log.json")), is_json: true });
        let passed = "--root /run/r --log /b/log.json --log-format json --systemd-cgroup create --bundle /b \
                      --pid-file /b/pid abc";
        assert_eq!(line.runc_args.join(OsStr::new(" ")), OsStr::new(passed));
    }

    #[test]
    fn a_value_named_like_a_command_is_not_the_command() {
        let line = parse("--root create --debug state create");
        assert_eq!(line.command.as_deref(), Some("state"));
        assert_eq!(line.runc_args.len(), 5);
    }

    #[test]
    fn two_dashes_end_the_flags_and_do_not_hide_the_command() {
        let line = parse("--debug -- create --bundle /b abc");
        assert_eq!((line.command.as_deref(), line.bundle()), (Some("create"), PathBuf::from("/b")));
        assert_eq!(line.runc_args.len(), 6);
    }

    #[test]
    fn an_unknown_flag_cannot_hide_the_command() {
        let parse = |text: &str| CommandLine::parse(text.split(' ').map(OsString::from));
        for text in ["--cpus 2 create abc", "-future x --root /r exec abc", "--future create run"] {
            assert!(matches!(parse(text), Err(CliError::Ambiguous { .. })), "{text}");
        }
        for text in ["--future create abc", "--future=2 create abc", "--future state abc"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_bundle_is_not_the_value_of_another_flag() {
        assert_eq!(parse("create --pid-file -b -b=/one --bundle /two abc").bundle(), PathBuf::from("/two"));
        assert_eq!(parse("run abc").bundle(), PathBuf::from("."));
    }

    #[test]
    fn our_names_behind_the_command_are_runcs() {
        assert!(parse("update --cpu 3 abc").settings.is_empty());
    }

    #[test]
    fn a_setting_without_a_value_is_refused() {
        let error = CommandLine::parse([OsString::from("--mem")]).unwrap_err();
        assert_eq!(error.to_string(), "--mem needs a value");
    }
}
