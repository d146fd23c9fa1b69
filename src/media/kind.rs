//! What a file is: by its first bytes, and by what its giver says. They must agree, because phones believe the message and show nothing
//! when it is wrong.

use crate::domain::media::MediaKind;
use crate::error::{Error, Result};

/// Bytes from a file's beginning that are enough to tell what it is.
pub const HEAD: usize = 8 << 10;

/// What is said of a file of which nothing is known.
const UNKNOWN: &str = "application/octet-stream";

/// The type of a file that begins with `head` and is said to be `declared`.
///
/// # Errors
/// `validation_error` with reason `wrong_media_type`, naming `field`: a declared type that is none, or that the content is not.
pub fn settle(field: &str, declared: Option<&str>, head: &[u8]) -> Result<String> {
    let found = infer::get(head).map(|found| found.mime_type());
    let Some(declared) = declared.map(str::trim).filter(|it| !it.is_empty()) else {
        return Ok(found.map_or_else(|| guess(head), canonical).to_owned());
    };
    let declared = declared.to_ascii_lowercase();
    let (essence, parameters) = declared.split_once(';').map_or((&*declared, None), |(it, rest)| (it.trim(), Some(rest.trim())));
    if !is_type(essence) || parameters.is_some_and(|it| it.len() > 64 || !it.bytes().all(|b| (b' '..0x7f).contains(&b))) {
        return Err(wrong(field, format!("`{}` is no media type; write one such as image/jpeg", shown(essence))));
    }
    let essence = canonical(essence);
    // The second is what clients say that were told nothing.
    if essence == UNKNOWN || essence == "application/x-www-form-urlencoded" {
        return Ok(found.map_or(UNKNOWN, canonical).to_owned());
    }
    let found = found.map(canonical);
    if !agrees(essence, found, head) {
        let found = found.unwrap_or("something else");
        return Err(wrong(field, format!("the file is said to be {} and is {found}", shown(essence))));
    }
    Ok(match parameters {
        Some(parameters) if class(essence) == "audio" => format!("{essence}; {parameters}"),
        _ => essence.to_owned(),
    })
}

/// Refuses a file of a type that cannot be sent as `kind`.
///
/// # Errors
/// `validation_error` with reason `wrong_media_type`, naming `field`.
pub fn fits(field: &str, kind: MediaKind, mimetype: &str) -> Result<()> {
    let essence = mimetype.split(';').next().unwrap_or_default();
    let (fits, wanted) = match kind {
        MediaKind::Document => (true, ""),
        MediaKind::Sticker => (essence == "image/webp", "a WebP picture"),
        MediaKind::Image => (class(essence) == "image", "a picture"),
        MediaKind::Video => (class(essence) == "video", "a film"),
        MediaKind::Audio | MediaKind::Voice => (class(essence) == "audio", "a sound"),
    };
    if fits { Ok(()) } else { Err(wrong(field, format!("{} must be {wanted}, and the file is {essence}", kind.word()))) }
}

fn wrong(field: &str, message: String) -> Error {
    Error::field(field, message).reason("wrong_media_type")
}

/// A caller's text, short enough for a sentence.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn is_type(text: &str) -> bool {
    let token = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    text.len() <= 127 && text.split_once('/').is_some_and(|(kind, of)| token(kind) && token(of))
}

fn class(essence: &str) -> &str {
    essence.split('/').next().unwrap_or_default()
}

/// One name for what has several.
fn canonical(essence: &str) -> &str {
    match essence {
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "audio/wav",
        "audio/mp3" | "audio/x-mp3" => "audio/mpeg",
        "audio/m4a" | "audio/x-m4a" => "audio/mp4",
        "audio/x-flac" => "audio/flac",
        "audio/x-aac" => "audio/aac",
        "audio/opus" | "application/ogg" => "audio/ogg",
        "video/x-m4v" => "video/mp4",
        other => other,
    }
}

