//! Shapes of `daemon.json` as they are found in the world. Each goes through install, a second install, an upgrade with other
//! arguments and uninstall, on the disk; whatever is not our entry has to stay as it is, to the byte. What is expected
//! is not written down here but follows from the first bytes, so that a case is one line.

use super::*;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

const NAME: &str = "runq";
const PATH: &str = "/var/lib/runq/runq";

/// Name and bytes. Our own entry, where a case has one, is between `⟦` and `⟧`, which are not part of the file.
const CASES: &[(&str, &str)] = &[
    ("empty file", ""),
    ("one newline", "\n"),
    ("white space of all kinds", " \t\r\n \n"),
    ("byte order mark alone", "\u{feff}"),
    ("byte order mark and newline", "\u{feff}\r\n"),
    ("empty object", "{}"),
    ("empty object with newline", "{}\n"),
    ("empty object with CRLF", "{}\r\n"),
    ("empty object with a space", "{ }\n"),
    ("empty object over two lines", "{\n}\n"),
    ("empty object over three lines", "{\n\n}\n"),
    ("empty object over lines of CRLF", "{\r\n}\r\n"),
    ("blank lines around", "\n\n{\n  \"debug\": true\n}\n\n\n"),
    ("Debian wiki: data root", "{\n  \"data-root\": \"/mnt/docker-data\"\n}\n"),
    ("old graph directory", "{\n    \"graph\": \"/data/docker\",\n    \"storage-driver\": \"overlay2\"\n}"),
    (
        "kubeadm",
        "{\n  \"exec-opts\": [\"native.cgroupdriver=systemd\"],\n  \"log-driver\": \"json-file\",\n  \"log-opts\": {\n    \"max-size\": \"100m\"\n  },\n  \"storage-driver\": \"overlay2\"\n}\n",
    ),
    ("registry mirror", "{\"registry-mirrors\": [\"https://mirror.example.com\"]}\n"),
    ("insecure registry", "{\n\t\"insecure-registries\" : [ \"10.0.0.1:5000\", \"registry.local\" ]\n}\n"),
    (
        "nvidia-ctk",
        "{\n    \"runtimes\": {\n        \"nvidia\": {\n            \"args\": [],\n            \"path\": \"nvidia-container-runtime\"\n        }\n    }\n}",
    ),
    (
        "nvidia as default",
        "{\n    \"default-runtime\": \"nvidia\",\n    \"runtimes\": {\n        \"nvidia\": {\n            \"path\": \"/usr/bin/nvidia-container-runtime\",\n            \"runtimeArgs\": []\n        }\n    }\n}\n",
    ),
    (
        "runsc install",
        "{\n    \"runtimes\": {\n        \"runsc\": {\n            \"path\": \"/usr/local/bin/runsc\",\n            \"runtimeArgs\": [\n                \"--platform=kvm\",\n                \"--debug-log=/tmp/%ID%.log\"\n            ]\n        }\n    }\n}\n",
    ),
    (
        "kata by type",
        "{\n  \"runtimes\": {\n    \"kata\": {\n      \"runtimeType\": \"io.containerd.kata.v2\",\n      \"options\": {\"ConfigPath\": \"/etc/kata/c.toml\"}\n    }\n  }\n}\n",
    ),
    (
        "three others, one a line",
        "{ \"runtimes\": {\n  \"crun\": {\"path\": \"crun\"},\n  \"youki\": {\"path\": \"youki\"},\n  \"kata\": {\"path\": \"kata\"}\n} }\n",
    ),
    (
        "address pools",
        "{\n  \"default-address-pools\": [\n    {\"base\": \"10.1.0.0/16\", \"size\": 24}\n  ]\n}\n",
    ),
    ("hosts", "{\"hosts\":[\"unix:///var/run/docker.sock\",\"tcp://127.0.0.1:2375\"]}"),
    ("live restore", "{\n   \"live-restore\":   true\n}\n"),
    ("DNS", "{\n  \"dns\": [\"8.8.8.8\", \"8.8.4.4\"],\n  \"dns-opts\": [],\n  \"dns-search\": []\n}\n"),
    ("proxies", "{\"proxies\":{\"http-proxy\":\"http://u:p%40@p:3128\",\"no-proxy\":\"*.x,127.0.0.0/8\"}}\n"),
    ("features", "{\"features\":{\"buildkit\":true},\"experimental\":false}"),
    (
        "ulimits",
        "{\n  \"default-ulimits\": {\n    \"nofile\": {\"Name\": \"nofile\", \"Hard\": 64000, \"Soft\": 64000}\n  }\n}\n",
    ),
    ("TLS", "{\n  \"tlsverify\": true,\n  \"tlscacert\": \"/etc/docker/ca.pem\"\n}"),
    ("bridge of its own", "{\"bip\":\"172.26.0.1/16\",\"ipv6\":true,\"fixed-cidr-v6\":\"fd00::/80\"}\n"),
    ("sorted by a program, minified", "{\"debug\":false,\"labels\":[],\"log-level\":\"warn\",\"mtu\":1450}"),
    ("four spaces", "{\n    \"debug\": true,\n    \"mtu\": 1400\n}\n"),
    ("one space", "{\n \"debug\": true\n}\n"),
    ("three spaces", "{\n   \"debug\": true\n}\n"),
    ("eight spaces", "{\n        \"debug\": true\n}\n"),
    ("tabs", "{\n\t\"debug\": true,\n\t\"log-opts\": {\n\t\t\"max-file\": \"3\"\n\t}\n}\n"),
    ("mixed indentation", "{\n\t\"debug\": true,\n    \"mtu\": 1400,\n  \"ipv6\": false\n}\n"),
    ("no indentation", "{\n\"debug\": true,\n\"mtu\": 1400\n}\n"),
    ("brace on the key's line", "{\"debug\": true,\n \"mtu\": 1400}\n"),
    ("comma first", "{ \"debug\": true\n, \"mtu\": 1400\n}\n"),
    ("spaces at line ends", "{  \n  \"debug\": true,   \n  \"mtu\": 1400  \n}  \n"),
    ("space before colons", "{\n  \"debug\" : true ,\n  \"mtu\" :1400\n}\n"),
    (
        "CRLF, tabs",
        "{\r\n\t\"debug\": true,\r\n\t\"runtimes\": {\r\n\t\t\"a\": {\"path\": \"/a\"}\r\n\t}\r\n}\r\n",
    ),
    ("CRLF without the last", "{\r\n  \"debug\": true\r\n}"),
    ("CRLF with byte order mark", "\u{feff}{\r\n  \"debug\": true\r\n}\r\n"),
    ("line ends of both kinds", "{\r\n  \"debug\": true,\n  \"mtu\": 1400\r\n}\n"),
    ("one line, spaced", "{ \"debug\": true, \"mtu\": 1400 }"),
    (
        "unicode, plain and escaped",
        "{\n  \"labels\": [\"ort=Köln\", \"名=日本\", \"\\u00e9\\ud83d\\ude80\"]\n}\n",
    ),
    ("escapes in keys", "{\"l\\u0061bels\":[],\"r\\u0075ntimes\":{\"\\u0061\":{\"path\":\"\\/a\"}}}\n"),
    ("like code in strings", "{\"labels\":[\"a=}{\",\"b=\\\"runtimes\\\":{\",\"c=// /* #\",\"d=\\\\\"]}\n"),
    (
        "our name elsewhere",
        "{\"labels\":[\"runq\"],\"runtimes\":{\"runq-old\":{\"path\":\"/runq\"}},\"runq\":1}\n",
    ),
    ("runtimes elsewhere", "{\"log-opts\":{\"runtimes\":\"x\"},\"debug\":true}\n"),
    ("huge and odd numbers", "{\"a\":123456789012345678901234567890,\"b\":-0,\"c\":1E300,\"d\":0.1}"),
    ("numbers with exponents", "{\"a\":1e2,\"b\":1.50,\"c\":-0.0,\"d\":1E+3,\"e\":9007199254740993}\n"),
    ("null values", "{\n  \"hosts\": null,\n  \"runtimes\": null\n}\n"),
    ("empty runtimes", "{\n  \"runtimes\": {},\n  \"debug\": true\n}\n"),
    ("empty runtimes with a space", "{\"runtimes\":{ }}\n"),
    ("empty runtimes over lines", "{\n  \"runtimes\": {\n  }\n}\n"),
    ("empty runtimes, last, minified", "{\"debug\":true,\"runtimes\":{}}"),
    ("runtime null", "{\"runtimes\":{\"a\":null}}\n"),
    (
        "deep nesting",
        "{\"x\":{\"a\":{\"b\":{\"c\":[{\"d\":[[],{}]}]}}},\"runtimes\":{\"k\":{\"options\":{\"a\":{\"b\":1}}}}}\n",
    ),
    ("a thousand labels", "LABELS"),
    (
        "entry of ours, last",
        "{\n  \"runtimes\": {\n    \"a\": {\"path\": \"/a\"}⟦,\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }⟧\n  }\n}\n",
    ),
    (
        "entry of ours, first",
        "{\n  \"runtimes\": {\n    ⟦\"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    },\n    ⟧\"a\": {\"path\": \"/a\"}\n  }\n}\n",
    ),
    (
        "entry of ours, between",
        "{\"runtimes\":{\"a\":{}⟦,\"runq\":{\"path\":\"/var/lib/runq/runq\"}⟧,\"b\":{}}}",
    ),
    ("entry of ours, alone", "{\"runtimes\":{⟦\"runq\":{\"path\":\"/var/lib/runq/runq\"}⟧}}"),
    (
        "entry with an old path",
        "{\"runtimes\":{\"a\":{}⟦,\"runq\":{\"path\":\"/opt/runq-0.9/runq\",\"runtimeArgs\":[\"--mem\",\"512\"]}⟧}}",
    ),
    (
        "entry with keys of the user's",
        "{\"runtimes\":{\"a\":{}⟦,\"runq\":{\"note\":\"ours\",\"path\":\"/x\",\"runtimeArgs\":[ ]}⟧}}\n",
    ),
    ("entry that is null", "{\n  \"runtimes\": {\n    \"a\": {}⟦,\n    \"runq\": null⟧\n  }\n}\n"),
];

