use quick_xml::encoding::DecodingReader;
use quick_xml::events::BytesDecl;

use super::Source;

/// Text in UTF-8, from whatever encoding the XML declaration or the byte order mark names.
///
/// UTF-8, which nearly every log is, passes as it is, so that the line of a wrong byte is exact. So does an encoding that nobody
/// knows: its first byte that is not UTF-8 is an error.
pub(super) fn to_utf8(mut source: Source) -> Source {
    let Ok(start) = source.fill_buf() else {
        return source;
    };
    let wide = start.starts_with(&[0xfe, 0xff])
        || start.starts_with(&[0xff, 0xfe])
        || start.starts_with(&[0, b'<'])
        || start.starts_with(&[b'<', 0]);
    if wide {
        return Box::new(DecodingReader::new(source));
    }
    let declared = declared(start).and_then(|label| BytesDecl::new("1.0", Some(label), None).encoder());
    match declared {
        Some(encoding) if encoding.is_ascii_compatible() && encoding.name() != "UTF-8" => {
            let mut decoded = DecodingReader::new(source);
            decoded.set_encoding(encoding);
            Box::new(decoded)
        }
        _ => source,
    }
}

/// The encoding that `<?xml .. encoding="..." ?>` names.
fn declared(start: &[u8]) -> Option<&str> {
    let end = start.windows(2).take(LONGEST_DECLARATION).position(|bytes| bytes == b"?>")?;
    let declaration = std::str::from_utf8(&start[..end]).ok()?;
    let (_, after) = declaration.strip_prefix("<?xml")?.split_once("encoding")?;
    let quoted = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = quoted.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    quoted[1..].split_once(quote).map(|(label, _)| label)
}

const LONGEST_DECLARATION: usize = 512;
