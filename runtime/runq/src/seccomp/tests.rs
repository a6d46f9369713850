//! Compiled filters, asked about system calls by a machine for classic BPF, for guests of both byte orders.

use super::*;
use serde_json::json;

const X86: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
const Z: [&str; 2] = ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"];
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_X86: u32 = 0x4000_0003;
const AUDIT_S390X: u32 = 0x8000_0016;

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;

fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}

fn compile_for(guest: &[&str], profile: Value) -> Result<Seccomp, String> {
    let guest: Vec<String> = guest.iter().map(|arch| (*arch).to_owned()).collect();
    let compiled = compile(&json!({"linux": {"seccomp": profile}}), &guest);
    compiled.map(|filter| filter.unwrap()).map_err(|error| error.to_string())
}

/// What the kernel would get for a call (`SECCOMP_RET_…`). Knows the instructions that libseccomp and we use.
fn ask(filter: &Seccomp, arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let is_big_endian = arch == AUDIT_S390X;
    let load = |offset: u32| match offset {
        0 => number,
        4 => arch,
        _ => {
            let word = args[((offset - 16) / 8) as usize];
            let is_high = offset.is_multiple_of(8) == is_big_endian;
            u32::try_from(if is_high { word >> 32 } else { word & 0xffff_ffff }).unwrap()
        }
    };
    let (mut at, mut a) = (0, 0);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = filter.instructions[at];
        let jump = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
        at += 1;
        match code {
            0x20 => a = load(operand),
            0x54 => a &= operand,
            0x05 => at += operand as usize,
            0x15 => at += jump(a == operand),
            0x25 => at += jump(a > operand),
            0x35 => at += jump(a >= operand),
            0x06 => return operand,
            unknown => panic!("instruction {unknown:#x}"),
        }
    }
}

fn number(name: &str, arch: ScmpArch) -> u32 {
    u32::try_from(ScmpSyscall::from_name_by_arch(name, arch).unwrap().as_raw_syscall()).unwrap()
}

#[test]
fn every_action_and_error_number() {
    let rule = |name: &str, action: &str| json!({"names": [name], "action": action});
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 77,
        "syscalls": [
            rule("read", "SCMP_ACT_ALLOW"), rule("getpid", "SCMP_ACT_KILL"), rule("getuid", "SCMP_ACT_KILL_PROCESS"),
            rule("getgid", "SCMP_ACT_TRAP"), rule("uname", "SCMP_ACT_LOG"), rule("chdir", "SCMP_ACT_KILL_THREAD"),
            {"names": ["sync"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["mkdir", "rmdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30},
            {"names": ["gettid"], "action": "SCMP_ACT_TRACE", "errnoRet": 9},
        ],
    });
    for (guest, arch, audit) in
        [(&X86[..], ScmpArch::X8664, AUDIT_X86_64), (&Z[..], ScmpArch::S390X, AUDIT_S390X)]
    {
        let filter = compile_for(guest, profile.clone()).unwrap();
        for (name, expected) in [
            ("read", ALLOW),
            ("getpid", KILL_THREAD),
            ("chdir", KILL_THREAD),
            ("getuid", KILL_PROCESS),
            ("getgid", TRAP),
            ("uname", LOG),
            ("sync", errno(1)),
            ("mkdir", errno(30)),
            ("rmdir", errno(30)),
            ("gettid", 0x7ff0_0009),
            ("write", errno(77)),
        ] {
            assert_eq!(ask(&filter, audit, number(name, arch), [0; 6]), expected, "{name} on {arch:?}");
        }
    }
}

#[test]
fn conditions_on_arguments() {
    let low_high = |value: u64| (value, value << 32);
    for (operator, value, value_two, holding, failing) in [
        ("SCMP_CMP_EQ", 7, 0, vec![7], vec![6, 8, 7 << 32]),
        ("SCMP_CMP_NE", 7, 0, vec![6, 7 << 32], vec![7]),
        ("SCMP_CMP_LT", 7, 0, vec![0, 6], vec![7, 1 << 40]),
        ("SCMP_CMP_LE", 7, 0, vec![7], vec![8, u64::MAX]),
        ("SCMP_CMP_GT", 7, 0, vec![8, 1 << 63], vec![7, 0]),
        ("SCMP_CMP_GE", 0x2_0000_0000_u64, 0, vec![0x2_0000_0000, u64::MAX], vec![0x1_ffff_ffff]),
        ("SCMP_CMP_MASKED_EQ", 0x7e02_0000, 0, vec![0, low_high(1).1, 0x11], vec![0x1000_0000]),
        ("SCMP_CMP_MASKED_EQ", 0xff, 0x12, vec![0x12, 0xff12], vec![0x13]),
    ] {
        let condition = json!({"index": 1, "op": operator, "value": value, "valueTwo": value_two});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["dup2"], "action": "SCMP_ACT_ERRNO", "args": [condition]}]});
        for (guest, arch, audit) in
            [(&X86[..], ScmpArch::X8664, AUDIT_X86_64), (&Z[..], ScmpArch::S390X, AUDIT_S390X)]
        {
            let filter = compile_for(guest, profile.clone()).unwrap();
            let answer = |arg: u64| ask(&filter, audit, number("dup2", arch), [0, arg, 0, 0, 0, 0]);
            for arg in &holding {
                assert_eq!(answer(*arg), errno(1), "{operator} {value:#x} {arg:#x} on {arch:?}");
            }
            for arg in &failing {
                assert_eq!(answer(*arg), ALLOW, "{operator} {value:#x} {arg:#x} on {arch:?}");
            }
        }
    }
}

