//! AP adapters of s390x, which reach a guest as a mediated device of vfio-ap. Runs on the host.

use anyhow::{Context, ensure};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const DEVICES: &str = "/sys/bus/mdev/devices";

/// A character device of the host that QEMU opens: path, major and minor number.
pub(crate) type Node = (String, (u64, u64));

/// The nodes by which QEMU reaches the device.
pub(crate) fn nodes(uuid: &str) -> anyhow::Result<Vec<Node>> {
    let device = Path::new(DEVICES).join(uuid);
    ensure!(
        device.exists(),
        "--apuuid {uuid}: there is no such mediated device in {DEVICES}: load the module vfio_ap, write the UUID into create below \
         /sys/devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough, and assign adapters and domains to it"
    );
    let group = fs_err::read_link(device.join("iommu_group"))?;
    let group = group.file_name().with_context(|| format!("{} has no IOMMU group", device.display()))?;
    [Path::new("/dev/vfio/vfio").to_owned(), Path::new("/dev/vfio").join(group)]
        .into_iter()
        .map(node)
        .collect()
}

fn node(path: PathBuf) -> anyhow::Result<Node> {
    let metadata = fs_err::metadata(&path)?;
    ensure!(metadata.file_type().is_char_device(), "{} is no character device", path.display());
    let device = metadata.rdev();
    let numbers = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    Ok((path.display().to_string(), numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_when_the_device_is_missing() {
        let error = nodes("4b0518fd-9237-493f-93c8-c5597f8006a3").unwrap_err().to_string();
        assert!(error.contains("vfio_ap") && error.contains("4b0518fd"), "{error}");
    }

    #[test]
    fn nodes_are_character_devices() {
        assert_eq!(node("/dev/null".into()).unwrap(), ("/dev/null".to_owned(), (1, 3)));
        assert!(node("/".into()).is_err());
    }
}
