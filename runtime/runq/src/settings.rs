//! What the user and the admin want of a VM, validated before anything is touched. The admin's `runtimeArgs` come
//! from daemon.json; the container's variables come from `docker run -e` or from the image, which is hostile: every
//! value is bounded.

use crate::cli::Setting;
use runq_contract::guest::Dns;
use runq_contract::vm_config::{Accel, Hardware};
use std::net::IpAddr;

/// What was decided: container's variable > `runtimeArgs` > default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Size and kind of the VM.
    pub(crate) hardware: Hardware,
    /// Resolver configuration that replaces Docker's.
    pub(crate) dns: Option<Dns>,
    /// Further tmpfs mounts: destination and options.
    pub(crate) tmpfs: Vec<(String, Vec<String>)>,
}

/// Settings that are not allowed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    /// A value.
    #[error("{name}={}: expected {expected}", value.escape_debug())]
    Value {
        /// Flag or variable.
        name: String,
        /// As given.
        value: String,
        /// What would be allowed.
        expected: &'static str,
    },
    /// A configuration that would leave the guest without name servers.
    #[error("resolver options and search domains need name servers: give them with --dns or RUNQ_DNS, too")]
    NoServers,
}

const DEFAULT_VCPUS: u32 = 1;
const DEFAULT_MEMORY_MIB: u32 = 256;

/// Variables of the container and the settings that they override. An image can set them as well as its user, which
/// is harmless for all but the accelerator: that will be the admin's to allow.
const VARIABLES: [(&str, Setting); 6] = [
    ("RUNQ_CPU", Setting::Cpu),
    ("RUNQ_MEM", Setting::Mem),
    ("RUNQ_ACCEL", Setting::Accel),
    ("RUNQ_DNS", Setting::Dns),
    ("RUNQ_DNS_OPT", Setting::DnsOpts),
    ("RUNQ_DNS_SEARCH", Setting::DnsSearch),
];

impl Settings {
    /// Combines both sources; `env` is the container's environment, `NAME=value`.
    pub(crate) fn resolve<'a>(
        args: &[(Setting, String)],
        env: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, SettingError> {
        let mut settings = Self {
            hardware: Hardware { vcpus: DEFAULT_VCPUS, memory_mib: DEFAULT_MEMORY_MIB, accel: Accel::Kvm },
            dns: None,
            tmpfs: Vec::new(),
        };
        for (setting, value) in args {
            settings.apply(*setting, flag_name(*setting), value)?;
        }
        for variable in env {
            let Some((name, value)) = variable.split_once('=') else { continue };
            if let Some((_, setting)) = VARIABLES.iter().find(|(known, _)| *known == name) {
                settings.apply(*setting, name, value)?;
            }
        }
        if settings.dns.as_ref().is_some_and(|dns| dns.servers.is_empty()) {
            return Err(SettingError::NoServers);
        }
        Ok(settings)
    }

    fn apply(&mut self, setting: Setting, name: &str, value: &str) -> Result<(), SettingError> {
        let error =
            |expected| SettingError::Value { name: name.to_owned(), value: value.to_owned(), expected };
        let whole = |low: u32, high: u32| value.parse().ok().filter(|number| (low..=high).contains(number));
        match setting {
            Setting::Cpu => {
                self.hardware.vcpus =
                    whole(1, 64).ok_or_else(|| error("a whole number of vCPUs from 1 to 64"))?;
            }
            Setting::Mem => {
                self.hardware.memory_mib =
                    whole(64, 1_048_576).ok_or_else(|| error("MiB, a whole number from 64 to 1048576"))?;
            }
            Setting::Accel => {
                self.hardware.accel = match value {
                    "kvm" => Accel::Kvm,
                    "tcg" => Accel::Tcg,
                    _ => return Err(error("kvm or tcg")),
                };
            }
            Setting::Dns => {
                let servers = words(value);
                let valid =
                    servers.len() <= 3 && servers.iter().all(|server| server.parse::<IpAddr>().is_ok());
                if !valid {
                    return Err(error("up to three IP addresses, separated by commas"));
                }
                // No servers: Docker's configuration is left alone, whatever the admin set.
                if servers.is_empty() {
                    self.dns = None;
                } else {
                    self.dns.get_or_insert_default().servers = servers;
                }
            }
            Setting::DnsOpts | Setting::DnsSearch => {
                let found = words(value);
                if !found.iter().all(|word| is_resolver_word(word)) {
                    return Err(error(
                        "words of letters, digits, '.', ':', '_' and '-', separated by commas",
                    ));
                }
                let dns = self.dns.get_or_insert_default();
                *(if setting == Setting::DnsOpts { &mut dns.options } else { &mut dns.search }) = found;
            }
            Setting::Tmpfs => self.tmpfs.push(
                tmpfs(value)
                    .ok_or_else(|| error("an absolute path without '..', optionally with :options"))?,
            ),
        }
        Ok(())
    }
}

