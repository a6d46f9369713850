//! Tests that the formats between host and guest are the same bytes on every architecture. The files in `golden/` were
//! written on x86_64; `make unit-s390x` reads them, and writes them again, on a big-endian machine.

use crate::channel::{
    ExitStatus, GuestMessage, HostMessage, PREFIX_BYTES, StartFailure, StreamHeader, StreamKind, WindowSize,
    decode, encode, payload_bytes,
};
use crate::disk::{Cache, Disk, Drive, FileSystem, Format, RootDisk};
use crate::guest::{Dns, Guest, GuestMount, NinePCache, Share, VirtiofsCache};
use crate::network::{Address, Interface, MacAddress, Network, Route};
use crate::process::{Capabilities, Process, ProcessId, Rlimit, User};
use crate::seccomp::{Instruction, Seccomp};
use crate::vm_config::{Accel, Hardware, Users, VmConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn guest() -> Guest {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Guest {
        hostname: "höst".to_owned(),
        domainname: "example.org".to_owned(),
        mounts: vec![GuestMount {
            destination: "/dev/shm".to_owned(),
            kind: "tmpfs".to_owned(),
            source: "shm".to_owned(),
            options: texts(&["nosuid", "size=65536k"]),
        }],
        sysctl: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        masked_paths: texts(&["/proc/kcore"]),
        readonly_paths: texts(&["/proc/sys"]),
        pids: Some(0x0102_0304),
        seccomp: Some(Seccomp {
            instructions: vec![
                Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: 4 },
                Instruction { code: 0x15, jump_true: 1, jump_false: 2, operand: 0x8000_0016 },
            ],
            flags: 2,
        }),
        binds: texts(&["/data"]),
        disks: vec![Disk {
            id: "0".to_owned(),
            read_only: true,
            file_system: Some(FileSystem::Ext4),
            mount_point: Some("/disk".to_owned()),
        }],
        root_disk: Some(RootDisk { disk: 0x0102, exclude: texts(&["/proc"]), read_only: false }),
        sigusr: true,
        runqenv: true,
        nine_p_cache: NinePCache::Loose,
        dns: Some(Dns {
            servers: texts(&["192.0.2.1", "2001:db8::1"]),
            options: texts(&["ndots:1"]),
            search: texts(&["example.org"]),
        }),
    }
}

fn network() -> Network {
    let address = |text: &str, prefix_len| Address { ip: text.parse().unwrap(), prefix_len };
    Network {
        interfaces: vec![Interface {
            name: "eth0".to_owned(),
            mac: MacAddress([2, 0x42, 0xac, 0x11, 0, 2]),
            mtu: 1500,
            addresses: vec![address("172.17.0.2", 16), address("2001:db8::2", 64)],
        }],
        routes: vec![Route {
            interface: "eth0".to_owned(),
            destination: Some(address("10.0.0.0", 8)),
            gateway: Some("172.17.0.1".parse().unwrap()),
            source: None,
            metric: Some(0x0001_0000),
        }],
    }
}

fn process() -> Process {
    Process {
        args: vec!["/bin/sh".to_owned(), "-c".to_owned(), "exit 7".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".to_owned(),
        terminal: true,
        user: User { uid: 0x0001_0002, gid: 5, additional_gids: vec![6, 7], umask: Some(0o27) },
        capabilities: Capabilities { bounding: vec!["CAP_CHOWN".to_owned()], ..Capabilities::default() },
        rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".to_owned(), soft: 1024, hard: u64::MAX }],
        no_new_privileges: true,
        oom_score_adj: Some(-500),
    }
}

#[test]
fn vm_config() {
    let config = VmConfig {
        build_id: "golden".to_owned(),
        container_id: "0123abcd".to_owned(),
        users: Users { proxy: 0x0001_0001, qemu: 0x0001_0002 },
        hardware: Hardware {
            vcpus: 2,
            memory_mib: 0x0100_0001,
            accel: Accel::Tcg,
            cpu_features: vec!["+vx".to_owned()],
            nested: true,
            ap_uuid: Some("f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_owned()),
        },
        boot_timeout_seconds: 600,
        share: Share::Virtiofs,
        virtiofs_cache: VirtiofsCache::Always,
        drives: vec![Drive { cache: Cache::Writeback, format: Format::Raw, read_only: true }],
        no_exec: true,
        guest: guest(),
        entrypoint: process(),
    };
    let bytes = serde_json::to_vec_pretty(&config).unwrap();
    let golden = golden("vm-config.json", &bytes);
    assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(golden.clone()).unwrap());
    assert_eq!(serde_json::from_slice::<VmConfig>(&golden).unwrap(), config);
}

#[test]
fn messages_of_the_host() {
    let process_id = ProcessId(0x0102_0304);
    let window = WindowSize { rows: 0x0102, columns: 80 };
    frames(
        "host.frames",
        &[
            HostMessage::Boot { guest: guest(), network: network(), share: Share::NineP },
            HostMessage::Start { process: ProcessId::ENTRYPOINT, spec: process(), window: Some(window) },
            HostMessage::Signal { process: process_id, signal: 64 },
            HostMessage::Resize { process: process_id, window },
        ],
    );
    frames("header.frames", &[StreamHeader { process: process_id, kind: StreamKind::Stderr }]);
}

#[test]
fn messages_of_the_guest() {
    let process = ProcessId(0x0102_0304);
    frames(
        "guest.frames",
        &[
            GuestMessage::Hello { build_id: "golden".to_owned() },
            GuestMessage::Ready,
            GuestMessage::Failed { message: "cannot mount: ünlucky".to_owned() },
            GuestMessage::Started { process },
            GuestMessage::StartFailed {
                process,
                reason: StartFailure::NotFound,
                message: "no such file".to_owned(),
            },
            GuestMessage::Exited { process, status: ExitStatus::Signal(9), out_of_memory: 0x0001_0001 },
        ],
    );
}

/// Checks that the messages, one frame after the other, are the bytes of the file, and that the file gives the messages.
fn frames<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, messages: &[T]) {
    let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
    let golden = golden(name, &bytes);
    assert!(bytes == golden, "{name}: {}", bytes.escape_ascii());
    let mut rest = &golden[..];
    let mut found: Vec<T> = Vec::new();
    while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX_BYTES>() {
        let (payload, after) = after.split_at(payload_bytes(*prefix, after.len()).unwrap());
        found.push(decode(payload).unwrap());
        rest = after;
    }
    assert_eq!(found, messages);
}

/// The file's content; `UPDATE_GOLDEN=1` writes it first.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}
