//! JSON values as YAML.

use serde_json::Value;

/// Writes a value as YAML. Every text is quoted as JSON quotes it, which YAML 1.2 reads the same; so nothing can be taken for a number
/// or a date.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    put(value, 0, &mut out);
    out.trim_start().to_owned() + "\n"
}

/// Writes what comes behind `key:` or `-`.
fn put(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                line(depth, out);
                match plain(key) {
                    true => out.push_str(key),
                    false => out.push_str(&Value::from(key.as_str()).to_string()),
                }
                out.push(':');
                put(value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                line(depth, out);
                out.push('-');
                put(item, depth + 1, out);
            }
        }
        scalar => {
            out.push(' ');
            out.push_str(&scalar.to_string());
        }
    }
}

fn line(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Whether a key needs no quotes: a word, and none that YAML knows.
fn plain(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&key.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_yaml() {
        let value = json!({"a": {"b": ["x: 1", 2, [], {}], "200": null, "on": true}, "c": [{"d": 1, "e": "two\nlines"}]});
        let expected = "a:\n  \"200\": null\n  b:\n    - \"x: 1\"\n    - 2\n    - []\n    - {}\n  \"on\": true\nc:\n  -\n    d: 1\n    \
                        e: \"two\\nlines\"\n";
        assert_eq!(to_yaml(&value), expected);
    }
}
