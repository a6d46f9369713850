//! Table tests of the edits: every case names a shape of `daemon.json` as it is found in the world and the bytes
//! that it becomes. Removing what was added has to give the first bytes again, unless `runtimes` itself was added.

use super::*;

const PATH: &str = "/var/lib/runq/runq";

fn entry(args: Option<&[&str]>) -> RuntimeEntry {
    let args = args.map(|args| args.iter().map(|&arg| arg.to_owned()).collect());
    RuntimeEntry { path: PATH.to_owned(), args }
}

fn set(text: &str) -> String {
    set_runtime(text, "runq", &entry(None)).unwrap()
}

/// Before and after, by name.
const ADDED: &[(&str, &str, &str)] = &[
    (
        "missing",
        "",
        "{\n    \"runtimes\": {\n        \"runq\": {\n            \"path\": \"/var/lib/runq/runq\"\n        }\n    }\n}\n",
    ),
    (
        "white space",
        " \n\t",
        "{\n    \"runtimes\": {\n        \"runq\": {\n            \"path\": \"/var/lib/runq/runq\"\n        }\n    }\n}\n",
    ),
    (
        "mark alone",
        "\u{feff}",
        "\u{feff}{\n    \"runtimes\": {\n        \"runq\": {\n            \"path\": \"/var/lib/runq/runq\"\n        }\n    }\n}\n",
    ),
    (
        "empty object",
        "{}",
        "{\n    \"runtimes\": {\n        \"runq\": {\n            \"path\": \"/var/lib/runq/runq\"\n        }\n    }\n}",
    ),
    (
        "empty object over lines",
        "{\n}\n",
        "{\n    \"runtimes\": {\n        \"runq\": {\n            \"path\": \"/var/lib/runq/runq\"\n        }\n    }\n}\n",
    ),
    ("minified", r#"{"debug":true}"#, r#"{"debug":true,"runtimes":{"runq":{"path":"/var/lib/runq/runq"}}}"#),
    (
        "minified, nested",
        r#"{"a":{"b":[1]},"runtimes":{}}"#,
        r#"{"a":{"b":[1]},"runtimes":{"runq":{"path":"/var/lib/runq/runq"}}}"#,
    ),
    (
        "one line, spaced",
        "{ \"debug\": true }\n",
        "{ \"debug\": true, \"runtimes\":{\"runq\":{\"path\":\"/var/lib/runq/runq\"}} }\n",
    ),
    (
        "two spaces",
        "{\n  \"debug\": true\n}\n",
        "{\n  \"debug\": true,\n  \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}\n",
    ),
    (
        "tabs",
        "{\n\t\"debug\": true\n}\n",
        "{\n\t\"debug\": true,\n\t\"runtimes\": {\n\t\t\"runq\": {\n\t\t\t\"path\": \"/var/lib/runq/runq\"\n\t\t}\n\t}\n}\n",
    ),
    (
        "CRLF",
        "{\r\n  \"debug\": true\r\n}\r\n",
        "{\r\n  \"debug\": true,\r\n  \"runtimes\": {\r\n    \"runq\": {\r\n      \"path\": \"/var/lib/runq/runq\"\r\n    }\r\n  }\r\n}\r\n",
    ),
    (
        "no final newline",
        "{\n  \"debug\": true\n}",
        "{\n  \"debug\": true,\n  \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}",
    ),
    (
        "mark",
        "\u{feff}{\"debug\":true}",
        "\u{feff}{\"debug\":true,\"runtimes\":{\"runq\":{\"path\":\"/var/lib/runq/runq\"}}}",
    ),
    (
        "unicode",
        "{\n  \"labels\": [\"ort=Köln\", \"日本\", \"\\u00e9\"]\n}\n",
        "{\n  \"labels\": [\"ort=Köln\", \"日本\", \"\\u00e9\"],\n  \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}\n",
    ),
    (
        "number text",
        "{\"a\":18446744073709551616,\"b\":1.0e+2,\"c\":-0.10}",
        "{\"a\":18446744073709551616,\"b\":1.0e+2,\"c\":-0.10,\"runtimes\":{\"runq\":{\"path\":\"/var/lib/runq/runq\"}}}",
    ),
    (
        "no indentation",
        "{\n\"debug\": true\n}\n",
        "{\n\"debug\": true,\n\"runtimes\": {\n        \"runq\": {\n            \"path\": \"/var/lib/runq/runq\"\n        }\n    }\n}\n",
    ),
    (
        "odd spacing",
        "{\n  \"debug\" :true ,\n    \"tls\":   false   \n}",
        "{\n  \"debug\" :true ,\n    \"tls\":   false,\n    \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }   \n}",
    ),
    (
        "default runtime",
        "{\n  \"default-runtime\": \"runc\"\n}\n",
        "{\n  \"default-runtime\": \"runc\",\n  \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}\n",
    ),
    (
        "empty runtimes",
        "{\n  \"runtimes\": {},\n  \"debug\": true\n}\n",
        "{\n  \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  },\n  \"debug\": true\n}\n",
    ),
    (
        "empty runtimes over lines",
        "{\n  \"runtimes\": {\n  }\n}\n",
        "{\n  \"runtimes\": {\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}\n",
    ),
    (
        "other runtime",
        "{\n  \"runtimes\": {\n    \"nvidia\": {\n      \"path\": \"nvidia-container-runtime\",\n      \"runtimeArgs\": []\n    }\n  }\n}\n",
        "{\n  \"runtimes\": {\n    \"nvidia\": {\n      \"path\": \"nvidia-container-runtime\",\n      \"runtimeArgs\": []\n    },\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}\n",
    ),
    (
        "other runtime, one line each",
        "{\n  \"runtimes\": {\n    \"crun\": {\"path\": \"/usr/bin/crun\"}\n  }\n}\n",
        "{\n  \"runtimes\": {\n    \"crun\": {\"path\": \"/usr/bin/crun\"},\n    \"runq\": {\n      \"path\": \"/var/lib/runq/runq\"\n    }\n  }\n}\n",
    ),
    (
        "runtimes in the middle",
        "{\"runtimes\":{\"a\":{\"path\":\"/a\"}},\"z\":[]}",
        "{\"runtimes\":{\"a\":{\"path\":\"/a\"},\"runq\":{\"path\":\"/var/lib/runq/runq\"}},\"z\":[]}",
    ),
    ("runtimes null", "{\"runtimes\":null}", "{\"runtimes\":{\"runq\":{\"path\":\"/var/lib/runq/runq\"}}}"),
    (
        "escaped key",
        "{\"r\\u0075ntimes\":{}}",
        "{\"r\\u0075ntimes\":{\"runq\":{\"path\":\"/var/lib/runq/runq\"}}}",
    ),
    (
        "braces in strings",
        "{\"labels\":[\"}{\\\"\",\"//\",\"/*\"]}",
        "{\"labels\":[\"}{\\\"\",\"//\",\"/*\"],\"runtimes\":{\"runq\":{\"path\":\"/var/lib/runq/runq\"}}}",
    ),
    (
        "like our name",
        "{\"runtimes\":{\"runq2\":{\"path\":\"/x\"}}}",
        "{\"runtimes\":{\"runq2\":{\"path\":\"/x\"},\"runq\":{\"path\":\"/var/lib/runq/runq\"}}}",
    ),
];

#[test]
fn adds_the_entry_and_keeps_every_other_byte() {
    for (name, before, after) in ADDED {
        assert_eq!(set(before), *after, "{name}");
    }
}

#[test]
fn adding_twice_changes_nothing() {
    for (name, before, _) in ADDED {
        let once = set(before);
        assert_eq!(set(&once), once, "{name}");
    }
}

#[test]
fn removing_restores_the_bytes_where_runtimes_had_others() {
    for name in [
        "other runtime",
        "other runtime, one line each",
        "runtimes in the middle",
        "like our name",
        "minified, nested",
    ] {
        let (_, before, after) = ADDED.iter().find(|case| case.0 == name).unwrap();
        assert_eq!(remove_runtime(after, "runq").unwrap(), *before, "{name}");
    }
}

#[test]
fn removing_keeps_an_empty_runtimes_and_every_other_byte() {
    let cases = [
        ("{\"debug\":true,\"runtimes\":{\"runq\":{}}}", "{\"debug\":true,\"runtimes\":{}}"),
        ("{\n  \"runtimes\": {\n    \"runq\": {}\n  }\n}\n", "{\n  \"runtimes\": {}\n}\n"),
        (
            "{\n  \"runtimes\": {\n    \"runq\": {},\n    \"a\": {}\n  }\n}\n",
            "{\n  \"runtimes\": {\n    \"a\": {}\n  }\n}\n",
        ),
        (
            "{\n  \"runtimes\": {\n    \"a\": {},\n    \"runq\": {},\n    \"b\": {}\n  }\n}\n",
            "{\n  \"runtimes\": {\n    \"a\": {},\n    \"b\": {}\n  }\n}\n",
        ),
        ("{\"debug\":true}", "{\"debug\":true}"),
        ("", ""),
        ("{\"runtimes\":{\"a\":{}}}", "{\"runtimes\":{\"a\":{}}}"),
    ];
    for (before, after) in cases {
        assert_eq!(remove_runtime(before, "runq").unwrap(), after);
    }
}

#[test]
fn refuses_to_remove_the_default_runtime() {
    let text = r#"{"default-runtime":"runq","runtimes":{"runq":{}}}"#;
    assert!(matches!(remove_runtime(text, "runq"), Err(ConfigError::DefaultRuntime { .. })));
}

#[test]
fn changes_an_entry_of_ours_in_place() {
    let cases: [(&str, Option<&[&str]>, &str); 7] = [
        (r#"{"path":"/old","x":1}"#, None, r#"{"path":"/var/lib/runq/runq","x":1}"#),
        (
            r#"{"path": "/old", "runtimeArgs": ["--mem","512"]}"#,
            None,
            r#"{"path": "/var/lib/runq/runq", "runtimeArgs": ["--mem","512"]}"#,
        ),
        (r#"{"runtimeArgs":[]}"#, None, r#"{"runtimeArgs":[],"path":"/var/lib/runq/runq"}"#),
        (
            r#"{"path":"/old","runtimeArgs":["a"]}"#,
            Some(&["--cpu", "2"]),
            r#"{"path":"/var/lib/runq/runq","runtimeArgs":["--cpu","2"]}"#,
        ),
        (r#"{"path":"/old"}"#, Some(&["--cpu"]), r#"{"path":"/var/lib/runq/runq","runtimeArgs":["--cpu"]}"#),
        (r#"null"#, None, r#"{"path":"/var/lib/runq/runq"}"#),
        (
            r#"{"path":"/var/lib/runq/runq","runtimeArgs":[ "--cpu" ]}"#,
            Some(&["--cpu"]),
            r#"{"path":"/var/lib/runq/runq","runtimeArgs":[ "--cpu" ]}"#,
        ),
    ];
    for (before, args, after) in cases {
        let text = |entry: &str| format!("{{\"runtimes\":{{\"runq\":{entry},\"z\":{{}}}}}}");
        assert_eq!(set_runtime(&text(before), "runq", &entry(args)).unwrap(), text(after));
    }
}

#[test]
fn writes_arguments_on_one_line() {
    let text = set_runtime("", "runq", &entry(Some(&["--accel", "tcg"]))).unwrap();
    assert!(text.contains("\n            \"path\": \"/var/lib/runq/runq\",\n            \"runtimeArgs\": [\"--accel\", \"tcg\"]\n"), "{text}");
}

#[test]
fn refuses_what_dockerd_would_not_read_and_says_where() {
    let cases = [
        ("{\"a\":1} x", "line 1 column 9"),
        ("{\n  \"a\": 1,\n}", "line 3 column 1"),
        ("{ // comment\n}", "line 1 column 3"),
        ("{\n  \"a\": 1,\n  \"a\": 2\n}", "key \"a\" is there twice at line 3 column 5"),
        ("{\"a\":{\"b\":1,\n\"b\":1}}", "key \"b\" is there twice at line 2"),
        ("{\"runtimes\":{},\"r\\u0075ntimes\":{}}", "twice at line 1"),
        ("{\n  \"runtimes\": []\n}", "line 2 column 14"),
        ("{\"runtimes\":\"runc\"}", "line 1 column 18"),
        ("{\"runtimes\":{\"a\":1}}", "line 1 column 18"),
        ("{\"runtimes\":{\"runq\":{\"path\":7}}}", "line 1"),
        ("{\"runtimes\":{\"runq\":{\"runtimeArgs\":\"--cpu\"}}}", "line 1"),
        ("[]", "an array where an object is expected, at line 1"),
        ("null", "null where an object is expected, at line 1"),
        ("\"\u{1}\"", "line 1"),
        ("{'a':1}", "line 1 column 2"),
        ("{a:1}", "line 1 column 2"),
        ("{\"a\":0x10}", "line 1"),
        ("{\"a\":1 \"b\":2}", "line 1"),
        ("{", "line 1 column 1"),
    ];
    for (text, position) in cases {
        let error = set_runtime(text, "runq", &entry(None)).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {source}");
        assert!(message.contains(position), "{text}: {message}");
        assert!(remove_runtime(text, "runq").is_err(), "{text}");
    }
}

#[test]
fn reads_the_entry_that_is_there() {
    let found = runtime_entry(&set("{}"), "runq").unwrap();
    assert_eq!(found, Some(entry(None)));
    assert_eq!(runtime_entry("", "runq").unwrap(), None);
    assert_eq!(runtime_entry("{\"runtimes\":{\"a\":{\"path\":\"/a\"}}}", "runq").unwrap(), None);
}

#[test]
fn words_that_a_shell_would_interpret_are_not_safe() {
    for word in ["--accel", "tcg", "a=b", "/var/lib/runq/runq", "1,2:3@x%y+z"] {
        assert!(is_safe_word(word), "{word}");
    }
    for word in
        ["", "a b", "$HOME", "`id`", "a;b", "a&b", "*", "~", "'", "\"", "\\", "a\nb", "ü", "a#b", "(", "!"]
    {
        assert!(!is_safe_word(word), "{word}");
    }
}
