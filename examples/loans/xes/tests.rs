use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::*;

fn reader(xml: &str) -> XesReader {
    XesReader::new(Cursor::new(xml.as_bytes().to_vec()))
}

fn traces(xml: &str) -> Result<Vec<Trace>, XesError> {
    let mut reader = reader(xml);
    std::iter::from_fn(|| reader.next_trace().transpose()).collect()
}

fn error(xml: &str) -> String {
    traces(xml).unwrap_err().to_string()
}

const LOG: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<!-- a comment with <trace> in it -->
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
  <extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
  <global scope="trace"><string key="concept:name" value="UNKNOWN"/></global>
  <global scope="event">
    <string key="concept:name" value="UNKNOWN"><int key="nested" value="1"/></string>
  </global>
  <classifier name="Activity" keys="concept:name lifecycle:transition"/>
  <float key="meta" value="19.9"><float key="10609" value="2.5"/></float>
  <trace>
    <date key="REG_DATE" value="2011-10-01T00:38:44.546+02:00"/>
    <string key="concept:name" value="173688"/>
    <string key="AMOUNT_REQ" value="20000"/>
    <event>
      <string key="org:resource" value="112"/>
      <string key="lifecycle:transition" value="COMPLETE"/>
      <string key="concept:name" value="A &lt;SUBMITTED&gt; &#233;"/>
      <date key="time:timestamp" value="2011-10-01T00:38:44.546+02:00"/>
    </event>
    <event><string key="concept:name" value="next"/></event>
  </trace>
  <trace/>
</log>
"#;

#[test]
fn traces_and_events_are_read_and_everything_else_is_skipped() {
    let traces = traces(LOG).unwrap();
    assert_eq!(traces.len(), 2);
    assert_eq!(traces[0].name.as_deref(), Some("173688"));
    assert_eq!(
        serde_json::to_value(&traces[0].attributes).unwrap(),
        json!({"REG_DATE": "2011-10-01T00:38:44.546+02:00", "AMOUNT_REQ": "20000"})
    );
    assert_eq!(
        traces[0].rows[0],
        Row {
            activity: Some("A <SUBMITTED> é".into()),
            transition: Some("COMPLETE".into()),
            at: Some("2011-10-01T00:38:44.546+02:00".into()),
            by: Some("112".into()),
            attributes: Attributes::new(),
        }
    );
    assert_eq!(traces[0].rows[1].activity.as_deref(), Some("next"));
    assert_eq!(traces[1], Trace::default());
}

#[test]
fn attributes_of_every_type_and_inside_one_another_are_kept() {
    let traces = traces(
        r#"<log><trace><event>
            <int key="i" value="-7"/><float key="f" value="1.5"/><float key="inf" value="INF"/>
            <boolean key="b" value="true"/><id key="id" value="0f"/><int key="bad" value="seven"/>
            <string key="outer" value="o"><int key="inner" value="1"><string key="deep" value="d"/></int></string>
            <list key="l"><values><int key="n" value="1"/><int key="n" value="2"/><int key="n" value="3"/></values></list>
            <container key="c"><string key="x" value="y"/></container>
            <unknown><string key="not" value="seen"/></unknown>
        </event></trace></log>"#,
    )
    .unwrap();
    assert_eq!(
        serde_json::to_value(&traces[0].rows[0].attributes).unwrap(),
        json!({
            "i": -7, "f": 1.5, "inf": "INF", "b": true, "id": "0f", "bad": "seven",
            "outer": "o", "outer/inner": 1, "outer/inner/deep": "d", "l/n": [1, 2, 3], "c/x": "y",
        })
    );
}

#[test]
fn prefixed_names_and_events_outside_a_trace_are_read() {
    let traces = traces(
        r#"<x:log xmlns:x="http://www.xes-standard.org/"><x:trace><x:event/></x:trace>
           <x:event><x:string key="concept:name" value="alone"/></x:event></x:log>"#,
    )
    .unwrap();
    assert_eq!(traces[0].rows.len(), 1);
    assert_eq!((&traces[1].name, traces[1].rows[0].activity.as_deref()), (&None, Some("alone")));
}

