//! Tests of the chain: a small archive in a cache and a bundle made of it, with each link broken once.

use super::*;
use crate::archive::IndexRecord;
use crate::cpio::Cpio;
use crate::openpgp::fixture;
use crate::release_file::iso_date;
use pgp::composed::{ArmorOptions, SignedPublicKey};
use pgp::types::KeyDetails;
use runq_bundle::digest::sha256;
use runq_bundle::manifest::{Entry, EntryKind, FORMAT, PRODUCT};
use serde_json::json;
use std::io::Write;
use tempfile::TempDir;

const URL: &str = "http://archive.test/debian";
const LIBRARY: &[u8] = b"a library";

/// All links, whole; tests break one and look what is said.
struct Chain {
    folder: TempDir,
    cache: Cache,
    contents: Contents,
    packages: String,
    release: String,
    in_release: String,
    deb: Vec<u8>,
    /// Of the release: now, as it is signed now.
    date: u64,
}

/// As archives write it.
fn date_text(seconds: u64) -> String {
    let iso = iso_date(seconds);
    let (day, time) = iso.trim_end_matches('Z').split_once('T').unwrap();
    let parts: Vec<&str> = day.split('-').collect();
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month: usize = parts[1].parse().unwrap();
    format!("Sat, {} {} {} {time} UTC", parts[2], &months[month * 3 - 3..month * 3], parts[0])
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn deb(version: &str, library: &[u8]) -> Vec<u8> {
    let control = format!("Package: libz\nVersion: {version}\nArchitecture: amd64\n");
    let control = tar(&[("./control", control.as_bytes())]);
    let data = tar(&[("./usr/lib/libz.so.1", library)]);
    let mut archive = ar::Builder::new(Vec::new());
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control[..]), ("data.tar", &data[..])]
    {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn xz(text: &str) -> Vec<u8> {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(text.as_bytes()).unwrap();
    xz.finish().unwrap()
}

impl Chain {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let contents = Contents {
            sha256: sha256(b"bundle"),
            signer: "K".to_owned(),
            manifest: Manifest {
                format: FORMAT,
                product: PRODUCT.to_owned(),
                version: "1".to_owned(),
                sequence: 1,
                host_arch: "x86_64".to_owned(),
                guest_arch: "x86_64".to_owned(),
                build_id: "b".to_owned(),
                distribution: "test".to_owned(),
                created: 0,
                packages: vec![],
                files: vec![Entry {
                    path: "qemu/usr/lib/libz.so.1".to_owned(),
                    kind: EntryKind::File { size: LIBRARY.len() as u64, sha256: sha256(LIBRARY) },
                    mode: 0o644,
                    package: Some("libz".to_owned()),
                }],
                machine: json!({}),
            },
            provenance: None,
            built_in: vec![],
            initrd: Cpio::new().finish(),
        };
        let (packages, release) = (String::new(), String::new());
        let date = pgp::types::Timestamp::now().as_secs().into();
        let deb = deb("1.3", LIBRARY);
        let mut chain =
            Self { folder, cache, contents, packages, release, in_release: String::new(), deb, date };
        chain.packages = format!(
            "Package: libz\nVersion: 1.3\nArchitecture: amd64\nFilename: pool/libz.deb\nSize: {}\nSHA256: {}\n",
            chain.deb.len(),
            sha256(&chain.deb)
        );
        chain.publish();
        chain
    }

    /// Signs by a new key what there is, and makes the bundle say so.
    fn publish(&mut self) {
        let index = xz(&self.packages);
        let (size, digest) = (index.len() as u64, sha256(&index));
        self.release = format!(
            "Suite: trixie\nCodename: trixie\nDate: {}\nSHA256:\n {digest} {size} main/binary-amd64/Packages.xz\n",
            date_text(self.date)
        );
        let key = fixture::key();
        self.in_release = fixture::sign(&key, &self.release, None);
        let public = SignedPublicKey::from(key);
        let signer = format!("{:X}", public.fingerprint());
        let armored = public.to_armored_string(ArmorOptions::default()).unwrap();
        fs_err::write(self.folder.path().join("key.asc"), armored).unwrap();
        self.pin(&signer);
        for content in [&index[..], self.in_release.as_bytes(), &self.deb] {
            self.cache.put(content).unwrap();
        }
        let suite = SuiteRecord {
            archive: URL.to_owned(),
            suite: "trixie".to_owned(),
            date: self.date,
            valid_until: None,
            in_release: sha256(self.in_release.as_bytes()),
            signer,
            index: vec![IndexRecord {
                path: "main/binary-amd64/Packages.xz".to_owned(),
                size,
                sha256: digest,
            }],
        };
        let package = PackageOrigin {
            name: "libz".to_owned(),
            version: "1.3".to_owned(),
            arch: "amd64".to_owned(),
            index: "amd64".to_owned(),
            suite: "trixie".to_owned(),
            source: ("zlib".to_owned(), "1.3".to_owned()),
            url: format!("{URL}/pool/libz.deb"),
            size: self.deb.len() as u64,
            sha256: sha256(&self.deb),
            license: None,
        };
        let PackageOrigin { name, version, arch, sha256, .. } = package.clone();
        self.contents.manifest.packages = vec![Package { name, version, arch, sha256 }];
        self.contents.provenance = Some(Provenance {
            format: 1,
            tool: "test".to_owned(),
            distribution: "test".to_owned(),
            recipe: runq_bundle::digest::sha256(b"recipe"),
            base_image: None,
            suites: vec![suite],
            packages: vec![package],
            needs: [].into(),
            initrd_modules: vec![],
        });
    }

    fn pin(&self, fingerprint: &str) {
        let recipe = format!(
            "distribution = \"test\"\n[[archive]]\nurl = \"{URL}\"\nsuites = [\"trixie\"]\ncomponents = [\"main\"]\n\
             fingerprints = [\"{fingerprint}\"]\nkey_file = \"key.asc\"\n\
             [packages]\nprograms = []\nfirmware = []\nkernel = \"k\"\n"
        );
        fs_err::write(self.recipe(), recipe).unwrap();
    }

    fn recipe(&self) -> std::path::PathBuf {
        self.folder.path().join("test.toml")
    }

    fn suite(&mut self) -> &mut SuiteRecord {
        &mut self.contents.provenance.as_mut().unwrap().suites[0]
    }

    fn package(&mut self) -> &mut PackageOrigin {
        &mut self.contents.provenance.as_mut().unwrap().packages[0]
    }

    fn follow(&self) -> anyhow::Result<Followed> {
        follow(&self.contents, Some(&self.recipe()), Some(self.cache.root()))
    }

    fn refuses(&self, words: &[&str]) {
        let error = format!("{:#}", self.follow().unwrap_err());
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }

    /// Replaces what the cache has under a digest.
    fn replace(&self, old: &[u8], new: &[u8]) {
        let path = self.cache.root().join("sha256").join(sha256(old).to_string());
        fs_err::write(path, new).unwrap();
    }
}