fn flag_name(setting: Setting) -> &'static str {
    match setting {
        Setting::Cpu => "--cpu",
        Setting::Mem => "--mem",
        Setting::Accel => "--accel",
        Setting::Dns => "--dns",
        Setting::DnsOpts => "--dns-opts",
        Setting::DnsSearch => "--dns-search",
        Setting::Tmpfs => "--tmpfs",
    }
}

fn words(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn is_resolver_word(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(args: &[(Setting, &str)], env: &[&str]) -> Result<Settings, String> {
        let args: Vec<_> = args.iter().map(|(setting, value)| (*setting, (*value).to_owned())).collect();
        Settings::resolve(&args, env.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_container_overrides_the_admin_who_overrides_the_default() {
        let settings =
            resolve(&[(Setting::Cpu, "2"), (Setting::Mem, "128")], &["RUNQ_MEM=512", "PATH=/bin"]).unwrap();
        assert_eq!(settings.hardware, Hardware { vcpus: 2, memory_mib: 512, accel: Accel::Kvm });
    }

    #[test]
    fn names_the_variable_the_value_and_what_is_allowed() {
        assert_eq!(
            resolve(&[], &["RUNQ_MEM=12x"]).unwrap_err(),
            "RUNQ_MEM=12x: expected MiB, a whole number from 64 to 1048576"
        );
        assert_eq!(
            resolve(&[(Setting::Accel, "auto")], &[]).unwrap_err(),
            "--accel=auto: expected kvm or tcg"
        );
        assert!(resolve(&[], &["RUNQ_CPU=1\n2"]).unwrap_err().starts_with("RUNQ_CPU=1\\n2: "));
    }

    #[test]
    fn refuses_everything_out_of_bounds() {
        for variable in [
            "RUNQ_CPU=0",
            "RUNQ_CPU=65",
            "RUNQ_CPU=-1",
            "RUNQ_CPU=",
            "RUNQ_CPU=1.5",
            "RUNQ_MEM=63",
            "RUNQ_MEM=1048577",
            "RUNQ_ACCEL=KVM",
            "RUNQ_DNS=example.org",
            "RUNQ_DNS=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4",
            "RUNQ_DNS=1.1.1.1\nx",
            "RUNQ_DNS_OPT=a b",
            "RUNQ_DNS_SEARCH=a;b",
        ] {
            assert!(resolve(&[], &[variable]).is_err(), "{variable}");
        }
        for path in ["tmp", "/", "/a/../b", "/a\nb", ""] {
            assert!(resolve(&[(Setting::Tmpfs, path)], &[]).is_err(), "{path}");
        }
    }

    #[test]
    fn takes_lists() {
        let settings = resolve(
            &[
                (Setting::Dns, "8.8.8.8, 2001:db8::1"),
                (Setting::Tmpfs, "/tmp:size=8m"),
                (Setting::Tmpfs, "/x"),
            ],
            &["RUNQ_DNS_OPT=ndots:2,rotate"],
        )
        .unwrap();
        let dns = settings.dns.unwrap();
        assert_eq!((dns.servers.len(), dns.options), (2, vec!["ndots:2".to_owned(), "rotate".to_owned()]));
        assert_eq!(settings.tmpfs.len(), 2);
        assert_eq!(settings.tmpfs[0].1, ["nosuid", "nodev", "noexec", "size=8m"]);
    }

    #[test]
    fn a_resolver_configuration_has_name_servers() {
        assert!(resolve(&[], &["RUNQ_DNS_SEARCH=example.org"]).unwrap_err().contains("--dns"));
        let admin = [(Setting::Dns, "8.8.8.8"), (Setting::DnsOpts, "rotate")];
        assert_eq!(resolve(&admin, &["RUNQ_DNS="]).unwrap().dns, None);
    }
}
