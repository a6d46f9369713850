//! The command line: the admin's `runtimeArgs`, then runc's own global flags, then a command with its arguments.
//! Runs on the host; the caller is containerd's shim. Only what `runq` needs is looked at, everything else goes on to
//! runc byte for byte, flags that it learns in the future included.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A setting that the admin gives in `runtimeArgs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `--cpu`
    Cpu,
    /// `--mem`
    Mem,
    /// `--accel`
    Accel,
    /// `--dns`
    Dns,
    /// `--dns-opts`
    DnsOpts,
    /// `--dns-search`
    DnsSearch,
    /// `--tmpfs`
    Tmpfs,
}

/// Our flags, all of which take a value.
const SETTINGS: [(&str, Setting); 7] = [
    ("cpu", Setting::Cpu),
    ("mem", Setting::Mem),
    ("accel", Setting::Accel),
    ("dns", Setting::Dns),
    ("dns-opts", Setting::DnsOpts),
    ("dns-search", Setting::DnsSearch),
    ("tmpfs", Setting::Tmpfs),
];

/// runc's global flags that take a value, as far as they are known. An unknown flag is taken for one without.
const RUNC_FLAGS_WITH_VALUE: [&str; 5] = ["root", "log", "log-format", "criu", "rootless"];

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// Our settings in the order given; a later one wins, but for those that add up.
    pub(crate) settings: Vec<(Setting, String)>,
    /// Everything for runc: its global flags, the command, the arguments.
    pub(crate) runc_args: Vec<OsString>,
    /// runc's command; `None` when there are only flags.
    pub(crate) command: Option<String>,
    /// The arguments behind the command.
    pub(crate) command_args: Vec<OsString>,
    /// Where errors are logged for the caller.
    pub(crate) log: Option<PathBuf>,
    /// Whether the log is JSON, one object a line.
    pub(crate) log_is_json: bool,
    /// `--help`
    pub(crate) help: bool,
    /// `--version`
    pub(crate) version: bool,
    /// `--build-id`
    pub(crate) build_id: bool,
}

/// A flag of ours that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CliError {
    #[error("--{flag} needs a value")]
    MissingValue { flag: String },
    #[error("--{flag} has a value that is not UTF-8")]
    NotUtf8 { flag: String },
}

impl CommandLine {
    /// Takes the arguments apart, without the program's name.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        let mut line = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some((name, inline)) = flag(&arg) else {
                line.command = Some(arg.to_string_lossy().into_owned());
                line.runc_args.push(arg);
                line.command_args = args.collect();
                line.runc_args.extend(line.command_args.iter().cloned());
                break;
            };
            if let Some((_, setting)) = SETTINGS.iter().find(|(known, _)| *known == name) {
                let value = match inline {
                    Some(value) => value,
                    None => args.next().ok_or_else(|| CliError::MissingValue { flag: name.clone() })?,
                };
                let value = value.into_string().map_err(|_value| CliError::NotUtf8 { flag: name });
                line.settings.push((*setting, value?));
                continue;
            }
            line.runc_flag(&name, inline, arg, &mut args);
        }
        Ok(line)
    }

    /// Notes what `runq` itself needs of a global flag of runc, and passes it on.
    fn runc_flag(
        &mut self,
        name: &str,
        inline: Option<OsString>,
        arg: OsString,
        rest: &mut impl Iterator<Item = OsString>,
    ) {
        match name {
            "help" | "h" => self.help = true,
            "version" | "v" => self.version = true,
            "build-id" => self.build_id = true,
            _ => {}
        }
        let has_inline_value = inline.is_some();
        self.runc_args.push(arg);
        let mut value = inline;
        if !has_inline_value && RUNC_FLAGS_WITH_VALUE.contains(&name) {
            value = rest.next();
            self.runc_args.extend(value.clone());
        }
        match (name, value) {
            ("log", Some(value)) => self.log = Some(PathBuf::from(value)),
            ("log-format", Some(value)) => self.log_is_json = value == "json",
            _ => {}
        }
    }

    /// The OCI bundle of `create` and `run`: runc's `--bundle`, by default the current directory.
    pub(crate) fn bundle(&self) -> PathBuf {
        let mut args = self.command_args.iter();
        while let Some(arg) = args.next() {
            if let Some((name, inline)) = flag(arg)
                && matches!(name.as_str(), "bundle" | "b")
            {
                return inline
                    .or_else(|| args.next().cloned())
                    .map_or_else(|| PathBuf::from("."), PathBuf::from);
            }
        }
        PathBuf::from(".")
    }

    /// The container's id, which comes last.
    pub(crate) fn container_id(&self) -> String {
        self.command_args.last().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default()
    }
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
            [
                (Setting::Cpu, "2".to_owned()),
                (Setting::Mem, "512".to_owned()),
                (Setting::Accel, "tcg".to_owned())
            ]
        );
        assert_eq!(line.command.as_deref(), Some("create"));
        assert_eq!(line.bundle(), PathBuf::from("/b"));
        assert_eq!(line.container_id(), "abc");
        assert_eq!((line.log.unwrap(), line.log_is_json), (PathBuf::from("/b/log.json"), true));
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
    fn our_names_behind_the_command_are_runcs() {
        assert!(parse("update --cpu 3 abc").settings.is_empty());
    }

    #[test]
    fn a_setting_without_a_value_is_refused() {
        let error = CommandLine::parse([OsString::from("--mem")]).unwrap_err();
        assert_eq!(error.to_string(), "--mem needs a value");
    }
}
