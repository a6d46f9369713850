//! Tests of what differs between two bundles.

use super::*;
use crate::cpio::Cpio;
use runq_bundle::manifest::{FORMAT, PRODUCT};
use serde_json::json;

fn package(name: &str, version: &str) -> Package {
    let sha256 = sha256(format!("{name} {version}").as_bytes());
    Package { name: name.to_owned(), version: version.to_owned(), arch: "amd64".to_owned(), sha256 }
}

fn file(path: &str, content: &[u8], package: &str) -> Entry {
    let kind = EntryKind::File { size: content.len() as u64, sha256: sha256(content) };
    let package = (!package.is_empty()).then(|| package.to_owned());
    Entry { path: path.to_owned(), kind, mode: 0o644, package }
}

fn contents(packages: Vec<Package>, files: Vec<Entry>, initrd: Cpio) -> Contents {
    let manifest = Manifest {
        format: FORMAT,
        product: PRODUCT.to_owned(),
        version: "1.0.0".to_owned(),
        sequence: 1,
        host_arch: "x86_64".to_owned(),
        guest_arch: "x86_64".to_owned(),
        build_id: "b".to_owned(),
        distribution: "debian-trixie".to_owned(),
        created: 0,
        packages,
        files,
        machine: json!({ "cpu": "max", "share": "virtiofs" }),
    };
    let sha256 = sha256(&serde_json::to_vec(&manifest).unwrap());
    Contents {
        sha256,
        signer: "K".to_owned(),
        manifest,
        provenance: None,
        built_in: vec![],
        initrd: initrd.finish(),
    }
}

fn text(old: &Contents, new: &Contents) -> Vec<String> {
    let mut out = Vec::new();
    Difference::between(old, new).print(&mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn explains_packages_files_links_modes_and_machine() {
    let link = |target: &str| Entry {
        kind: EntryKind::Symlink { target: target.to_owned() },
        ..file("qemu/l", b"", "libz")
    };
    let old = contents(
        vec![package("gone", "1"), package("libz", "1:1"), package("qemu", "10.1")],
        vec![file("qemu/a", b"a", "gone"), file("qemu/b", b"b", "libz"), link("b"), file("qemu/m", b"m", "")],
        Cpio::new(),
    );
    let mut new = contents(
        vec![package("libz", "1:2"), package("new", "3"), package("qemu", "10.0")],
        vec![
            file("qemu/b", b"bb", "libz"),
            link("c"),
            Entry { mode: 0o755, ..file("qemu/m", b"m", "") },
            file("qemu/n", b"n", "new"),
        ],
        Cpio::new(),
    );
    new.manifest.machine["cpu"] = json!("host");
    new.manifest.version = "1.0.1".to_owned();
    assert_eq!(
        text(&old, &new),
        [
            "machine.cpu: max -> host",
            "version: 1.0.0 -> 1.0.1",
            "packages:",
            "  - gone:amd64 1",
            "  ~ libz:amd64 1:1 -> 1:2",
            "  + new:amd64 3",
            "  ~ qemu:amd64 10.1 -> 10.0  WARNING: downgrade",
            "files:",
            "  - qemu/a (gone 1)",
            "  ~ qemu/b: size 1 B -> 2 B, content (libz 1:1 -> libz 1:2)",
            "  ~ qemu/l: target b -> c (libz 1:1 -> libz 1:2)",
            "  ~ qemu/m: mode 0644 -> 0755 (ours)",
            "  + qemu/n (new 3)",
        ]
    );
}

#[test]
fn an_update_of_the_kernel_is_compared_module_by_module_in_the_initrd_too() {
    let bundle = |release: &str, changed: &[u8]| {
        let mut initrd = Cpio::new();
        initrd.file("init", 0o755, b"init");
        initrd.file(&format!("lib/modules/{release}/virtiofs.ko"), 0o644, changed);
        let folder = format!("qemu/usr/lib/modules/{release}");
        let image = format!("linux-image-{release}");
        let files = vec![
            file(&format!("{folder}/kernel/same.ko"), b"same", &image),
            file(&format!("{folder}/kernel/virtiofs.ko.xz"), changed, &image),
        ];
        contents(vec![package(&image, &format!("{release}-1"))], files, initrd)
    };
    assert_eq!(
        text(&bundle("6.12.1", b"x"), &bundle("6.12.2", b"y")),
        [
            "kernel: 6.12.1 -> 6.12.2",
            "packages:",
            "  ~ linux-image-{kernel}:amd64 6.12.1-1 -> 6.12.2-1",
            "files:",
            "  ~ qemu/initrd/lib/modules/{kernel}/virtiofs.ko: content (ours)",
            "  ~ qemu/usr/lib/modules/{kernel}/kernel/virtiofs.ko.xz: content \
             (linux-image-{kernel} 6.12.1-1 -> linux-image-{kernel} 6.12.2-1)",
        ]
    );
}

#[test]
fn the_same_is_the_same_and_other_bytes_are_named() {
    let bundle = || contents(vec![package("qemu", "1")], vec![file("runq", b"r", "")], Cpio::new());
    let (old, mut new) = (bundle(), bundle());
    assert!(Difference::between(&old, &new).same && text(&old, &new).is_empty());
    new.sha256 = sha256(b"recompressed");
    let [line] = &text(&old, &new)[..] else { panic!("one line") };
    assert!(line.starts_with("the same content in other bytes"), "{line}");
    new.signer = "L".to_owned();
    assert_eq!(text(&old, &new), ["signer: K -> L"]);
}

#[test]
fn a_change_of_kind_and_the_json_have_both_sides() {
    let old = contents(vec![], vec![file("runq", b"r", "")], Cpio::new());
    let folder = Entry { kind: EntryKind::Directory, ..file("runq", b"", "") };
    let new = contents(vec![], vec![folder], Cpio::new());
    assert_eq!(text(&old, &new), ["files:", "  ~ runq: file -> directory (ours)"]);
    let json = serde_json::to_value(Difference::between(&old, &new)).unwrap();
    assert_eq!(json["same"], json!(false));
    assert_eq!(json["files"][0]["old"]["kind"]["file"]["size"], json!(1));
    assert_eq!(json["files"][0]["new"]["kind"], json!("directory"));
}
