//! The settings, a row for each: what it is called, who may decide it, what it may be. Pure; the command line, the
//! help, `config.toml`, annotations and variables all follow from this table, and README.md shows it.

use super::Settings;
use runq_contract::vm_config::Accel;
use std::net::IpAddr;

/// Who may decide a setting, besides the admin who has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The container: its user with `-e` or an annotation, and therefore its image with `ENV`, because Docker makes one
    /// environment of both. Nothing that reaches beyond the VM's own walls.
    Container,
    /// The container, too, when the admin names the flag in `--allow`.
    WhenAllowed,
    /// Nobody else.
    Admin,
}

/// One setting.
pub(crate) struct Row {
    /// `cpu` is `--cpu` in runtimeArgs, `cpu` in `config.toml` and the annotation `io.runq.cpu`.
    pub(crate) flag: &'static str,
    /// What the value is called in the help; empty for a switch, which is `true` when it has no value.
    pub(crate) value: &'static str,
    /// Whether each further one adds to those before; otherwise the last one counts.
    pub(crate) repeats: bool,
    /// Variables of the container.
    pub(crate) variables: &'static [&'static str],
    /// Who may decide it.
    pub(crate) who: Who,
    /// For the help, in half a line.
    pub(crate) help: &'static str,
    /// Completes "expected …".
    pub(crate) expected: &'static str,
    /// Validates the text and takes it over; `None` when it is not as expected.
    pub(crate) apply: fn(&mut Settings, &str) -> Option<()>,
}

impl Row {
    /// Whether the flag can stand alone.
    pub(crate) fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// Most vCPUs of a VM.
pub(crate) const MAX_VCPUS: u32 = 64;

/// Bounds of a VM's memory in MiB. With less than 80 a distribution's kernel does not come as far as `init`.
pub(crate) const MEMORY_MIB: (u32, u32) = (80, 1_048_576);

/// All settings, in the order of the help.
pub(crate) const TABLE: &[Row] = &[
    Row {
        flag: "cpu",
        value: "N",
        repeats: false,
        variables: &["RUNQ_CPU"],
        who: Who::Container,
        help: "vCPUs, 1 to 64 (default: docker's --cpus, else 1)",
        expected: "a whole number of vCPUs from 1 to 64",
        apply: |settings, value| {
            settings.hardware.vcpus = whole(value, 1, MAX_VCPUS)?;
            Some(())
        },
    },
    Row {
        flag: "mem",
        value: "MIB",
        repeats: false,
        variables: &["RUNQ_MEM"],
        who: Who::Container,
        help: "memory in MiB, 80 to 1048576 (default: docker's -m, else 256)",
        expected: "MiB, a whole number from 80 to 1048576",
        apply: |settings, value| {
            settings.hardware.memory_mib = whole(value, MEMORY_MIB.0, MEMORY_MIB.1)?;
            Some(())
        },
    },
    Row {
        flag: "max-cpu",
        value: "N",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "most vCPUs that a container may ask for (64)",
        expected: "a whole number of vCPUs from 1 to 64",
        apply: |settings, value| {
            settings.max_vcpus = whole(value, 1, MAX_VCPUS)?;
            Some(())
        },
    },
    Row {
        flag: "max-mem",
        value: "MIB",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "most MiB that a container may ask for (1048576)",
        expected: "MiB, a whole number from 80 to 1048576",
        apply: |settings, value| {
            settings.max_memory_mib = whole(value, MEMORY_MIB.0, MEMORY_MIB.1)?;
            Some(())
        },
    },
    Row {
        flag: "accel",
        value: "kvm|tcg",
        repeats: false,
        variables: &["RUNQ_ACCEL"],
        who: Who::WhenAllowed,
        help: "hardware virtualisation or emulation (kvm)",
        expected: "kvm or tcg",
        apply: |settings, value| {
            settings.hardware.accel = match value {
                "kvm" => Accel::Kvm,
                "tcg" => Accel::Tcg,
                _ => return None,
            };
            Some(())
        },
    },
    Row {
        flag: "dns",
        value: "IP,…",
        repeats: false,
        variables: &["RUNQ_DNS"],
        who: Who::Container,
        help: "name servers instead of Docker's",
        expected: "up to three IP addresses, separated by commas",
        apply: |settings, value| {
            let servers = words(value);
            let valid = servers.len() <= 3 && servers.iter().all(|server| server.parse::<IpAddr>().is_ok());
            // No servers: Docker's configuration is left alone, whatever the admin set.
            match servers.is_empty() {
                true => settings.dns = None,
                false => settings.dns.get_or_insert_default().servers = servers,
            }
            valid.then_some(())
        },
    },
    Row {
        flag: "dns-opts",
        value: "WORD,…",
        repeats: false,
        variables: &["RUNQ_DNS_OPT", "RUNQ_DNS_OPTS"],
        who: Who::Container,
        help: "resolver options, along with --dns",
        expected: RESOLVER_WORDS,
        apply: |settings, value| {
            settings.dns.get_or_insert_default().options = resolver_words(value)?;
            Some(())
        },
    },
    Row {
        flag: "dns-search",
        value: "NAME,…",
        repeats: false,
        variables: &["RUNQ_DNS_SEARCH"],
        who: Who::Container,
        help: "search domains, along with --dns",
        expected: RESOLVER_WORDS,
        apply: |settings, value| {
            settings.dns.get_or_insert_default().search = resolver_words(value)?;
            Some(())
        },
    },
    Row {
        flag: "tmpfs",
        value: "PATH[:OPTS]",
        repeats: true,
        variables: &[],
        who: Who::Admin,
        help: "a further tmpfs in every container; repeatable",
        expected: "an absolute path without '..', optionally with :options",
        apply: |settings, value| {
            settings.tmpfs.push(tmpfs(value)?);
            Some(())
        },
    },
    Row {
        flag: "allow",
        value: "FLAG,…",
        repeats: true,
        variables: &[],
        who: Who::Admin,
        help: "settings of the admin's that containers may decide, too",
        expected: "flags that containers may not decide anyway, without dashes, separated by commas",
        apply: |settings, value| {
            for word in words(value) {
                let row = find(&word).filter(|row| row.who == Who::WhenAllowed)?;
                settings.allowed.push(row.flag);
            }
            Some(())
        },
    },
];

/// The row of a flag, named without dashes.
pub(crate) fn find(flag: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.flag == flag)
}

/// The row of a variable.
pub(crate) fn find_variable(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.variables.contains(&name))
}

fn whole(value: &str, low: u32, high: u32) -> Option<u32> {
    value.parse().ok().filter(|number| (low..=high).contains(number))
}

fn words(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

const RESOLVER_WORDS: &str = "words of letters, digits, '.', ':', '_' and '-', separated by commas";

fn resolver_words(value: &str) -> Option<Vec<String>> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    Some(words(value)).filter(|words| words.iter().all(|word| word.bytes().all(is_valid)))
}

/// `PATH[:OPTION,…]` as docker's `--tmpfs`, with Docker's default options.
fn tmpfs(value: &str) -> Option<(String, Vec<String>)> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let clean = path.starts_with('/')
        && path.len() > 1
        && path.split('/').all(|part| part != "..")
        && !value.contains(char::is_control);
    let mut all: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).into();
    all.extend(words(options));
    clean.then(|| (path.to_owned(), all))
}
