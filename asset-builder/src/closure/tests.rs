//! Tests of the closure, with the smallest ELF files that need something.

use super::*;
use crate::deb::{Member, MemberKind};
use crate::elf::fixture;
use crate::recipe::{Architecture, ElfData, ElfMachine};

/// Packages that are loaded one after the other.
struct Shelf {
    tree: Tree,
    packages: Vec<(&'static str, Vec<Member>)>,
}

impl Library for Shelf {
    type Error = std::convert::Infallible;

    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn prepare(&mut self, _: &str, _: &[&str]) {}

    fn load_dependency(&mut self, _: &str, _: &str) -> Result<bool, Self::Error> {
        let Some((name, members)) = self.packages.pop() else { return Ok(false) };
        self.tree.add_package(name, members).unwrap();
        Ok(true)
    }
}

fn rules() -> BuildRules {
    Architecture::load("x86_64").unwrap().build
}

fn elf(path: &str, interpreter: Option<&str>, needed: &[&str], run_path: Option<&str>) -> Member {
    let content = fixture::elf(rules().elf(), interpreter, needed, run_path).into();
    Member { path: path.to_owned(), kind: MemberKind::File { content, executable: true } }
}

fn link(path: &str, target: &str) -> Member {
    Member { path: path.to_owned(), kind: MemberKind::Symlink { target: target.to_owned() } }
}

fn root(path: &str) -> (String, Need) {
    (path.to_owned(), Need::of_itself("test"))
}

const LINKER: &str = "/lib64/ld-linux-x86-64.so.2";

fn shelf(program: Member) -> Shelf {
    let mut tree = Tree::default();
    tree.add_package("qemu", vec![program]).unwrap();
    let libc = vec![
        elf("usr/lib/x86_64-linux-gnu/libc.so.6", None, &[], None),
        elf("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", None, &[], None),
        link("lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    ];
    let libz = vec![
        link("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.3"),
        elf("usr/lib/x86_64-linux-gnu/libz.so.1.3", None, &["libc.so.6"], None),
        elf("usr/lib/x86_64-linux-gnu/libunused.so", None, &[], None),
    ];
    Shelf { tree, packages: vec![("never", vec![]), ("libz", libz), ("libc", libc)] }
}

#[test]
fn takes_what_is_needed_with_the_links_that_lead_to_it_and_loads_no_more() {
    let mut shelf = shelf(elf("usr/bin/qemu", Some(LINKER), &["libz.so.1", "libc.so.6"], None));
    let paths = closure(&mut shelf, &rules(), &[root("usr/bin/qemu")]).unwrap();
    let expected = [
        "usr/bin/qemu",
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libz.so.1",
        "usr/lib/x86_64-linux-gnu/libz.so.1.3",
        "usr/lib64/ld-linux-x86-64.so.2",
    ];
    let linked = Need::by("usr/bin/qemu", "library libz.so.1");
    assert_eq!(paths["usr/lib/x86_64-linux-gnu/libz.so.1"], linked);
    assert_eq!(paths["usr/lib/x86_64-linux-gnu/libz.so.1.3"], linked);
    assert_eq!(paths.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(shelf.packages.len(), 1);
}

#[test]
fn looks_in_the_run_path_first() {
    let mut shelf = shelf(elf("usr/lib/qemu/program", None, &["libz.so.1"], Some("/nowhere:$ORIGIN/own")));
    shelf.tree.add_package("own", vec![elf("usr/lib/qemu/own/libz.so.1", None, &[], None)]).unwrap();
    let paths = closure(&mut shelf, &rules(), &[root("usr/lib/qemu/program")]).unwrap();
    assert_eq!(paths.len(), 2);
    assert!(paths.contains_key("usr/lib/qemu/own/libz.so.1"));
}

#[test]
fn reports_what_is_missing_and_who_needs_it() {
    let qemu = [root("usr/bin/qemu")];
    let mut without = shelf(elf("usr/bin/qemu", None, &["libgone.so.9"], None));
    let error = closure(&mut without, &rules(), &qemu).unwrap_err().to_string();
    assert!(error.starts_with("usr/bin/qemu needs libgone.so.9, which package qemu"), "{error}");
    let mut foreign = shelf(elf("usr/bin/qemu", Some("/lib/ld-musl-x86_64.so.1"), &[], None));
    assert!(matches!(closure(&mut foreign, &rules(), &qemu), Err(ClosureError::Interpreter { .. })));
    let absent = closure(&mut foreign, &rules(), &[root("usr/bin/other")]);
    assert!(matches!(absent, Err(ClosureError::Missing { .. })));
}

#[test]
fn a_file_of_another_machine_or_byte_order_ends_the_build() {
    let foreign = [
        (ElfMachine::S390x, ElfData::Big),
        (ElfMachine::S390x, ElfData::Little),
        (ElfMachine::X86_64, ElfData::Big),
    ];
    for what in foreign {
        let wrong = |path: &str| {
            let content = fixture::elf(what, None, &[], None).into();
            Member { path: path.to_owned(), kind: MemberKind::File { content, executable: true } }
        };
        let qemu = [root("usr/bin/qemu")];
        let program = closure(&mut shelf(wrong("usr/bin/qemu")), &rules(), &qemu);
        assert!(matches!(program, Err(ClosureError::Elf { .. })), "{what:?}");
        let mut library = shelf(elf("usr/bin/qemu", None, &["libz.so.1"], None));
        library.packages = vec![("libz", vec![wrong("usr/lib/x86_64-linux-gnu/libz.so.1")])];
        assert!(matches!(closure(&mut library, &rules(), &qemu), Err(ClosureError::Elf { .. })), "{what:?}");
    }
}
