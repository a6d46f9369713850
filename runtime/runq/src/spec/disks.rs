//! Disks: binds and devices whose destination says that they are one. They are taken out of the container's own view and
//! given to the VM. Pure: what the files are is found out on the host, in between.
//!
//! `/dev/runq/<id>/<cache>[/<file system>[/<mount point>]]`, and the older `/dev/disk/<cache>/<file system>/<mount point>`,
//! whose mount point is an id when the file system is `none`.

use runq_contract::disk::{self, Cache, Disk, Drive, FileSystem, Format, RootDisk};
use serde_json::{Value, json};
use std::path::{Component, Path};

const PREFIX: &str = "/dev/runq/";
const OLDER_PREFIX: &str = "/dev/disk/";

/// PCI has room for 32 devices, of which others need a few.
const MAX_DISKS: usize = 16;

const MAX_ID_BYTES: usize = 64;

/// A disk as the user asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// As given.
    destination: String,
    /// What it is on the host.
    pub(crate) source: Source,
    cache: Cache,
    read_only: bool,
    disk: Disk,
}

/// What the user attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `--volume`: a path of the host.
    File(String),
    /// `--device`: a block device, already known to be one.
    Device,
}

/// A destination that is no disk although it is where disks are.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(
        "{destination} is no disk: expected {PREFIX}ID/CACHE[/FILESYSTEM[/MOUNTPOINT]] or \
         {OLDER_PREFIX}CACHE/FILESYSTEM/MOUNTPOINT"
    )]
    Form { destination: String },
    #[error("{destination}: cache {found:?} is unknown, expected writeback, writethrough, none or unsafe")]
    Cache { destination: String, found: String },
    #[error("{destination}: file system {found:?} is unknown, expected ext2, ext3, ext4, xfs, btrfs or none")]
    FileSystem { destination: String, found: String },
    #[error(
        "{destination}: {found:?} is no id of a disk, expected up to {MAX_ID_BYTES} of A-Z a-z 0-9 . _ -"
    )]
    Id { destination: String, found: String },
    #[error("two disks have the id {id}")]
    Twice { id: String },
    #[error("{destination} is a character device, expected a block device")]
    NotBlock { destination: String },
    #[error("{count} disks, at most {MAX_DISKS} are possible")]
    TooMany { count: usize },
    #[error("--rootdisk {id}: there is no such disk, attach it as {PREFIX}{id}/CACHE/FILESYSTEM")]
    NoRoot { id: String },
    #[error(
        "--rootdisk {id}: expected a disk with a file system, without a mount point, that can be written"
    )]
    UnfitRoot { id: String },
}

impl Request {
    /// The host's half.
    pub(crate) fn drive(&self, format: Format) -> Drive {
        Drive { cache: self.cache, format, read_only: self.read_only }
    }
}

/// All disks in the spec, in the order of its mounts, then of its devices.
pub(crate) fn requests(spec: &Value) -> Result<Vec<Request>, DiskError> {
    let list = |pointer: &str| spec.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let mut requests = Vec::new();
    for mount in list("/mounts").filter(|mount| is_bind(mount)) {
        let Some(destination) = disk_path(mount, "destination") else { continue };
        let source = Source::File(mount["source"].as_str().unwrap_or_default().to_owned());
        let is_ro = mount["options"].as_array().is_some_and(|options| options.contains(&json!("ro")));
        requests.push(parse(destination, source, is_ro)?);
    }
    for device in list("/linux/devices") {
        let Some(destination) = disk_path(device, "path") else { continue };
        if device["type"] != "b" {
            return Err(DiskError::NotBlock { destination: destination.to_owned() });
        }
        requests.push(parse(destination, Source::Device, !is_writable(spec, device))?);
    }
    if requests.len() > MAX_DISKS {
        return Err(DiskError::TooMany { count: requests.len() });
    }
    for (number, request) in requests.iter().enumerate() {
        if requests[..number].iter().any(|other| other.disk.id == request.disk.id) {
            return Err(DiskError::Twice { id: request.disk.id.clone() });
        }
    }
    Ok(requests)
}

/// Where in the container a disk's files will be, besides those of the image.
pub(crate) fn mount_points(requests: &[Request]) -> impl Iterator<Item = &str> {
    requests.iter().filter_map(|request| request.disk.mount_point.as_deref())
}

/// The guest's half.
pub(super) fn disks(requests: &[Request]) -> Vec<Disk> {
    requests.iter().map(|request| request.disk.clone()).collect()
}

/// Checks the choice of a root disk.
pub(super) fn root_disk(
    requests: &[Request],
    id: &str,
    exclude: &[String],
    is_read_only: bool,
) -> Result<RootDisk, DiskError> {
    let number = requests.iter().position(|request| request.disk.id == id);
    let number = number.ok_or_else(|| DiskError::NoRoot { id: id.to_owned() })?;
    let Request { disk, read_only, .. } = &requests[number];
    if disk.file_system.is_none() || disk.mount_point.is_some() || *read_only {
        return Err(DiskError::UnfitRoot { id: id.to_owned() });
    }
    Ok(RootDisk { disk: number, exclude: exclude.to_vec(), read_only: is_read_only })
}

