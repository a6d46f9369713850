//! Settings of the container in the VM. Pure.

use super::{RESOLVER_WORDS, Row, SWITCH, Who, find, is_plain_path, resolver_words, switch, tmpfs, words};
use std::net::IpAddr;

pub(super) const ROWS: &[Row] = &[
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
        flag: "dns-preserve",
        value: "",
        repeats: false,
        variables: &["RUNQ_DNS_PRESERVE"],
        who: Who::Container,
        help: "keep Docker's resolver configuration, whatever --dns says",
        expected: SWITCH,
        apply: |settings, value| {
            settings.dns_preserve = switch(value)?;
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
        flag: "rootdisk",
        value: "ID",
        repeats: false,
        variables: &["RUNQ_ROOTDISK"],
        who: Who::Container,
        help: "the disk that becomes the container's root",
        expected: "the id of an attached disk",
        apply: |settings, value| {
            settings.root_disk = (!value.is_empty()).then(|| value.to_owned());
            Some(())
        },
    },
    Row {
        flag: "rootdisk-exclude",
        value: "PATH,…",
        repeats: false,
        variables: &["RUNQ_ROOTDISK_EXCLUDE"],
        who: Who::Container,
        help: "paths of the image that are not copied onto it",
        expected: "absolute paths without '..', separated by commas",
        apply: |settings, value| {
            let paths = words(value);
            let valid = paths.iter().all(|path| is_plain_path(path));
            settings.root_disk_exclude = paths;
            valid.then_some(())
        },
    },
    Row {
        flag: "sigusr",
        value: "",
        repeats: false,
        variables: &[],
        who: Who::Admin,
        help: "SIGUSR1 and SIGUSR2 run /.runq/SIGUSR1 and /.runq/SIGUSR2",
        expected: SWITCH,
        apply: |settings, value| {
            settings.sigusr = switch(value)?;
            Some(())
        },
    },
    Row {
        flag: "noexec",
        value: "",
        repeats: false,
        variables: &["RUNQ_NOEXEC"],
        who: Who::Container,
        help: "refuse docker exec, for good",
        expected: SWITCH,
        apply: |settings, value| {
            settings.noexec |= switch(value)?;
            Some(())
        },
    },
    Row {
        flag: "runqenv",
        value: "",
        repeats: false,
        variables: &["RUNQ_RUNQENV"],
        who: Who::Container,
        help: "write the environment to /.runqenv in the container",
        expected: SWITCH,
        apply: |settings, value| {
            settings.runqenv = switch(value)?;
            Some(())
        },
    },
    Row {
        flag: "systemd",
        value: "",
        repeats: false,
        variables: &["RUNQ_SYSTEMD"],
        who: Who::Container,
        help: "give systemd what it needs as the entrypoint",
        expected: SWITCH,
        apply: |settings, value| {
            settings.systemd = switch(value)?;
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
