//! Which destinations are disks, and what becomes of them in the spec.

use super::*;

fn one(destination: &str) -> Result<Request, DiskError> {
    parse(destination, Source::Device, false)
}

fn parts(destination: &str) -> (String, Cache, Option<FileSystem>, Option<String>) {
    let request = one(destination).unwrap();
    (request.disk.id, request.cache, request.disk.file_system, request.disk.mount_point)
}

#[test]
fn both_forms_are_understood() {
    let text = |text: &str| Some(text.to_owned());
    for (destination, expected) in [
        ("/dev/runq/0001/none", ("0001".to_owned(), Cache::None, None, None)),
        ("/dev/runq/a.b/unsafe/none", ("a.b".to_owned(), Cache::Unsafe, None, None)),
        ("/dev/runq/root/none/xfs", ("root".to_owned(), Cache::None, Some(FileSystem::Xfs), None)),
        (
            "/dev/runq/d/writethrough/btrfs/mnt/data",
            ("d".to_owned(), Cache::Writethrough, Some(FileSystem::Btrfs), text("/mnt/data")),
        ),
        (
            "/dev/disk/writeback/ext4/var/lib/postgresql",
            (
                "var-lib-postgresql".to_owned(),
                Cache::Writeback,
                Some(FileSystem::Ext4),
                text("/var/lib/postgresql"),
            ),
        ),
        ("/dev/disk/writethrough/none/0001", ("0001".to_owned(), Cache::Writethrough, None, None)),
        (
            "/dev/disk/none/ext2/m nt//x",
            ("m_nt-x".to_owned(), Cache::None, Some(FileSystem::Ext2), text("/m nt/x")),
        ),
    ] {
        assert_eq!(parts(destination), expected, "{destination}");
    }
}

#[test]
fn what_is_no_disk_is_refused_with_what_was_expected() {
    for (destination, expected) in [
        ("/dev/runq/id", "expected /dev/runq/ID"),
        ("/dev/runq/id/warm", "expected writeback"),
        ("/dev/runq/id/none/ntfs/x", "expected ext2"),
        ("/dev/runq/id/none/none/x", "expected /dev/runq/ID"),
        ("/dev/runq/i,d/none", "no id of a disk"),
        ("/dev/runq/.../none", "no id of a disk"),
        ("/dev/runq/../none", "expected /dev/runq/ID"),
        ("/dev/runq/id/none/ext4/a/../../b", "expected /dev/runq/ID"),
        ("/dev/runq/id/none/ext4/a\nb", "expected /dev/runq/ID"),
        ("/dev/disk/none/ext4", "expected /dev/runq/ID"),
        ("/dev/disk/none/none/a b", "no id of a disk"),
        ("/dev/disk/", "expected writeback"),
    ] {
        let error = one(destination).unwrap_err().to_string();
        assert!(error.contains(expected), "{destination}: {error}");
    }
}

fn spec() -> Value {
    json!({
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev/disk/writeback/xfs/mnt/data", "type": "bind", "source": "/data.qcow2",
             "options": ["rbind", "ro"]},
            {"destination": "/etc/hosts", "type": "bind", "source": "/h"},
        ],
        "linux": {
            "devices": [
                {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
                {"path": "/dev/runq/b/none", "type": "b", "major": 8, "minor": 17},
            ],
            "resources": {"devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "b", "major": 8, "minor": 17, "access": "rw"},
            ]},
        },
    })
}

#[test]
fn disks_are_moved_out_of_the_containers_view() {
    let mut spec = spec();
    let requests = requests(&spec).unwrap();
    assert_eq!(requests[0].source, Source::File("/data.qcow2".to_owned()));
    assert_eq!((requests[0].read_only, requests[1].read_only), (true, false));
    move_aside(&mut spec);
    assert_eq!(spec["mounts"][1]["destination"], "/dev/runq-disk-0");
    assert_eq!(spec["mounts"][2]["destination"], "/etc/hosts");
    assert_eq!(spec["linux"]["devices"][1]["path"], "/dev/runq-disk-1");
    assert_eq!(spec["linux"]["devices"][0]["path"], "/dev/fuse");
}

#[test]
fn device_that_may_only_be_read_is_a_read_only_disk() {
    let mut spec = spec();
    spec["linux"]["resources"]["devices"][1]["access"] = json!("r");
    assert!(requests(&spec).unwrap()[1].read_only);
}

#[test]
fn character_devices_and_ids_of_two_disks_are_refused() {
    let mut spec = spec();
    spec["linux"]["devices"][0]["path"] = json!("/dev/runq/c/none");
    assert!(requests(&spec).unwrap_err().to_string().contains("character device"));
    spec["linux"]["devices"][0] = json!({"path": "/dev/runq/b/none", "type": "b", "major": 8, "minor": 1});
    assert_eq!(requests(&spec).unwrap_err(), DiskError::Twice { id: "b".to_owned() });
}

#[test]
fn root_disk_has_a_file_system_and_no_mount_point() {
    let requests: Vec<_> = ["/dev/runq/a/none", "/dev/runq/b/none/ext4", "/dev/runq/c/none/ext4/mnt"]
        .map(|destination| one(destination).unwrap())
        .into();
    assert_eq!(
        root_disk(&requests, "b", &[], false).unwrap(),
        RootDisk { disk: 1, exclude: Vec::new(), read_only: false }
    );
    for id in ["a", "c"] {
        assert_eq!(
            root_disk(&requests, id, &[], false).unwrap_err(),
            DiskError::UnfitRoot { id: id.to_owned() }
        );
    }
    assert_eq!(root_disk(&requests, "d", &[], false).unwrap_err(), DiskError::NoRoot { id: "d".to_owned() });
}