/// What dockerd would not read, or would read otherwise than it looks: text, and where and what the message says.
const REFUSED: &[(&str, &str, &str)] = &[
    ("null", "null", "null where an object is expected, at line 1"),
    ("array", "[{}]", "an array where an object is expected"),
    ("string", "\"runtimes\"", "a string where an object is expected"),
    ("number", "42\n", "a number where an object is expected"),
    ("HTML page", "<!DOCTYPE html>\n<title>404</title>", "line 1 column 1"),
    ("shell syntax", "debug=true\n", "line 1 column 1"),
    ("YAML", "debug: true\nruntimes:\n", "line 1 column 1"),
    ("line comment", "{\n  // comment\n  \"debug\": true\n}\n", "line 2 column 3"),
    ("block comment", "{\n  \"debug\": true /* why */\n}\n", "line 2 column 17"),
    ("hash comment", "{\n# comment\n}\n", "line 2 column 1"),
    ("trailing comma", "{\n  \"debug\": true,\n}\n", "line 3 column 1"),
    ("trailing comma in runtimes", "{\"runtimes\":{\"a\":{},}}", "line 1 column 21"),
    ("missing comma", "{\n  \"debug\": true\n  \"mtu\": 1400\n}\n", "line 3 column 3"),
    ("single quotes", "{'debug': true}", "line 1 column 2"),
    ("bare key", "{debug: true}", "line 1 column 2"),
    ("typographic quotes", "{\u{201c}debug\u{201d}: true}", "line 1 column 2"),
    ("cut off", "{\n  \"debug\": true,\n  \"labels\": [\"a\"", "line 3 column 16"),
    ("closed twice", "{\"debug\":true}}", "line 1 column 15"),
    ("two documents", "{\"debug\":true}\n{\"mtu\":1400}\n", "line 2 column 1"),
    ("text behind", "{}\nEOF\n", "line 2 column 1"),
    ("a second mark", "\u{feff}\u{feff}{}", "line 1"),
    ("NUL behind", "{}\0", "line 1 column 3"),
    ("control character in a string", "{\"labels\":[\"a\tb\"]}", "line 1"),
    ("hexadecimal", "{\"mtu\":0x5dc}", "line 1"),
    ("leading zero", "{\"mtu\":01500}", "line 1"),
    ("leading plus", "{\"mtu\":+1500}", "line 1 column 8"),
    ("NaN", "{\"mtu\":NaN}", "line 1"),
    ("Python's True", "{\"debug\":True}", "line 1 column 10"),
    ("no-break space", "{\u{a0}\"debug\":true}", "line 1 column 2"),
    ("key twice", "{\n  \"debug\": true,\n  \"debug\": false\n}\n", "key \"debug\" is there twice at line 3"),
    (
        "runtimes twice",
        "{\"runtimes\":{\"a\":{}},\n\"runtimes\":{}}",
        "\"runtimes\" is there twice at line 2",
    ),
    ("our entry twice", "{\"runtimes\":{\"runq\":{},\"runq\":{}}}", "\"runq\" is there twice at line 1"),
    ("path twice", "{\"runtimes\":{\"a\":{\"path\":\"/a\",\"path\":\"/b\"}}}", "\"path\" is there twice"),
    ("key twice, escaped", "{\"debug\":true,\"d\\u0065bug\":false}", "key \"debug\" is there twice"),
    (
        "key twice, deep down",
        "{\"log-opts\":{\"a\":\"1\",\n\"a\":\"2\"}}",
        "key \"a\" is there twice at line 2",
    ),
    ("runtimes an array", "{\n  \"runtimes\": [\"runc\"]\n}\n", "line 2 column 14"),
    ("runtimes a string", "{\"runtimes\": \"runc\"}", "line 1 column 19"),
    ("runtimes a boolean", "{\"runtimes\":true}", "line 1 column 16"),
    ("runtime a string", "{\"runtimes\":{\"a\":\"/usr/bin/a\"}}", "line 1 column 29"),
    ("path a number", "{\"runtimes\":{\"a\":{\"path\":1}}}", "line 1 column 26"),
    ("arguments a string", "{\"runtimes\":{\n\"a\":{\"runtimeArgs\":\"--x\"}}}", "line 2 column 24"),
    ("arguments of numbers", "{\"runtimes\":{\"a\":{\"runtimeArgs\":[1]}}}", "line 1 column 34"),
];

