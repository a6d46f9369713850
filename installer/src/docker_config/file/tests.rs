//! Tests of reading and replacing the file, in temporary directories.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = names.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn keeps_the_link_the_mode_and_a_backup() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real.json"), directory.path().join("daemon.json"));
    std::fs::write(&real, "old").unwrap();
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
    symlink("real.json", &link).unwrap();

    let mut file = ConfigFile::read(&link).unwrap();
    let backup = file.replace(Some("new")).unwrap().unwrap();

    assert_eq!(std::fs::read_to_string(&link).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(backup).unwrap(), "old");
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(real.metadata().unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn creates_a_file_and_its_directory_without_a_backup() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("etc/docker/daemon.json");
    let mut file = ConfigFile::read(&path).unwrap();
    assert_eq!(file.text(), None);
    assert_eq!(file.replace(Some("{}")).unwrap(), None);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
    assert_eq!(names(path.parent().unwrap()), ["daemon.json"]);
    file.replace(None).unwrap();
    assert!(!path.exists());
}

#[test]
fn writes_nothing_when_nothing_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    std::fs::write(&path, "same").unwrap();
    let inode = path.metadata().unwrap().ino();
    assert_eq!(ConfigFile::read(&path).unwrap().replace(Some("same")).unwrap(), None);
    assert_eq!(path.metadata().unwrap().ino(), inode);
    assert_eq!(names(directory.path()), ["daemon.json"]);
}

#[test]
fn clears_what_a_killed_run_has_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    std::fs::write(directory.path().join(".daemon.json.runq-new"), "half").unwrap();
    ConfigFile::read(&path).unwrap().replace(Some("{}")).unwrap();
    assert_eq!(names(directory.path()), ["daemon.json"]);
}

#[test]
fn refuses_to_overwrite_what_somebody_else_has_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    std::fs::write(&path, "old").unwrap();
    let mut file = ConfigFile::read(&path).unwrap();
    std::fs::write(&path, "theirs").unwrap();
    assert!(matches!(file.replace(Some("ours")), Err(ConfigFileError::Changed { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
}

#[test]
fn leaves_nothing_of_a_change_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    std::fs::write(&path, "old").unwrap();
    let mut file = ConfigFile::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    file.replace(Some("new")).unwrap_err();
    assert_eq!(names(directory.path()), ["daemon.json"]);
}

#[test]
fn follows_a_chain_of_links_and_keeps_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("managed")).unwrap();
    std::fs::write(path("managed/real.json"), "old").unwrap();
    symlink("managed/real.json", path("b")).unwrap();
    symlink(path("b"), path("a")).unwrap();
    let mut file = ConfigFile::read(&path("a")).unwrap();
    file.replace(Some("new")).unwrap();
    assert_eq!(std::fs::read_to_string(path("managed/real.json")).unwrap(), "new");
    assert_eq!(std::fs::read_link(path("a")).unwrap(), path("b"));
    assert_eq!(names(directory.path()), ["a", "b", "managed"]);
}

#[test]
fn replaces_a_file_that_is_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.json");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    let mut file = ConfigFile::read(&path).unwrap();
    file.check_replaceable().unwrap();
    file.replace(Some("new")).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o444);
}

#[test]
fn refuses_other_encodings_dangling_links_and_directories() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("utf16"), b"\xff\xfe{\0}\0").unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    assert!(matches!(
        ConfigFile::read(&path("utf16")),
        Err(ConfigFileError::Encoding { line: 1, column: 1, .. })
    ));
    assert!(matches!(ConfigFile::read(&path("dangling")), Err(ConfigFileError::Read { .. })));
    assert!(matches!(ConfigFile::read(directory.path()), Err(ConfigFileError::Kind { .. })));
}
