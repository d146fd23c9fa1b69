//! What the document says of errors: their shape, the closed list of codes, the answers that operations share.

use serde_json::{Map, Value, json};

use crate::api::status::TABLE;
use crate::error::Code;

/// Statuses that an operation names one by one; the others are its `default`.
pub(super) const NAMED: [Code; 4] = [Code::Validation, Code::Unauthorized, Code::Forbidden, Code::NotFound];

/// What is answered below HTTP's routes, before there is a request to speak of.
pub(super) const TOO_LONG: &str = "The address, or the head as a whole, is longer than 64 KiB; the answer has no body.";

/// A code in words.
pub(super) fn meaning(code: Code) -> &'static str {
    match code {
        Code::Validation => "The request itself is wrong; `details.fields` names the fields. Repeating it will not help.",
        Code::Unauthorized => "No credential, or one that is not valid.",
        Code::Forbidden => "A valid credential that may not do this.",
        Code::NotFound => "It does not exist, or belongs to another organization.",
        Code::Conflict => "It exists already, or somebody else changed it meanwhile.",
        Code::SessionNotConnected => "The session is not connected to WhatsApp now.",
        Code::RateLimited => "Too much in too short a time; `details.retryAfterSeconds` says when to try again.",
        Code::NotImplemented => "This build or configuration cannot do it.",
        Code::Unavailable => "The gateway cannot answer now; trying again soon helps.",
        Code::Timeout => "It took too long; whether it happened is not known.",
        Code::Internal => "A fault of the gateway; report it with the request id.",
    }
}

/// The answers that operations refer to.
pub(super) fn responses() -> Map<String, Value> {
    let response = |text: &str| {
        let schema = json!({"$ref": "#/components/schemas/ApiError"});
        json!({"description": text, "content": {"application/json": {"schema": schema}}})
    };
    let named = TABLE.iter().filter(|row| NAMED.contains(&row.code));
    let mut all: Map<_, _> = named.map(|row| (row.word.to_owned(), response(meaning(row.code)))).collect();
    all.insert("error".to_owned(), response("What went wrong. `code` tells programs, `message` tells people."));
    all
}

/// The schemas of an error's body.
pub(super) fn schemas() -> Map<String, Value> {
    let codes: Vec<_> = TABLE.iter().map(|row| row.word).collect();
    let error = json!({
        "type": "object",
        "description": "An error.",
        "properties": {"error": {"$ref": "#/components/schemas/ErrorDetail"}},
        "required": ["error"],
    });
    let detail = json!({
        "type": "object",
        "description": "What went wrong.",
        "properties": {
            "code": {"type": "string", "enum": codes, "description": "The kind of failure, from a closed list."},
            "message": {"type": "string", "description": "One sentence for people."},
            "details": {"$ref": "#/components/schemas/ErrorFacts"},
        },
        "required": ["code", "details", "message"],
    });
    let facts = json!({
        "type": "object",
        "description": "Facts for programs; further ones are named where an operation's text tells of them.",
        "properties": {
            "requestId": {"type": "string", "description": "The request's id, as in the header `x-request-id`."},
            "reason": {"type": "string", "description": "A stable word that says more than the code."},
            "retryAfterSeconds": {"type": "integer", "description": "After how many seconds trying again makes sense."},
            "until": {"type": "integer", "format": "int64", "description": "Until when the cause lasts, in epoch milliseconds."},
            "fields": {
                "type": "array",
                "description": "The fields at fault.",
                "items": {
                    "type": "object",
                    "properties": {
                        "field": {"type": "string", "description": "Path of the field, such as `options[2].text`."},
                        "message": {"type": "string", "description": "What is wrong and what to do."},
                    },
                    "required": ["field", "message"],
                },
            },
        },
        "required": ["requestId"],
    });
    [("ApiError", error), ("ErrorDetail", detail), ("ErrorFacts", facts)].map(|(n, s)| (n.to_owned(), s)).into_iter().collect()
}