/// A directory with one configuration in it.
struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn with(content: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.json");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        Self { path, _directory: directory }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    fn edit(&self, edit: impl FnOnce(&str) -> String) -> String {
        let mut file = ConfigFile::read(&self.path).unwrap();
        let before = self.text();
        let after = edit(&before);
        let backup = file.replace(Some(&after)).unwrap();
        assert_eq!(backup.is_some(), before != after, "a backup of each change and of nothing else");
        assert!(backup.is_none_or(|backup| fs::read_to_string(backup).unwrap() == before));
        assert_eq!(fs::metadata(&self.path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(self.text(), after);
        after
    }

    fn set(&self, args: Option<&[&str]>) -> String {
        let args = args.map(|args| args.iter().map(|arg| (*arg).to_owned()).collect());
        let entry = RuntimeEntry { path: PATH.to_owned(), args };
        self.edit(|text| set_runtime(text, NAME, &entry).unwrap())
    }
}

/// The value of a text as an object, `runtimes` always there; what is no text yet is empty.
fn value(text: &str) -> Value {
    let text = text.trim_start_matches('\u{feff}');
    let text = if text.trim().is_empty() { "{}" } else { text };
    let mut value: Value = serde_json::from_str(text).unwrap();
    if value["runtimes"].is_null() {
        value["runtimes"] = serde_json::json!({});
    }
    value
}

/// The value of a text without our entry.
fn others(text: &str) -> Value {
    let mut value = value(text);
    value["runtimes"].as_object_mut().unwrap().shift_remove(NAME);
    value
}

/// What of `before` was replaced by what: the parts that are left without the common start and end.
fn change<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let mut start = common(before, after);
    while !before.is_char_boundary(start) {
        start -= 1;
    }
    let (before, after) = (&before[start..], &after[start..]);
    let from_end = before.bytes().rev().zip(after.bytes().rev()).take_while(|(a, b)| a == b).count();
    let mut end = from_end;
    while !before.is_char_boundary(before.len() - end) {
        end -= 1;
    }
    (&before[..before.len() - end], &after[..after.len() - end])
}

