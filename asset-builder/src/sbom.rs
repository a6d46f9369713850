//! The bill of materials of a bundle in SPDX 2.3 (JSON): packages with sources and licences, files with hashes, and which file
//! is of which package. Runs on the build machine; the same bundle gives the same bytes.

use crate::copyright::ExtractedLicense;
use crate::layout::Layout;
use crate::provenance::{PackageOrigin, Provenance};
use crate::release_file;
use runq_bundle::digest::sha256;
use runq_bundle::manifest::{Entry, EntryKind};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

/// Its path in the bundle.
pub(crate) const SBOM_NAME: &str = "sbom.spdx.json";

const ROOT: &str = "SPDXRef-Package-runq";
const NO_ASSERTION: &str = "NOASSERTION";

/// The document, without itself. `name` is that of the bundle, `created` seconds since the epoch; `extracted` are the
/// licences without a name of SPDX's.
pub(crate) fn document(
    (name, created): (&str, u64),
    provenance: &Provenance,
    provenance_json: &[u8],
    extracted: &BTreeMap<String, ExtractedLicense>,
    layout: &mut Layout,
) -> Value {
    let ids: BTreeMap<&str, String> = provenance
        .packages
        .iter()
        .zip(1..)
        .map(|(package, n)| (package.name.as_str(), format!("SPDXRef-Package-{n}")))
        .collect();
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)];
    relationships.extend(ids.values().map(|id| relationship(ROOT, "CONTAINS", id)));
    let (mut files, mut sha1s) = (Vec::new(), Vec::new());
    let entries = layout.entries();
    let regular = entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
    for (entry, number) in regular.zip(1..) {
        let id = format!("SPDXRef-File-{number}");
        let sha1 = hex(&layout.digests(&entry.path).map(|digests| digests.sha1).unwrap_or_default());
        files.push(file(entry, &id, &sha1));
        relationships.push(relationship(ROOT, "CONTAINS", &id));
        if let Some(package) = entry.package.as_deref().and_then(|package| ids.get(package)) {
            relationships.push(relationship(&id, "EXPANDED_FROM_ARCHIVE", package));
        }
        sha1s.push(sha1);
    }
    // https://spdx.github.io/spdx-spec/v2.3/package-information/#79-package-verification-code-field
    sha1s.sort();
    let mut packages = vec![root(name, &hex(&Sha1::digest(sha1s.concat())))];
    packages.extend(
        provenance
            .packages
            .iter()
            .map(|origin| package(origin, &ids[origin.name.as_str()], &provenance.distribution)),
    );
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{name}-{}", sha256(provenance_json)),
        "creationInfo": {
            "created": release_file::iso_date(created),
            "creators": [format!("Tool: {}", provenance.tool.replace(' ', "-"))],
        },
        "packages": packages,
        "files": files,
        "hasExtractedLicensingInfos": extracted.iter().map(extracted_license).collect::<Vec<_>>(),
        "relationships": relationships,
    })
}

fn root(name: &str, verification_code: &str) -> Value {
    json!({
        "SPDXID": ROOT,
        "name": name,
        "versionInfo": env!("CARGO_PKG_VERSION"),
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": true,
        "packageVerificationCode": {
            "packageVerificationCodeValue": verification_code,
            "packageVerificationCodeExcludedFiles": [format!("./{SBOM_NAME}")],
        },
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
    })
}

/// A package of the distribution. Its files are not analysed as a whole: a bundle has some of them.
fn package(origin: &PackageOrigin, id: &str, distribution: &str) -> Value {
    let (source, source_version) = &origin.source;
    let license = origin.license.as_deref().unwrap_or(NO_ASSERTION);
    let (vendor, release) = distribution.split_once('-').unwrap_or((distribution, ""));
    let version = origin.version.replace('+', "%2B").replace(':', "%3A");
    let purl = format!(
        "pkg:deb/{vendor}/{}@{version}?arch={}&distro={release}",
        origin.name.replace('+', "%2B"),
        origin.arch
    );
    json!({
        "SPDXID": id,
        "name": origin.name,
        "versionInfo": origin.version,
        "downloadLocation": origin.url,
        "filesAnalyzed": false,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": origin.sha256.to_string() }],
        "sourceInfo": format!("built from source package {source} {source_version}"),
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": license,
        "copyrightText": NO_ASSERTION,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }],
    })
}

fn file(entry: &Entry, id: &str, sha1: &str) -> Value {
    let EntryKind::File { sha256, .. } = &entry.kind else { return Value::Null };
    json!({
        "SPDXID": id,
        "fileName": format!("./{}", entry.path),
        "checksums": [
            { "algorithm": "SHA1", "checksumValue": sha1 },
            { "algorithm": "SHA256", "checksumValue": sha256.to_string() },
        ],
        "licenseConcluded": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
    })
}

fn extracted_license((id, license): (&String, &ExtractedLicense)) -> Value {
    json!({ "licenseId": id, "name": license.name, "extractedText": license.text })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
