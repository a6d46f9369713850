//! Tests of reading modules: small ELF files with a section `.modinfo`.

use super::*;
use crate::deb::{Member, MemberKind};

const X86: (ElfMachine, ElfData) = (ElfMachine::X86_64, ElfData::Little);

/// A module of the kernel that the tests have.
fn module_file(info: &[u8]) -> Vec<u8> {
    module_of("6.12-amd64", info)
}

/// Header, section data, string table, and the three section headers (null, `.modinfo`, `.shstrtab`).
fn module_of(release: &str, info: &[u8]) -> Vec<u8> {
    let info =
        [info, format!("vermagic={release} SMP preempt mod_unload modversions \0").as_bytes()].concat();
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    file.extend(&info);
    file.extend(names);
    let table = file.len() as u64;
    for (offset, value) in [(16, 1u16), (18, 62), (52, 64), (58, 64), (60, 3), (62, 2)] {
        file[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }
    file[20] = 1;
    file[40..48].copy_from_slice(&table.to_le_bytes());
    file.resize(file.len() + 64, 0);
    let sections = [(1u32, 1u32, 64, info.len()), (10, 3, 64 + info.len(), names.len())];
    for (name, kind, offset, size) in sections {
        file.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        for value in [0, 0, offset as u64, size as u64, 0, 1, 0] {
            file.extend(value.to_le_bytes());
        }
    }
    file
}

fn tree(files: Vec<(&str, Vec<u8>)>) -> Tree {
    let member = |(path, content): (&str, Vec<u8>)| Member {
        path: format!("./lib/modules/6.12-amd64/{path}"),
        kind: MemberKind::File { content: content.into(), executable: false },
    };
    let mut tree = Tree::default();
    tree.add_package("linux", files.into_iter().map(member).collect()).unwrap();
    tree
}

#[test]
fn reads_modules_of_all_compressions_in_the_order_of_the_kernel() {
    let net = module_file(
        b"alias=virtio:d00000001v*\0depends=net-failover,virtio\0softdep=pre: x\0name=virtio_net\0",
    );
    let zstd = zstd::encode_all(&module_file(b"depends=\0")[..], 1).unwrap();
    let tree = tree(vec![
        ("kernel/drivers/net/virtio-net.ko", net),
        ("kernel/net/net_failover.ko.zst", zstd),
        ("modules.order", b"kernel/net/net_failover.ko\nkernel/drivers/net/virtio-net.ko\n".to_vec()),
        ("modules.builtin", b"kernel/drivers/virtio/virtio.ko\n".to_vec()),
    ]);
    let modules = ModuleTree::read(&tree, X86).unwrap();
    assert_eq!(modules.version, "6.12-amd64");
    assert!(modules.is_built_in("virtio"));
    let names: Vec<_> = modules.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["net_failover", "virtio_net"]);
    let net = modules.get("virtio-net").unwrap();
    assert_eq!(net.path, "kernel/drivers/net/virtio-net.ko");
    assert_eq!(net.depends, ["net_failover", "virtio"]);
    assert_eq!(net.aliases, ["virtio:d00000001v*"]);
    assert_eq!(net.soft_dependencies, ["pre: x"]);
    let needed: Vec<_> = modules.dependencies(net).map(|module| module.unwrap().name.clone()).collect();
    assert_eq!(needed, ["net_failover"]);
}

#[test]
fn a_signature_survives_decompression() {
    let signed = [module_file(b""), b"signature~Module signature appended~\n".to_vec()].concat();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    io::Write::write_all(&mut xz, &signed).unwrap();
    assert_eq!(decompress("a.ko.xz", &xz.finish().unwrap().into()).unwrap(), signed);
}

#[test]
fn refuses_damaged_modules_and_unknown_compressions() {
    let damaged = tree(vec![("kernel/a.ko.xz", b"damaged".to_vec())]);
    assert!(matches!(ModuleTree::read(&damaged, X86), Err(ModuleError::Decompress { .. })));
    let unknown = tree(vec![("kernel/a.ko.lz4", b"".to_vec())]);
    assert!(matches!(ModuleTree::read(&unknown, X86), Err(ModuleError::Compression { .. })));
    assert!(matches!(ModuleTree::read(&Tree::default(), X86), Err(ModuleError::NoVersion)));
}

#[test]
fn refuses_a_module_of_another_kernel_by_name() {
    for release in ["6.12-arm64", "6.12", ""] {
        let other = tree(vec![("kernel/fs/a.ko", module_of(release, b"depends=\0"))]);
        let error = ModuleTree::read(&other, X86).err().unwrap().to_string();
        let expected = format!("usr/lib/modules/6.12-amd64/kernel/fs/a.ko is a module of kernel {release:?}");
        assert!(error.starts_with(&expected), "{error}");
    }
}