/// New text has the line ends of the old one.
fn check_line_ends(before: &str, added: &str) {
    if before.contains("\r\n") && !before.replace("\r\n", "").contains('\n') && before.contains('{') {
        assert!(!added.replace("\r\n", "").contains('\n'), "{added:?}");
    }
}

fn live_through(before: &str, our_part: &str) {
    let place = Place::with(before.as_bytes());
    let installed = place.set(None);
    assert_eq!(others(&installed), others(before));
    assert_eq!(value(&installed)["runtimes"][NAME]["path"], PATH);
    let (old, new) = change(before, &installed);
    assert!(our_part.contains(old) || old.trim().is_empty() || old == "null", "{old:?} became {new:?}");
    check_line_ends(before, new);

    let inode = fs::metadata(&place.path).unwrap().ino();
    assert_eq!(place.set(None), installed);
    assert_eq!(fs::metadata(&place.path).unwrap().ino(), inode, "written although nothing changes");

    let upgraded = place.set(Some(&["--accel", "tcg"]));
    assert_eq!(others(&upgraded), others(before));
    assert_eq!(value(&upgraded)["runtimes"][NAME]["runtimeArgs"], serde_json::json!(["--accel", "tcg"]));
    let (_, new) = change(&installed, &upgraded);
    assert!(new.len() < 80, "more than the arguments: {new:?}");
    assert_eq!(place.set(None), upgraded, "without new arguments the old ones stay");

    let removed = place.edit(|text| remove_runtime(text, NAME).unwrap());
    assert_eq!(others(&removed), others(before));
    assert!(value(&removed)["runtimes"].get(NAME).is_none());
    let without_ours = before.replacen(our_part, "", 1);
    let had_runtimes = before.contains("\"runtimes\": {") || before.contains("\"runtimes\":{");
    if had_runtimes && !others(before)["runtimes"].as_object().unwrap().is_empty() {
        assert_eq!(removed, without_ours);
    }
    let (old, new) = change(&without_ours, &removed);
    assert!(old.trim().is_empty() || old == "null", "{old:?} became {new:?}");
}

