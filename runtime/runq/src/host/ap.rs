//! AP adapters of s390x, which reach a guest as a mediated device of vfio-ap. Runs on the host.

use anyhow::{Context, ensure};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Where vfio-ap has its mediated devices; those of other drivers are elsewhere.
const DEVICES: &str = "sys/devices/vfio_ap/matrix";

/// A character device of the host that QEMU opens: path, major and minor number.
pub(crate) type Node = (String, (u64, u64));

/// The nodes by which QEMU reaches the device.
pub(crate) fn nodes(uuid: &str) -> anyhow::Result<Vec<Node>> {
    nodes_of_host(Path::new("/"), uuid).with_context(|| format!("--apuuid {uuid}"))
}

fn nodes_of_host(root: &Path, uuid: &str) -> anyhow::Result<Vec<Node>> {
    let devices = root.join(DEVICES);
    ensure!(
        devices.exists(),
        "there is no {}: load the module vfio_ap, on an s390x host that has AP adapters",
        devices.display()
    );
    let device = devices.join(uuid);
    ensure!(
        device.exists(),
        "there is no {}: write the UUID into {}/mdev_supported_types/vfio_ap-passthrough/create, and assign adapters \
         and domains to it",
        device.display(),
        devices.display()
    );
    let group = fs_err::read_link(device.join("iommu_group"))?;
    let group = group.file_name().with_context(|| format!("{} has no IOMMU group", device.display()))?;
    let group = Path::new("dev/vfio").join(group);
    [Path::new("dev/vfio/vfio"), &group].into_iter().map(|path| node(root, path)).collect()
}

/// The node at `path`, which is below the root directory `root`.
fn node(root: &Path, path: &Path) -> anyhow::Result<Node> {
    let metadata =
        fs_err::metadata(root.join(path)).context("the module vfio has not made its nodes: load it")?;
    ensure!(metadata.file_type().is_char_device(), "{} is no character device", root.join(path).display());
    let device = metadata.rdev();
    let numbers = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    Ok((format!("/{}", path.display()), numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const UUID: &str = "4b0518fd-9237-493f-93c8-c5597f8006a3";

    fn error(root: &Path) -> String {
        format!("{:#}", nodes_of_host(root, UUID).unwrap_err())
    }

    /// Builds a host's directories step by step: each lacks one thing less.
    #[test]
    fn names_what_is_missing_and_finds_the_nodes() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert!(
            error(root).contains("sys/devices/vfio_ap/matrix: load the module vfio_ap"),
            "{}",
            error(root)
        );
        let device = root.join(DEVICES).join(UUID);
        fs_err::create_dir_all(device.parent().unwrap()).unwrap();
        assert!(error(root).contains(&format!("{UUID}: write the UUID into")), "{}", error(root));
        fs_err::create_dir(&device).unwrap();
        assert!(error(root).contains("iommu_group"), "{}", error(root));
        symlink("../../../../kernel/iommu_groups/7", device.join("iommu_group")).unwrap();
        let missing = error(root);
        assert!(missing.contains("module vfio") && missing.contains("dev/vfio/vfio"), "{missing}");
        let nodes = root.join("dev/vfio");
        fs_err::create_dir_all(&nodes).unwrap();
        symlink("/dev/null", nodes.join("vfio")).unwrap();
        assert!(error(root).contains("dev/vfio/7"), "{}", error(root));
        fs_err::write(nodes.join("7"), "").unwrap();
        assert!(error(root).contains("dev/vfio/7 is no character device"), "{}", error(root));
        fs_err::remove_file(nodes.join("7")).unwrap();
        symlink("/dev/zero", nodes.join("7")).unwrap();
        let expected = [("/dev/vfio/vfio".to_owned(), (1, 3)), ("/dev/vfio/7".to_owned(), (1, 5))];
        assert_eq!(nodes_of_host(root, UUID).unwrap(), expected);
    }

    #[test]
    fn says_for_which_option_it_looked() {
        assert!(
            format!("{:#}", nodes(UUID).unwrap_err())
                .starts_with(&format!("--apuuid {UUID}: there is no /sys/"))
        );
    }
}