#[test]
fn a_malformed_log_says_line_and_reason() {
    let name = r#"<string key="concept:name" value="1"/>"#;
    for (xml, expected) in [
        ("", "line 1: not an XES log: there is no <log>"),
        ("plain text\n", "line 2: not an XES log: there is no <log>"),
        ("<html>\n</html>", "line 1: not an XES log: it begins with <html>, not with <log>"),
        ("<log>\n<trace>\n", "line 3: the file ends inside <trace>"),
        ("<log>\n\n<trace><event>", "line 3: the file ends inside <event>"),
        ("<log>", "line 1: the file ends inside <log>"),
        (
            "<log>\n<trace>\n<event>\n</trace>",
            "line 4: ill-formed document: expected `</event>`, but `</trace>` was found",
        ),
        ("<log/>\n<log/>", "line 2: something follows after </log>"),
        ("<log>\n<trace>\n<string value='1'/></trace></log>", "line 3: <string> in <trace> has no key"),
        ("<log><trace>\n<event><int key='a'/></event></trace></log>", "line 2: attribute \"a\" has no value"),
        (
            "<log><trace>\n<string key='a' value='b'><int key='c' value='1'>\n<event/></trace></log>",
            "line 3: <event> stands inside attribute \"a/c\", which is not closed",
        ),
        ("<log><trace><event>\n<trace/></event></trace></log>", "line 2: <trace> cannot stand in <event>"),
    ] {
        assert_eq!(error(xml), expected, "{xml:?}");
    }
    for (xml, line) in [
        (format!("<log><trace>\n{name}\n<string key=\"a\" value=\"b/>\n</trace></log>"), 3),
        (format!("<log><trace>\n{name}\n\n<string key=a value=\"b\"/></trace></log>"), 4),
        ("<log>\n<trace><string key='a' value='&nope;'/></trace></log>".to_owned(), 2),
        ("<log>\n<trace\n".to_owned(), 2),
    ] {
        let error = traces(&xml).unwrap_err();
        assert_eq!(error.line, line, "{xml:?}: {error}");
    }
}

#[test]
fn what_was_complete_before_the_malformed_line_is_read() {
    let mut reader = reader("<log><trace><event/></trace>\n<trace><event></trace></log>");
    assert_eq!(reader.next_trace().unwrap().unwrap().rows.len(), 1);
    assert_eq!(reader.next_trace().unwrap_err().line, 2);
    assert!(reader.next_trace().unwrap().is_none(), "nothing is read after an error");
}

#[test]
fn attributes_too_deep_are_an_error_not_a_crash() {
    let deep = "<string key='a' value='b'>".repeat(100_000);
    assert!(error(&format!("<log><trace>{deep}")).contains("more than 64 deep"));
}

#[test]
fn a_wrong_byte_is_an_error_with_its_line() {
    let xml = [LOG.as_bytes(), b"\xff"].concat();
    let bad = String::from_utf8_lossy(&xml).lines().count();
    let mut reader = XesReader::new(Cursor::new(xml));
    let error = std::iter::from_fn(|| reader.next_trace().transpose()).find_map(Result::err).unwrap();
    assert!(error.line.abs_diff(bad as u64) <= 1, "{error}");
}

#[test]
fn other_encodings_are_read() {
    let xml = r#"<?xml version="1.0" encoding="ISO-8859-1" standalone="yes" ?>   <log><trace><event><string key="concept:name" value="é"/></event></trace></log>"#;
    let latin1: Vec<u8> = xml.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
    let utf16: Vec<u8> =
        "\u{feff}<log><trace><event><string key='concept:name' value='é'/></event></trace></log>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
    for bytes in [latin1, utf16] {
        let trace = XesReader::new(Cursor::new(bytes)).next_trace().unwrap().unwrap();
        assert_eq!(trace.rows[0].activity.as_deref(), Some("é"));
    }
}

#[test]
fn a_file_is_read_packed_or_plain_and_a_torn_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(LOG.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let open = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        XesReader::open(&path, |file| file).unwrap()
    };
    for mut reader in [open("plain", LOG.as_bytes()), open("packed", &packed)] {
        assert_eq!(reader.next_trace().unwrap().unwrap().rows.len(), 2);
    }
    let mut torn = open("torn", &packed[..packed.len() - 20]);
    let error = std::iter::from_fn(|| torn.next_trace().transpose()).find_map(Result::err).unwrap();
    assert!(error.reason.starts_with("the file cannot be read further"), "{error}");
}