#[test]
fn conditions_on_two_arguments_must_both_hold_and_on_one_either() {
    let equal = |index: u32, value: u64| json!({"index": index, "op": "SCMP_CMP_EQ", "value": value});
    let filter = |args: Value| {
        let rule = json!({"names": ["dup2"], "action": "SCMP_ACT_ERRNO", "args": args});
        compile_for(&X86, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})).unwrap()
    };
    let dup2 = number("dup2", ScmpArch::X8664);
    let both = filter(json!([equal(0, 1), equal(1, 2)]));
    assert_eq!(ask(&both, AUDIT_X86_64, dup2, [1, 2, 0, 0, 0, 0]), errno(1));
    assert_eq!(ask(&both, AUDIT_X86_64, dup2, [1, 3, 0, 0, 0, 0]), ALLOW);
    let either = filter(json!([equal(0, 1), equal(0, 2)]));
    assert_eq!(ask(&either, AUDIT_X86_64, dup2, [1, 0, 0, 0, 0, 0]), errno(1));
    assert_eq!(ask(&either, AUDIT_X86_64, dup2, [2, 0, 0, 0, 0, 0]), errno(1));
    assert_eq!(ask(&either, AUDIT_X86_64, dup2, [3, 0, 0, 0, 0, 0]), ALLOW);
}

