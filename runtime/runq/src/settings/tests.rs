//! Who overrides whom, what is refused, and in which words.

use super::*;
use runq_contract::vm_config::Accel;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with(args: &[(&str, &str)], env: &[&'static str]) -> Result<Settings, String> {
    let sources = Sources { args: pairs(args), env: env.to_vec(), ..Sources::default() };
    Settings::resolve(&sources).map_err(|error| error.to_string())
}

#[test]
fn each_source_overrides_the_one_below() {
    let mut sources = Sources::default();
    let memory = |sources: &Sources<'_>| Settings::resolve(sources).unwrap().hardware.memory_mib;
    assert_eq!(memory(&sources), 256);
    sources.file = pairs(&[("mem", "101")]);
    assert_eq!(memory(&sources), 101);
    sources.args = pairs(&[("mem", "102")]);
    assert_eq!(memory(&sources), 102);
    sources.limits.memory_mib = Some(110);
    assert_eq!(memory(&sources), 110);
    sources.annotations = vec![("io.runq.mem", "104"), ("other.mem", "x")];
    assert_eq!(memory(&sources), 104);
    sources.env = vec!["PATH=/bin", "RUNQ_MEM=105", "RUNQ_MEMORY=x"];
    assert_eq!(memory(&sources), 105);
}

#[test]
fn names_the_setting_the_value_and_what_is_allowed() {
    assert_eq!(
        with(&[], &["RUNQ_MEM=12x"]).unwrap_err(),
        "RUNQ_MEM=12x: expected MiB, a whole number from 96 to 1048576"
    );
    assert_eq!(with(&[("accel", "auto")], &[]).unwrap_err(), "--accel=auto: expected kvm or tcg");
    assert!(with(&[], &["RUNQ_CPU=1\n2"]).unwrap_err().starts_with("RUNQ_CPU=1\\n2: "));
    let file = Sources { file: pairs(&[("cpu", "0")]), ..Sources::default() };
    let error = Settings::resolve(&file).unwrap_err().to_string();
    assert_eq!(error, "config.toml: cpu=0: expected a whole number of vCPUs from 1 to 64");
    let typo = Sources { annotations: vec![("io.runq.cpus", "2")], ..Sources::default() };
    assert!(Settings::resolve(&typo).unwrap_err().to_string().contains("io.runq.cpus is no setting"));
}

#[test]
fn refuses_everything_out_of_bounds() {
    for variable in [
        "RUNQ_CPU=0",
        "RUNQ_CPU=65",
        "RUNQ_CPU=-1",
        "RUNQ_CPU=",
        "RUNQ_CPU=1.5",
        "RUNQ_MEM=79",
        "RUNQ_MEM=1048577",
        "RUNQ_DNS=example.org",
        "RUNQ_DNS=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4",
        "RUNQ_DNS=1.1.1.1\nx",
        "RUNQ_DNS_OPT=a b",
        "RUNQ_DNS_SEARCH=a;b",
    ] {
        assert!(with(&[], &[variable]).is_err(), "{variable}");
    }
    for path in ["tmp", "/", "/a/../b", "/a\nb", ""] {
        assert!(with(&[("tmpfs", path)], &[]).is_err(), "{path}");
    }
    for word in ["cpu", "nosuch", "max-mem"] {
        assert!(with(&[("allow", word)], &[]).is_err(), "{word}");
    }
}

#[test]
fn an_ap_device_is_a_uuid_and_nothing_else() {
    let allowed = |value| {
        with(&[("allow", "apuuid"), ("apuuid", value)], &[]).map(|settings| settings.hardware.ap_uuid)
    };
    let upper = "4B0518FD-9237-493F-93C8-C5597F8006A3";
    let lower = "4b0518fd-9237-493f-93c8-c5597f8006a3";
    assert_eq!(allowed(upper), Ok(Some(lower.to_owned())), "sysfs spells it in lower case");
    for wrong in [
        "",
        "4b0518fd9237493f93c8c5597f8006a3",
        "4b0518fd-9237-493f-93c8-c5597f8006a",
        "4b0518fd-9237-493f-93c8-c5597f8006ag",
        "4b0518fd-9237-493f-93c8-c5597f8006a3,x=y",
        "../../../../../../../etc-a-b-c-passwd",
    ] {
        let error = allowed(wrong).unwrap_err();
        assert!(
            error.starts_with(&format!("--apuuid={wrong}: expected the UUID of a mediated device")),
            "{error}"
        );
    }
    assert!(
        with(&[], &["RUNQ_APUUID=4b0518fd-9237-493f-93c8-c5597f8006a3"])
            .unwrap_err()
            .contains("--allow apuuid")
    );
}

#[test]
fn an_image_cannot_do_what_only_an_admin_may() {
    let error = with(&[("accel", "kvm")], &["RUNQ_ACCEL=tcg"]).unwrap_err();
    assert_eq!(
        error,
        "RUNQ_ACCEL: the image could have set this, so the admin decides: use --accel in runtimeArgs, or let \
         containers choose with --allow accel"
    );
    let allowed = with(&[("allow", "accel")], &["RUNQ_ACCEL=tcg"]).unwrap();
    assert_eq!(allowed.hardware.accel, Accel::Tcg);
    assert!(with(&[("allow", "accel")], &["RUNQ_ACCEL=KVM"]).is_err());
    for annotation in ["io.runq.accel", "io.runq.tmpfs", "io.runq.max-mem", "io.runq.allow"] {
        let sources = Sources { annotations: vec![(annotation, "1")], ..Sources::default() };
        let error = Settings::resolve(&sources).unwrap_err();
        assert!(matches!(error, SettingError::NotYours { .. }), "{annotation}: {error}");
    }
}

#[test]
fn the_admin_bounds_what_containers_ask_for_but_not_himself() {
    let bounds = [("max-cpu", "4"), ("max-mem", "512")];
    assert!(with(&bounds, &["RUNQ_CPU=4", "RUNQ_MEM=512"]).is_ok());
    let error = with(&bounds, &["RUNQ_CPU=5"]).unwrap_err();
    assert_eq!(error, "RUNQ_CPU=5: expected at most 4 vCPUs, as the admin has it (--max-cpu)");
    assert!(with(&bounds, &["RUNQ_MEM=513"]).unwrap_err().contains("--max-mem"));
    let own = [("max-cpu", "2"), ("cpu", "8")];
    assert_eq!(with(&own, &[]).unwrap().hardware.vcpus, 8);
}

#[test]
fn dockers_limits_size_the_vm() {
    let sized = |memory_mib, vcpus, args: &[(&str, &str)], env: &[&'static str]| {
        let limits = Limits { memory_mib, vcpus, pids: None };
        let sources = Sources { limits, args: pairs(args), env: env.to_vec(), ..Sources::default() };
        Settings::resolve(&sources).map(|settings| (settings.hardware.memory_mib, settings.hardware.vcpus))
    };
    let admin = [("mem", "300"), ("cpu", "3")];
    assert_eq!(sized(Some(512), Some(2), &admin, &[]), Ok((512, 2)));
    assert_eq!(sized(None, None, &admin, &[]), Ok((300, 3)));
    assert_eq!(sized(Some(1 << 40), Some(1000), &[], &[]), Ok((1_048_576, 64)));
    assert_eq!(sized(Some(512), Some(8), &[("max-mem", "400"), ("max-cpu", "4")], &[]), Ok((400, 4)));
    assert_eq!(sized(Some(512), Some(1), &[], &["RUNQ_MEM=128", "RUNQ_CPU=2"]), Ok((128, 2)));
    assert_eq!(sized(Some(32), None, &[], &[]), Err(SettingError::TooSmall { mib: 32 }));
    assert_eq!(
        sized(Some(512), None, &[], &["RUNQ_MEM=513"]),
        Err(SettingError::BeyondLimit { memory_mib: 513, mib: 512 })
    );
}

#[test]
fn takes_lists() {
    let args = [("dns", "8.8.8.8, 2001:db8::1"), ("tmpfs", "/tmp:size=8m"), ("tmpfs", "/x")];
    let settings = with(&args, &["RUNQ_DNS_OPT=ndots:2,rotate"]).unwrap();
    let dns = settings.dns.unwrap();
    assert_eq!((dns.servers.len(), dns.options), (2, vec!["ndots:2".to_owned(), "rotate".to_owned()]));
    assert_eq!(settings.tmpfs.len(), 2);
    assert_eq!(settings.tmpfs[0].1, ["nosuid", "nodev", "noexec", "size=8m"]);
}

#[test]
fn a_resolver_configuration_has_name_servers() {
    assert!(with(&[], &["RUNQ_DNS_SEARCH=example.org"]).unwrap_err().contains("--dns"));
    let admin = [("dns", "8.8.8.8"), ("dns-opts", "rotate")];
    assert_eq!(with(&admin, &["RUNQ_DNS="]).unwrap().dns, None);
}

#[test]
fn the_file_has_the_flags_as_keys() {
    let text = "cpu = 2\naccel = \"tcg\"\ndns = [\"8.8.8.8\", \"9.9.9.9\"]\ntmpfs = [\"/a:size=1m,mode=700\", \"/b\"]\n";
    let expected = [
        ("cpu", "2"),
        ("accel", "tcg"),
        ("dns", "8.8.8.8,9.9.9.9"),
        ("tmpfs", "/a:size=1m,mode=700"),
        ("tmpfs", "/b"),
    ];
    let mut found = parse_file(text).unwrap();
    found.sort();
    let mut expected = pairs(&expected);
    expected.sort();
    assert_eq!(found, expected);
    assert!(Settings::resolve(&Sources { file: found, ..Sources::default() }).is_ok());
}

#[test]
fn the_file_is_refused_with_what_is_wrong() {
    let error = |text: &str| parse_file(text).unwrap_err().to_string();
    assert!(error("cpus = 2").starts_with("cpus is no setting: expected one of cpu, mem,"));
    assert!(error("cpu = 1.5").contains("found float"));
    assert!(error("[vm]\ncpu = 1").starts_with("vm is no setting"));
    assert!(error("cpu = \n").contains("line 1"));
}

#[test]
fn names_are_unique_and_admins_words_have_no_variable() {
    let flags: std::collections::HashSet<_> = all().map(|row| row.flag).collect();
    assert_eq!(flags.len(), all().count());
    let variables: Vec<_> = all().flat_map(|row| row.variables).collect();
    assert_eq!(variables.iter().collect::<std::collections::HashSet<_>>().len(), variables.len());
    assert!(all().all(|row| row.who != Who::Admin || row.variables.is_empty()));
}
