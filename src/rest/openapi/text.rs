//! The contract's comments as text for people who call over HTTP.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};
use tonic::Code as Grpc;

use crate::api::status::by_grpc;
use crate::rest::plan::screaming;

/// Every leading comment, by file and place.
pub(super) struct Texts {
    comments: HashMap<(String, Vec<i32>), String>,
    /// gRPC's names of errors, with what HTTP callers get instead.
    errors: HashMap<String, String>,
}

impl Texts {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        // Others' files have comments about themselves.
        for file in pool.files().filter(|f| f.package_name().starts_with("whatsapp.")) {
            let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
            for location in locations {
                if let Some(text) = &location.leading_comments {
                    comments.insert((file.name().to_owned(), location.path.clone()), tidy(text));
                }
            }
        }
        let seen: Vec<_> =
            comments.iter().filter_map(|(place, text)| Some((place.clone(), pointed_at(pool, &place.0, text)?))).collect();
        for (place, target) in seen {
            if let Some(text) = comments.get(&target).cloned() {
                comments.insert(place, text);
            }
        }
        let codes = (1..17).map(Grpc::from_i32).filter(|code| *code != Grpc::Unknown);
        let errors = codes.map(|code| {
            let row = by_grpc(code);
            let name = screaming(&format!("{code:?}")).trim_end_matches('_').to_owned();
            (name, format!("`{}` ({})", row.word, row.http.as_str()))
        });
        Self { comments, errors: errors.collect() }
    }

    /// The comment at a place; empty when there is none.
    pub(super) fn of(&self, file: &FileDescriptor, path: &[i32]) -> String {
        let found = self.comments.get(&(file.name().to_owned(), path.to_vec()));
        found.map(|text| self.rename_errors(text)).unwrap_or_default()
    }

    fn rename_errors(&self, text: &str) -> String {
        let part_of_name = |c: char| c.is_ascii_uppercase() || c == '_';
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(from) = rest.find(part_of_name) {
            let length = rest[from..].find(|c| !part_of_name(c)).unwrap_or(rest.len() - from);
            let name = &rest[from..from + length];
            out.push_str(&rest[..from]);
            out.push_str(self.errors.get(name).map_or(name, String::as_str));
            rest = &rest[from + length..];
        }
        out + rest
    }
}

/// The place of the field that a comment like `See Session.auto_read.` leaves the word to.
fn pointed_at(pool: &DescriptorPool, file: &str, comment: &str) -> Option<(String, Vec<i32>)> {
    let (message, field) = comment.strip_prefix("See ")?.strip_suffix('.')?.split_once('.')?;
    let package = pool.get_file_by_name(file)?.package_name().to_owned();
    let field = pool.get_message_by_name(&format!("{package}.{message}"))?.get_field_by_name(field)?;
    Some((field.parent_file().name().to_owned(), field.path().to_vec()))
}

/// Joins the wrapped lines of a comment; empty lines part paragraphs.
fn tidy(comment: &str) -> String {
    let mut out = String::new();
    for line in comment.trim().lines().map(str::trim) {
        match line {
            "" => out.push_str("\n\n"),
            line if out.is_empty() || out.ends_with('\n') => out.push_str(line),
            line if line.starts_with("- ") => {
                out.push('\n');
                out.push_str(line);
            }
            line => {
                out.push(' ');
                out.push_str(line);
            }
        }
    }
    out
}

/// The first sentence, without its full stop.
pub(super) fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_text() {
        assert_eq!(tidy(" One line\n goes on.\n\n Another:\n - a\n - b\n"), "One line goes on.\n\nAnother:\n- a\n- b");
        assert_eq!(first_sentence("Lists `a.b` things. More."), "Lists `a.b` things");
        assert_eq!(first_sentence("Lists things."), "Lists things");
    }

    #[test]
    fn errors_get_their_names() {
        let texts = Texts::new(&DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap());
        let text = texts.rename_errors("Errors: NOT_FOUND; ABORTED. A QR in JSON is no_NOT_FOUND.");
        assert_eq!(text, "Errors: `not_found` (404); `conflict` (409). A QR in JSON is no_NOT_FOUND.");
    }
}