#[test]
fn every_shape_lives_through_install_upgrade_and_uninstall() {
    assert!(CASES.len() + REFUSED.len() >= 100 && CASES.len() >= 60);
    for (name, text) in CASES {
        let labels: Vec<String> = (0..1000).map(|number| format!("\"l{number}=x\"")).collect();
        let text = text.replace("LABELS", &format!("{{\"labels\": [{}]}}\n", labels.join(",\n  ")));
        let ours =
            text.split_once('⟦').and_then(|(_, rest)| rest.split_once('⟧')).map_or("", |(ours, _)| ours);
        let text = text.replace(['⟦', '⟧'], "");
        let ours = ours.to_owned();
        std::panic::catch_unwind(|| live_through(&text, &ours)).unwrap_or_else(|_| panic!("case {name}"));
    }
}

#[test]
fn every_other_shape_is_refused_with_its_place_and_left_alone() {
    for (name, text, place) in REFUSED {
        let on_disk = Place::with(text.as_bytes());
        let file = ConfigFile::read(&on_disk.path).unwrap();
        let entry = RuntimeEntry { path: PATH.to_owned(), args: None };
        let message = |error: ConfigError| format!("{:#}", anyhow::Error::from(error));
        let error = message(set_runtime(file.text().unwrap(), NAME, &entry).unwrap_err());
        assert!(error.contains(place), "{name}: {error}");
        let error = message(remove_runtime(file.text().unwrap(), NAME).unwrap_err());
        assert!(error.contains(place), "{name}: {error}");
        assert_eq!(on_disk.text(), *text, "{name}");
    }
}

#[test]
fn other_encodings_are_refused_with_their_place() {
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&str, &[u8], &str); 4] = [
        ("Latin-1", b"{\n  \"labels\": [\"ort=K\xf6ln\"]\n}\n", "line 2 column 20"),
        ("UTF-16", &utf16, "line 1 column 1"),
        ("cut in a character", b"{\"a\":\"\xe6\x97", "line 1 column 7"),
        ("compressed", b"\x1f\x8b\x08\x00", "line 1 column 2"),
    ];
    for (name, bytes, place) in cases {
        let error = ConfigFile::read(&Place::with(bytes).path).unwrap_err().to_string();
        assert!(error.contains(place), "{name}: {error}");
    }
}
