//! Tests of the tree of packages.

use super::*;

fn file(path: &str, content: &'static str) -> Member {
    let content = Bytes::from_static(content.as_bytes());
    Member { path: path.to_owned(), kind: MemberKind::File { content, executable: false } }
}

fn link(path: &str, target: &str) -> Member {
    Member { path: path.to_owned(), kind: MemberKind::Symlink { target: target.to_owned() } }
}

#[test]
fn moves_the_directories_of_a_split_root_below_usr() {
    let mut tree = Tree::default();
    let members = vec![
        file("./lib/x86_64-linux-gnu/libz.so.1.3", "z"),
        link("./lib64/ld.so", "/lib/x86_64-linux-gnu/ld-2.so"),
        link("./lib64", "usr/lib64"),
    ];
    tree.add_package("libz", members).unwrap();
    assert_eq!(tree.file("usr/lib/x86_64-linux-gnu/libz.so.1.3").unwrap(), "z");
    assert!(tree.get("usr/lib64/ld.so").is_some());
    assert!(tree.get("usr/lib64").is_none());
}

#[test]
fn follows_links_of_files_and_directories() {
    let mut tree = Tree::default();
    let members = vec![
        file("usr/share/seabios/bios.bin", "b"),
        link("usr/share/qemu/bios.bin", "../seabios/bios.bin"),
        link("usr/share/firmware", "/usr/share/qemu"),
        link("usr/share/loop", "loop"),
        link("usr/share/gone", "nowhere"),
    ];
    tree.add_package("p", members).unwrap();
    let resolved = tree.resolve("usr/share/firmware/bios.bin").unwrap();
    assert_eq!(resolved.links, ["usr/share/firmware", "usr/share/qemu/bios.bin"]);
    assert_eq!(resolved.path, "usr/share/seabios/bios.bin");
    assert_eq!(tree.resolve("usr/share/loop"), None);
    assert_eq!(tree.resolve("usr/share/gone"), None);
    assert_eq!(tree.resolve("usr/share/qemu").unwrap().path, "usr/share/qemu");
}

#[test]
fn refuses_paths_out_of_the_root_and_files_of_two_packages() {
    let mut tree = Tree::default();
    assert!(matches!(tree.add_package("p", vec![file("../x", "")]), Err(TreeError::Path { .. })));
    tree.add_package("p", vec![file("bin/x", "1")]).unwrap();
    let error = tree.add_package("q", vec![file("usr/bin/x", "2")]).unwrap_err();
    assert_eq!(error.to_string(), "\"usr/bin/x\" is in package p and in package q");
}

#[test]
fn hard_links_become_files() {
    let mut tree = Tree::default();
    let hard_link = |path: &str, target: &str| Member {
        path: path.to_owned(),
        kind: MemberKind::HardLink { target: target.to_owned() },
    };
    tree.add_package("p", vec![file("./usr/a", "1"), hard_link("./usr/b", "./usr/a")]).unwrap();
    assert_eq!(tree.file("usr/b").unwrap(), "1");
    let error = tree.add_package("q", vec![hard_link("./c", "./d")]).unwrap_err();
    assert!(matches!(error, TreeError::HardLink { .. }));
}

#[test]
fn links_are_written_relative() {
    for (link, destination, target) in [
        ("usr/lib64/ld.so", "usr/lib/x/ld.so", "../lib/x/ld.so"),
        ("usr/lib/x/a", "usr/lib/x/b", "b"),
        ("lib", "usr/lib", "usr/lib"),
        ("usr/a/b", "usr/a", "../a"),
    ] {
        assert_eq!(relative_target(link, destination), target);
        assert_eq!(link_destination(link, target).as_deref(), normalise(destination).as_deref());
    }
}