fn agrees(declared: &str, found: Option<&str>, head: &[u8]) -> bool {
    match (class(declared), found) {
        // Every picture that can be shown is known by its first bytes; SVG is text.
        ("image", Some(found)) => declared == found || declared == "image/svg+xml" && class(found) == "text",
        ("image", None) => declared == "image/svg+xml" && std::str::from_utf8(head).is_ok_and(|it| it.contains("<svg")),
        // One container holds films or only their sound, and its first bytes do not say which.
        ("audio" | "video", Some(found)) => matches!(class(found), "audio" | "video"),
        ("audio" | "video", None) => !head.is_empty() && guess(head) != "text/plain",
        // A document may be anything, but a picture, sound or film is not text or PDF.
        ("text", Some(found)) => class(found) == "text" || found.ends_with("xml"),
        (_, Some(found)) if declared == "application/pdf" || found == "application/pdf" => declared == found,
        _ => declared != "application/pdf",
    }
}

/// Text or not.
fn guess(head: &[u8]) -> &'static str {
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character may be cut at the end.
        Err(e) => e.error_len().is_none() && e.valid_up_to() > 0,
    };
    if whole && !head.is_empty() && !head.contains(&0) { "text/plain" } else { UNKNOWN }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F', 0, 1];
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const PDF: &[u8] = b"%PDF-1.7\n%";
    const OGG: &[u8] = b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x13OpusHead";
    const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";
    const TEXT: &[u8] = b"hello, world";
    const HTML: &[u8] = b"<!DOCTYPE html><html><script>alert(1)</script></html>";

    /// What is said of a file, how it begins, and what it is taken for.
    type Case<'a> = (Option<&'a str>, &'a [u8], Result<&'a str, ()>);

    #[test]
    fn content_and_word_must_agree() {
        let cases: [Case<'_>; 22] = [
            (None, JPEG, Ok("image/jpeg")),
            (Some(""), PNG, Ok("image/png")),
            (None, TEXT, Ok("text/plain")),
            (None, &[0, 1, 2, 3], Ok("application/octet-stream")),
            (Some("image/jpg"), JPEG, Ok("image/jpeg")),
            (Some("IMAGE/JPEG"), JPEG, Ok("image/jpeg")),
            (Some("application/octet-stream"), PNG, Ok("image/png")),
            (Some("image/png"), JPEG, Err(())),
            (Some("image/png"), PDF, Err(())),
            (Some("image/png"), TEXT, Err(())),
            (Some("image/png"), HTML, Err(())),
            (Some("audio/ogg; codecs=opus"), OGG, Ok("audio/ogg; codecs=opus")),
            (Some("audio/mp4"), MP4, Ok("audio/mp4")),
            (Some("video/mp4"), MP4, Ok("video/mp4")),
            (Some("video/mp4"), JPEG, Err(())),
            (Some("audio/mpeg"), TEXT, Err(())),
            (Some("application/pdf"), PDF, Ok("application/pdf")),
            (Some("application/pdf"), TEXT, Err(())),
            (Some("text/csv"), TEXT, Ok("text/csv")),
            (Some("text/csv"), JPEG, Err(())),
            (Some("nonsense"), JPEG, Err(())),
            (Some("a/b\r\nc: d"), JPEG, Err(())),
        ];
        for (declared, head, expected) in cases {
            let settled = settle("media.mimetype", declared, head);
            match expected {
                Ok(expected) => assert_eq!(settled.unwrap(), expected, "{declared:?}"),
                Err(()) => {
                    let error = settled.unwrap_err();
                    assert_eq!((error.fields[0].field.as_str(), error.reason), ("media.mimetype", Some("wrong_media_type")));
                }
            }
        }
    }

    #[test]
    fn each_kind_takes_its_types() {
        for (kind, mimetype, taken) in [
            (MediaKind::Image, "image/png", true),
            (MediaKind::Image, "video/mp4", false),
            (MediaKind::Sticker, "image/webp", true),
            (MediaKind::Sticker, "image/png", false),
            (MediaKind::Voice, "audio/ogg; codecs=opus", true),
            (MediaKind::Audio, "application/pdf", false),
            (MediaKind::Video, "image/gif", false),
            (MediaKind::Document, "application/x-anything", true),
        ] {
            assert_eq!(fits("media", kind, mimetype).is_ok(), taken, "{kind:?} {mimetype}");
        }
    }
}
