//! How files stand in the document: bodies that are no JSON.

use serde_json::{Map, Value, json};

/// A file that is sent: as it is, or in a form.
pub(super) fn request() -> Value {
    let bytes = json!({"type": "string", "format": "binary"});
    json!({
        "required": true,
        "content": {
            "*/*": {"schema": bytes},
            "multipart/form-data": {"schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary", "description": "The file, with its name and type."}},
                "required": ["file"],
            }},
        },
    })
}

/// The answers that are a file, a part of one, or say that it is still the same.
pub(super) fn responses() -> Map<String, Value> {
    let content = json!({"*/*": {"schema": {"type": "string", "format": "binary"}}});
    let headers = |more: &[(&str, &str)]| {
        let all = [("ETag", "The file's tag."), ("Content-Disposition", "To be saved, and under which name.")];
        let header =
            |(name, text): &(&str, &str)| ((*name).to_owned(), json!({"description": text, "schema": {"type": "string"}}));
        all.iter().chain(more).map(header).collect::<Map<String, Value>>()
    };
    let range = ("Content-Range", "Where the part lies, such as `bytes 0-99/1000`.");
    let pairs = [
        ("200", json!({"description": "The file.", "headers": headers(&[]), "content": content})),
        ("206", json!({"description": "The part that `Range` asked for.", "headers": headers(&[range]), "content": content})),
        ("304", json!({"description": "The file is still the one that `If-None-Match` names."})),
        ("416", json!({"$ref": "#/components/responses/validation_error"})),
    ];
    pairs.into_iter().map(|(status, response)| (status.to_owned(), response)).collect()
}