/// Moves the disks to where the proxy looks for them. A mount point among them would be a file that has files below it.
pub(super) fn move_aside(spec: &mut Value) {
    let mut number = 0;
    let mut next = || {
        number += 1;
        json!(disk::host_node(number - 1))
    };
    for (list, name) in [("/mounts", "destination"), ("/linux/devices", "path")] {
        for item in spec.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if disk_path(item, name).is_some() && (name == "path" || is_bind(item)) {
                item[name] = next();
            }
        }
    }
}

/// Whether a destination is that of a disk.
pub(super) fn is_disk(destination: &str) -> bool {
    destination.starts_with(PREFIX) || destination.starts_with(OLDER_PREFIX)
}

fn disk_path<'a>(item: &'a Value, name: &str) -> Option<&'a str> {
    item[name].as_str().filter(|path| is_disk(path))
}

fn is_bind(mount: &Value) -> bool {
    mount["type"] == "bind"
}

/// Docker's `--device HOST:CONTAINER:r` is a rule of the device control group.
fn is_writable(spec: &Value, device: &Value) -> bool {
    let rules = spec.pointer("/linux/resources/devices").and_then(Value::as_array).into_iter().flatten();
    let of_device = |rule: &&Value| {
        ["type", "major", "minor"].iter().all(|name| rule[*name] == device[*name]) && rule["allow"] == true
    };
    rules.filter(of_device).any(|rule| rule["access"].as_str().is_none_or(|access| access.contains('w')))
}

fn parse(destination: &str, source: Source, read_only: bool) -> Result<Request, DiskError> {
    let form = || DiskError::Form { destination: destination.to_owned() };
    let plain = Path::new(destination).components().all(|part| !matches!(part, Component::ParentDir));
    if !plain || destination.contains(char::is_control) {
        return Err(form());
    }
    let newer = destination.strip_prefix(PREFIX);
    let mut parts = newer.or(destination.strip_prefix(OLDER_PREFIX)).ok_or_else(form)?.split('/');
    let id = newer.and_then(|_| parts.next());
    let cache = cache(destination, parts.next().ok_or_else(form)?)?;
    let kind = parts.next().filter(|kind| !kind.is_empty());
    let rest: Vec<&str> = parts.filter(|part| !part.is_empty() && *part != ".").collect();
    let file_system = kind.map(|kind| file_system(destination, kind)).transpose()?.flatten();
    let older_id = rest.join("-");
    let (id, mount_point) = match (id, file_system) {
        (Some(_), None) if !rest.is_empty() => return Err(form()),
        (None, _) if rest.is_empty() => return Err(form()),
        (Some(id), _) => (id, (!rest.is_empty()).then(|| format!("/{}", rest.join("/")))),
        (None, None) => (older_id.as_str(), None),
        (None, Some(_)) => (older_id.as_str(), Some(format!("/{}", rest.join("/")))),
    };
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // The older form has no id: one is made of the mount point, whatever characters that has.
    let is_made = newer.is_none() && mount_point.is_some();
    let id = match is_made {
        true => id
            .chars()
            .map(|c| if c.is_ascii() && is_id(c as u8) { c } else { '_' })
            .take(MAX_ID_BYTES)
            .collect(),
        false => id.to_owned(),
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.starts_with('.') || !id.bytes().all(is_id) {
        return Err(DiskError::Id { destination: destination.to_owned(), found: id });
    }
    let disk = Disk { id, read_only, file_system, mount_point };
    Ok(Request { destination: destination.to_owned(), source, cache, read_only, disk })
}

fn cache(destination: &str, name: &str) -> Result<Cache, DiskError> {
    Ok(match name {
        "writeback" => Cache::Writeback,
        "writethrough" => Cache::Writethrough,
        "none" => Cache::None,
        "unsafe" => Cache::Unsafe,
        _ => return Err(DiskError::Cache { destination: destination.to_owned(), found: name.to_owned() }),
    })
}

fn file_system(destination: &str, name: &str) -> Result<Option<FileSystem>, DiskError> {
    Ok(Some(match name {
        "none" => return Ok(None),
        "ext2" => FileSystem::Ext2,
        "ext3" => FileSystem::Ext3,
        "ext4" => FileSystem::Ext4,
        "xfs" => FileSystem::Xfs,
        "btrfs" => FileSystem::Btrfs,
        _ => {
            return Err(DiskError::FileSystem {
                destination: destination.to_owned(),
                found: name.to_owned(),
            });
        }
    }))
}

#[cfg(test)]
#[path = "disks/tests.rs"]
mod tests;