/// As dockerd 20.10 passes it to a runtime on x86_64.
fn dockers_default() -> Value {
    let path = format!("{}/golden/seccomp-docker.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[test]
fn dockers_default_profile() {
    let filter = compile_for(&X86, dockers_default()).unwrap();
    let ask_native = |name: &str, args| ask(&filter, AUDIT_X86_64, number(name, ScmpArch::X8664), args);
    assert_eq!(ask_native("openat", [0; 6]), ALLOW);
    assert_eq!(ask_native("mount", [0; 6]), errno(1));
    assert_eq!(ask_native("personality", [0xffff_ffff, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ask_native("personality", [0x4_0000, 0, 0, 0, 0, 0]), errno(1));
    assert_eq!(ask(&filter, AUDIT_X86, number("openat", ScmpArch::X86), [0; 6]), ALLOW);
    assert_eq!(ask(&filter, AUDIT_S390X, 4, [0; 6]), KILL_THREAD, "another machine's");
    // Beyond what the profile knows.
    assert_eq!(ask(&filter, AUDIT_X86_64, 600, [0; 6]), errno(38));
    assert_eq!(ask(&filter, AUDIT_X86_64, 0x4000_0000 + 700, [0; 6]), errno(38));
    assert_eq!(ask(&filter, AUDIT_X86, 600, [0; 6]), errno(38));
    assert!(filter.instructions.len() < 4096, "{}", filter.instructions.len());
    assert_eq!(filter.flags, 4);
}

#[test]
fn dockers_profile_for_this_host_holds_in_a_guest_of_another_architecture() {
    let filter = compile_for(&Z, dockers_default()).unwrap();
    let ask_native = |name: &str| ask(&filter, AUDIT_S390X, number(name, ScmpArch::S390X), [0; 6]);
    assert_eq!(ask_native("openat"), ALLOW);
    assert_eq!(ask_native("mount"), errno(1));
    assert_eq!(ask(&filter, AUDIT_S390X, 600, [0; 6]), errno(38));
    assert_eq!(ask(&filter, AUDIT_X86_64, 0, [0; 6]), KILL_THREAD);
}

/// Whatever shape libseccomp gives a program of this length.
#[test]
fn every_call_of_dockers_profile_is_allowed_on_both_machines() {
    let profile = dockers_default();
    let is_plain = |rule: &&Value| !rule["args"].is_array() && rule["action"] == "SCMP_ACT_ALLOW";
    let rules = profile["syscalls"].as_array().unwrap().iter().filter(is_plain);
    let names: Vec<&str> =
        rules.flat_map(|rule| rule["names"].as_array().unwrap()).flat_map(Value::as_str).collect();
    for (guest, arch, audit) in
        [(&X86[..], ScmpArch::X8664, AUDIT_X86_64), (&Z[..], ScmpArch::S390X, AUDIT_S390X)]
    {
        let filter = compile_for(guest, profile.clone()).unwrap();
        let number = |name| ScmpSyscall::from_name_by_arch(name, arch).ok().map(ScmpSyscall::as_raw_syscall);
        let known = |name| number(name).and_then(|number| u32::try_from(number).ok());
        let allowed: Vec<u32> = names.iter().copied().filter_map(known).collect();
        assert!(allowed.len() > 200, "{}", allowed.len());
        for number in allowed {
            assert_eq!(ask(&filter, audit, number, [0; 6]), ALLOW, "{number} on {arch:?}");
        }
    }
}

#[test]
fn architectures_that_are_not_named_are_left_out() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
    let filter = compile_for(&X86, profile).unwrap();
    assert_eq!(ask(&filter, AUDIT_X86_64, number("mkdir", ScmpArch::X8664), [0; 6]), errno(1));
    assert_eq!(ask(&filter, AUDIT_X86, number("getpid", ScmpArch::X86), [0; 6]), KILL_THREAD);
}

#[test]
fn flags_are_those_of_the_kernel() {
    let flags = |flags: Value| {
        compile_for(&X86, json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}))
            .map(|filter| filter.flags)
    };
    let (tsync, log) = ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG");
    assert_eq!(flags(json!([tsync, log, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])), Ok(7));
    assert_eq!(flags(json!([])), Ok(0));
    assert_eq!(flags(json!(null)), Ok(4));
    assert!(flags(json!(["SECCOMP_FILTER_FLAG_NEW_LISTENER"])).is_err());
}

#[test]
fn without_a_profile_there_is_no_filter() {
    let guest = X86.map(str::to_owned);
    for spec in
        [json!({}), json!({"linux": {"seccomp": null}}), json!({"linux": {"seccomp": {"syscalls": []}}})]
    {
        assert!(compile(&spec, &guest).unwrap().is_none(), "{spec}");
    }
}

#[test]
fn refuses_what_it_does_not_know() {
    let refused = |rule: Value| {
        let error = compile_for(&X86, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
        error.unwrap_err()
    };
    let error = refused(json!({"names": ["read"], "action": "SCMP_ACT_PERHAPS"}));
    assert!(error.contains("action \"SCMP_ACT_PERHAPS\" is unknown"), "{error}");
    let args = |arg: Value| json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [arg]});
    let error = refused(args(json!({"index": 0, "value": 1, "op": "SCMP_CMP_ODD"})));
    assert!(error.contains("operator \"SCMP_CMP_ODD\""), "{error}");
    let error = refused(args(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})));
    assert!(error.contains("argument 6 of read"), "{error}");
    let error = refused(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"}));
    assert!(error.contains("SCMP_ACT_NOTIFY is not supported"), "{error}");
    let error = refused(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}));
    assert!(error.contains("error number 4096 of read"), "{error}");
    let error = compile_for(&X86, json!({"defaultAction": "", "syscalls": [{"names": [], "action": "x"}]}));
    assert!(error.unwrap_err().contains("action \"\" is unknown"));
    let arch = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]});
    assert!(compile_for(&X86, arch).unwrap_err().contains("architecture \"SCMP_ARCH_VAX\""));
    assert!(compile_for(&X86, json!([])).is_err());
}
