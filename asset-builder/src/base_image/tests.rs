//! Tests of base images: a layout, archives of both forms and a registry, all with the same two layers.

use super::*;
use crate::deb::MemberKind;
use bytes::Bytes;
use runq_bundle::digest::sha256;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Plain layers: the second one hides `usr/bin/hidden` and what the first one has in `opt`, and has a file where the first
/// one has a directory.
fn layers() -> [Vec<u8>; 2] {
    let status = "Package: libz\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.3\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
                  Package: half\nStatus: install ok half-installed\nArchitecture: amd64\nVersion: 1\n";
    let first = tar(&[
        ("var/lib/dpkg/status", status.as_bytes()),
        ("var/lib/dpkg/info/libz:amd64.list", b"/.\n/lib\n/lib/libz.so.1\n/usr/share/doc/libz/copyright\n"),
        ("var/lib/dpkg/info/half.list", b"/lib/libz.so.1\n"),
        ("lib/libz.so.1", b"z"),
        ("bin/hidden", b"x"),
        ("opt/old", b"x"),
        ("srv/a/b", b"x"),
    ]);
    let mut second = tar::Builder::new(Vec::new());
    let mut fifo = tar::Header::new_gnu();
    fifo.set_entry_type(tar::EntryType::Fifo);
    fifo.set_size(0);
    second.append_data(&mut fifo, "run/fifo", &[][..]).unwrap();
    let more =
        tar(&[("usr/bin/.wh.hidden", b""), ("opt/.wh..wh..opq", b""), ("opt/new", b"y"), ("srv/a", b"f")]);
    [first, [second.into_inner().unwrap()[..512].to_vec(), more].concat()]
}