#[test]
fn the_whole_chain_holds() {
    let chain = Chain::new();
    let expected = Followed { suites: 1, packages: 1, files: 1, replayed: true, ..Followed::default() };
    assert_eq!(chain.follow().unwrap(), expected);
    let alone = follow(&chain.contents, Some(&chain.recipe()), None).unwrap();
    assert_eq!(alone, Followed { replayed: false, ..expected });
    assert!(follow(&chain.contents, None, None).unwrap().unknown_recipe);
    assert!(follow(&chain.contents, None, Some(chain.cache.root())).is_err());
}

#[test]
fn altered_downloads_are_named() {
    for link in ["/dists/trixie/InRelease", "binary-amd64/Packages.xz", "/pool/libz.deb"] {
        let chain = Chain::new();
        let index = xz(&chain.packages);
        let old = match link {
            "/dists/trixie/InRelease" => chain.in_release.as_bytes(),
            "/pool/libz.deb" => &chain.deb,
            _ => &index,
        };
        chain.replace(old, b"altered");
        chain.refuses(&["the cache has an altered", link]);
        fs_err::remove_file(chain.cache.root().join("sha256").join(sha256(old).to_string())).unwrap();
        chain.refuses(&["the cache has no", link]);
    }
}

#[test]
fn whose_signature_it_is_is_for_the_recipe_to_say() {
    let chain = Chain::new();
    chain.pin(&"AB".repeat(20));
    chain.refuses(&["suite trixie of http://archive.test/debian was signed by", "pinned are ABAB"]);

    // Whoever writes the provenance may claim what he likes: the signature decides.
    let forged = chain.in_release.replace("main/", "evil/");
    chain.cache.put(forged.as_bytes()).unwrap();
    let mut chain = Chain::new();
    chain.cache.put(forged.as_bytes()).unwrap();
    chain.suite().in_release = sha256(forged.as_bytes());
    chain.refuses(&["cannot verify http://archive.test/debian/dists/trixie/InRelease", "no good signature"]);
}

#[test]
fn what_the_release_does_not_say_is_refused() {
    let mut chain = Chain::new();
    chain.suite().date += 1;
    chain.refuses(&["/dists/trixie/InRelease: the date is", "the bundle says"]);
    let mut chain = Chain::new();
    let other = xz("Package: evil\n");
    chain.cache.put(&other).unwrap();
    chain.suite().index[0].sha256 = sha256(&other);
    chain
        .refuses(&["/dists/trixie/InRelease: main/binary-amd64/Packages.xz is", &sha256(&other).to_string()]);
    let mut chain = Chain::new();
    chain.suite().suite = "sid".to_owned();
    chain.package().suite = "sid".to_owned();
    chain.refuses(&["cannot use http://archive.test/debian/dists/sid/InRelease", "trixie"]);
}

