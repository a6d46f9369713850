//! The default runtime in `daemon.json`, on texts.

use super::{default_runtime, set_default_runtime};

#[test]
fn setting_and_removing_gives_the_first_bytes_back() {
    for text in [
        "{}",
        "{\n}\n",
        "{\n  \"debug\": true\n}\n",
        "{\"debug\":true}",
        "\u{feff}{\r\n\t\"debug\": true,\r\n\t\"runtimes\": {}\r\n}\r\n",
        "{ \"a\": 1,   \"b\": 12345678901234567890123 }",
    ] {
        let set = set_default_runtime(text, Some("runq")).unwrap();
        assert_eq!(default_runtime(&set).unwrap().as_deref(), Some("runq"), "{set}");
        assert_eq!(set_default_runtime(&set, Some("runq")).unwrap(), set);
        let removed = set_default_runtime(&set, None).unwrap();
        // An object without members keeps no trace of how it was broken into lines.
        let members = |text: &str| text.contains(':');
        assert!(removed == text || !members(text), "{text:?} {removed:?}");
        assert_eq!(default_runtime(&removed).unwrap(), None);
    }
}

#[test]
fn replaces_a_default_where_it_stands() {
    let text = "{\n  \"default-runtime\" : \"nvidia\",\n  \"debug\": true\n}";
    let set = set_default_runtime(text, Some("runq")).unwrap();
    assert_eq!(set, text.replace("nvidia", "runq"));
    assert_eq!(set_default_runtime(&set, Some("nvidia")).unwrap(), text);
}

#[test]
fn a_default_is_none_of_a_file_that_is_empty() {
    assert_eq!(default_runtime("").unwrap(), None);
    assert_eq!(default_runtime(" \n").unwrap(), None);
    assert!(default_runtime("[]").is_err());
}