/// Blobs by digest, and the digest of the index.
fn blobs(architecture: &str) -> (HashMap<String, Vec<u8>>, String) {
    let mut blobs = HashMap::new();
    let mut put = |content: Vec<u8>| {
        let (digest, size) = (format!("sha256:{}", sha256(&content)), content.len());
        blobs.insert(digest.clone(), content);
        json!({ "digest": digest, "size": size })
    };
    let [first, second] = layers();
    let diff_ids = [&first, &second].map(|layer| format!("sha256:{}", sha256(layer)));
    let config = json!({ "os": "linux", "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put(config.to_string().into_bytes());
    let mut first = put(zstd::encode_all(&first[..], 1).unwrap());
    first["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&second).unwrap();
    let mut second = put(gzip.finish().unwrap());
    second["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    let mut manifest = put(json!({ "config": config, "layers": [first, second] }).to_string().into_bytes());
    manifest["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let foreign =
        json!({ "digest": "sha256:00", "size": 1, "platform": { "os": "linux", "architecture": "s390x" } });
    let unknown = json!({ "digest": "sha256:01", "size": 1, "platform": { "os": "unknown", "architecture": "unknown" } });
    let index = put(json!({ "manifests": [foreign, unknown, manifest] }).to_string().into_bytes());
    let digest = index["digest"].as_str().unwrap().to_owned();
    (blobs, digest)
}

fn layout(architecture: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    let (blobs, index) = blobs(architecture);
    for (digest, content) in &blobs {
        fs_err::write(folder.path().join("blobs").join(digest.replace(':', "/")), content).unwrap();
    }
    fs_err::write(folder.path().join("index.json"), &blobs[&index]).unwrap();
    folder
}

fn load(source: &str, arch: &str) -> Result<BaseImage, BaseImageError> {
    let folder = tempfile::tempdir().unwrap();
    load_cached(source, arch, folder.path())
}

fn load_cached(source: &str, arch: &str, cache: &Path) -> Result<BaseImage, BaseImageError> {
    let cache = Cache::open(cache).unwrap();
    let source: ImageSource = source.parse().unwrap();
    BaseImage::load(&source, arch, (&Network::default(), &cache), &Progress::new(true)).map(Option::unwrap)
}

fn record(name: &str, version: &str) -> PackageRecord {
    let text = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: x\nSize: 0\nSHA256: {}\n",
        sha256(b"")
    );
    let mut index = crate::package_index::PackageIndex::default();
    index.add(("http://a", "trixie"), &text).unwrap();
    index.package(name).unwrap().clone()
}

fn expect_image(image: &BaseImage) {
    let paths: Vec<_> = image.files.paths().filter(|path| !path.starts_with("var")).collect();
    assert_eq!(paths, ["opt/new", "srv/a", "usr/lib/libz.so.1"]);
    let members = image.members(&record("libz", "1.3")).unwrap();
    let kind = MemberKind::File { content: Bytes::from_static(b"z"), executable: false };
    assert_eq!(members, [Member { path: "usr/lib/libz.so.1".to_owned(), kind }]);
}

#[test]
fn gives_the_files_of_packages_that_are_installed_in_the_wanted_version() {
    let layout = layout("amd64");
    let image = load(layout.path().to_str().unwrap(), "amd64").unwrap();
    expect_image(&image);
    assert_eq!(image.members(&record("libz", "1.3.1")), None);
    assert_eq!(image.members(&record("gone", "1")), None);
    assert_eq!(image.members(&record("half", "1")), None);
}

#[test]
fn reads_archives_of_docker_save_in_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let name = path.to_str().unwrap();
    let (blobs, index) = blobs("amd64");
    let blob_paths: Vec<_> =
        blobs.keys().map(|digest| format!("blobs/{}", digest.replace(':', "/"))).collect();
    let mut parts: Vec<(&str, &[u8])> =
        blob_paths.iter().map(String::as_str).zip(blobs.values().map(Vec::as_slice)).collect();
    parts.push(("index.json", &blobs[&index]));
    fs_err::write(&path, tar(&parts)).unwrap();
    expect_image(&load(name, "amd64").unwrap());
    expect_image(&load(&format!("{name}@{index}"), "amd64").unwrap());
    assert!(load(&format!("{name}@sha256:{}", "0".repeat(64)), "amd64").is_err());

    let [first, second] = layers();
    let diff_ids = [&first, &second].map(|layer| format!("sha256:{}", sha256(layer)));
    let config =
        json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": diff_ids } }).to_string();
    let config_name = format!("{}.json", sha256(config.as_bytes()));
    let manifest =
        json!([{ "Config": config_name, "RepoTags": ["a:b"], "Layers": ["a/layer.tar", "b/layer.tar"] }])
            .to_string();
    let old = |second: &[u8]| {
        tar(&[
            ("a/layer.tar", &first),
            ("b/layer.tar", second),
            (&config_name, config.as_bytes()),
            ("manifest.json", manifest.as_bytes()),
        ])
    };
    // Compressed, as `docker save | zstd` leaves it.
    fs_err::write(&path, zstd::encode_all(&old(&second)[..], 1).unwrap()).unwrap();
    let image = load(name, "amd64").unwrap();
    expect_image(&image);
    assert_eq!(image.digest(), format!("sha256:{}", sha256(config.as_bytes())));
    assert!(matches!(load(name, "s390x"), Err(BaseImageError::NoImage { .. })));
    fs_err::write(&path, old(&first)).unwrap();
    assert!(matches!(load(name, "amd64"), Err(BaseImageError::Contents(LayerError::Mismatch { .. }))));
}

#[test]
fn refuses_other_architectures_and_altered_blobs() {
    let layout_folder = layout("amd64");
    let name = layout_folder.path().to_str().unwrap();
    let error = load(name, "riscv64").err().unwrap().to_string();
    assert_eq!(error, "there is no image for linux/riscv64, found linux/s390x, unknown/unknown, linux/amd64");
    let (_, index) = blobs("amd64");
    for blob in fs_err::read_dir(layout_folder.path().join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        if index.ends_with(path.file_name().unwrap().to_str().unwrap()) {
            continue;
        }
        let content = fs_err::read(&path).unwrap();
        fs_err::write(&path, [&content[..], b" "].concat()).unwrap();
        let error = load(name, "amd64").err().unwrap();
        assert!(matches!(error, BaseImageError::Mismatch { .. } | BaseImageError::Contents(_)), "{error:?}");
        fs_err::write(&path, content).unwrap();
    }
    // An index that lies about what a manifest is for.
    let lying = layout("s390x");
    assert!(matches!(load(lying.path().to_str().unwrap(), "amd64"), Err(BaseImageError::NoImage { .. })));
}

/// A registry with one image, that lists what it was asked for. `cut` bytes of each layer are missing the first time.
fn registry(blobs: HashMap<String, Vec<u8>>, index: String, cut: usize) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let Some(request) = lines.next() else { continue };
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut headers = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().into_iter();
            let range = headers.find_map(|line| {
                line.to_lowercase().strip_prefix("range: bytes=")?.split('-').next()?.parse().ok()
            });
            let name = path.rsplit('/').next().unwrap_or_default();
            let digest = if name == "tag" { index.as_str() } else { name };
            let again = log.lock().unwrap().contains(&path);
            log.lock().unwrap().push(path.clone());
            let answer = |status: &str, more: &str, length: usize, body: &[u8]| {
                write!(
                    &stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
                )
                .unwrap();
                drop((&stream).write_all(body));
            };
            match (blobs.get(digest), range) {
                (Some(blob), Some(start)) => {
                    let start: usize = start;
                    let more = format!("Content-Range: bytes {start}-{}/{}\r\n", blob.len() - 1, blob.len());
                    answer("206 Partial Content", &more, blob.len() - start, &blob[start..]);
                }
                (Some(blob), None) if path.contains("/blobs/") && !again && cut < blob.len() => {
                    answer("200 OK", "", blob.len(), &blob[..blob.len() - cut]);
                }
                (Some(blob), None) => {
                    let more = format!(
                        "Docker-Content-Digest: {digest}\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n"
                    );
                    answer("200 OK", &more, blob.len(), blob);
                }
                (None, _) => answer(if path == "/v2/" { "200 OK" } else { "404 Not Found" }, "", 2, b"{}"),
            }
        }
    });
    (address, asked)
}