#[test]
fn a_package_that_the_index_does_not_list_is_refused() {
    let mut chain = Chain::new();
    let other = deb("1.3", b"another library");
    chain.cache.put(&other).unwrap();
    let digest = sha256(&other);
    (chain.package().sha256, chain.package().size) = (digest, other.len() as u64);
    chain.contents.manifest.packages[0].sha256 = digest;
    chain.refuses(&["/dists/trixie (amd64) does not list package libz", &digest.to_string()]);
}

#[test]
fn a_package_that_contradicts_its_record_and_files_that_it_does_not_have_are_refused() {
    let mut chain = Chain::new();
    chain.deb = deb("9", LIBRARY);
    chain.packages =
        chain.packages.lines().filter(|line| !line.starts_with("S")).collect::<Vec<_>>().join("\n");
    chain.packages += &format!("\nSize: {}\nSHA256: {}\n", chain.deb.len(), sha256(&chain.deb));
    chain.publish();
    chain.refuses(&["pool/libz.deb", "Version is \"9\"", "\"1.3\""]);

    let mut chain = Chain::new();
    chain.contents.manifest.files[0].mode = 0o755;
    chain.refuses(&["qemu/usr/lib/libz.so.1 is not as package libz has it"]);
    let mut chain = Chain::new();
    chain.contents.manifest.files[0].path = "qemu/usr/lib/libother.so".to_owned();
    chain.refuses(&["qemu/usr/lib/libother.so is not as package libz has it"]);
}

#[test]
fn a_bundle_that_contradicts_itself_is_refused_without_a_cache() {
    let alone = |chain: &Chain| {
        let error = follow(&chain.contents, Some(&chain.recipe()), None).unwrap_err();
        format!("{error:#}")
    };
    let mut chain = Chain::new();
    chain.contents.manifest.files[0].package = Some("evil".to_owned());
    assert!(
        alone(&chain).contains("is of package evil, which the manifest does not list"),
        "{}",
        alone(&chain)
    );
    let mut chain = Chain::new();
    chain.package().sha256 = sha256(b"other");
    assert!(alone(&chain).starts_with("package libz:amd64 is 1.3, SHA-256 "), "{}", alone(&chain));
    let mut chain = Chain::new();
    chain.contents.provenance.as_mut().unwrap().packages.clear();
    assert!(alone(&chain).contains("expected absent"), "{}", alone(&chain));
    let mut chain = Chain::new();
    chain.package().url = "http://elsewhere.test/pool/libz.deb".to_owned();
    assert!(alone(&chain).contains("no suite trixie with packages for amd64"), "{}", alone(&chain));
    let mut chain = Chain::new();
    chain.suite().signer = "CD".repeat(20);
    assert!(alone(&chain).contains("was signed by CDCD"), "{}", alone(&chain));
    let mut chain = Chain::new();
    chain.contents.provenance = None;
    assert!(alone(&chain).contains("does not say where its packages are from"), "{}", alone(&chain));
}

#[test]
fn modules_of_the_initrd_are_those_of_the_package() {
    let mut chain = Chain::new();
    let data = [("./lib/modules/6/kernel/a.ko", &b"module"[..]), ("./usr/lib/libz.so.1", LIBRARY)];
    let control = tar(&[("./control", b"Package: libz\nVersion: 1.3\nArchitecture: amd64\n")]);
    let mut archive = ar::Builder::new(Vec::new());
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control[..]), ("data.tar", &tar(&data)[..])]
    {
        archive.append(&ar::Header::new(name.as_bytes().to_vec(), content.len() as u64), content).unwrap();
    }
    chain.deb = archive.into_inner().unwrap();
    chain.packages =
        chain.packages.lines().filter(|line| !line.starts_with("S")).collect::<Vec<_>>().join("\n");
    chain.packages += &format!("\nSize: {}\nSHA256: {}\n", chain.deb.len(), sha256(&chain.deb));
    chain.publish();
    for (content, good) in [(&b"module"[..], true), (b"modulE", false)] {
        let mut initrd = Cpio::new();
        initrd.file("lib/modules/6/a.ko", 0o644, content);
        chain.contents.initrd = initrd.finish();
        match good {
            true => drop(chain.follow().unwrap()),
            false => chain.refuses(&["module a of qemu/initrd is not what package libz has"]),
        }
    }
}