#[test]
fn pulls_from_a_registry_what_the_cache_lacks_and_goes_on_after_a_break() {
    let (blobs, index) = blobs("amd64");
    let (address, asked) = registry(blobs, index.clone(), 40);
    let folder = tempfile::tempdir().unwrap();
    expect_image(&load_cached(&format!("{address}/a/b:tag"), "amd64", folder.path()).unwrap());
    let first = asked.lock().unwrap().len();
    // Pinned and in the cache: nobody is asked.
    let pinned = format!("{address}/a/b@{index}");
    expect_image(&load_cached(&pinned, "amd64", folder.path()).unwrap());
    assert_eq!(asked.lock().unwrap().len(), first);
    let missing = load(&format!("{address}/a/b:missing"), "amd64").err().unwrap();
    assert!(matches!(missing, BaseImageError::Registry(RegistryError::Status { .. })), "{missing:?}");
    let foreign = load(&pinned, "s390x").err().unwrap();
    assert!(matches!(foreign, BaseImageError::Digest { .. } | BaseImageError::Registry(_)), "{foreign:?}");
}

#[test]
fn refuses_a_layer_that_a_registry_altered() {
    let (mut blobs, index) = blobs("amd64");
    let layer = blobs.iter_mut().find(|(_, content)| content.starts_with(&[0x28, 0xb5])).unwrap().1;
    let last = layer.len() - 1;
    layer[last] ^= 1;
    let (address, _) = registry(blobs, index, usize::MAX);
    let error = load(&format!("{address}/a/b:tag"), "amd64").err().unwrap();
    assert!(matches!(error, BaseImageError::Registry(_)), "{error:?}");
}
