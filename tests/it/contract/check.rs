//! Checks values against the documented schemas: the part of JSON schema that they use.

use serde_json::{Map, Value};

/// Everything that is wrong with `value`. What is documented must have its documented type, what is required must be there; further
/// properties are welcome, so `additionalProperties: false` is not held against anybody.
pub(super) fn problems(schemas: &Map<String, Value>, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schemas, schema, value, "$", &mut found);
    found
}

fn check(schemas: &Map<String, Value>, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else { panic!("{path}: {schema} is no schema") };
    for (rule, wanted) in rules {
        match rule.as_str() {
            "$ref" => {
                let name = wanted.as_str().and_then(|r| r.strip_prefix("#/components/schemas/")).unwrap();
                check(schemas, &schemas[name], value, path, found);
            }
            "type" => {
                let fits = |kind: &Value| is(kind.as_str().unwrap(), value);
                if !wanted.as_array().map_or_else(|| fits(wanted), |kinds| kinds.iter().any(fits)) {
                    found.push(format!("{path}: {value} is not {wanted}"));
                }
            }
            "enum" if value.is_string() && !wanted.as_array().unwrap().contains(value) => {
                found.push(format!("{path}: {value} is none of {wanted}"));
            }
            "required" => {
                for name in wanted.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        found.push(format!("{path}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(schemas, schema, value, &format!("{path}.{name}"), found);
                    }
                }
            }
            "items" => {
                for (at, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(schemas, wanted, value, &format!("{path}[{at}]"), found);
                }
            }
            "additionalProperties" if wanted.is_object() => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        check(schemas, wanted, value, &format!("{path}.{name}"), found);
                    }
                }
            }
            "minimum" if value.as_f64().is_some_and(|n| n < wanted.as_f64().unwrap()) => {
                found.push(format!("{path}: {value} is less than {wanted}"));
            }
            "maxLength" if value.as_str().is_some_and(|t| t.chars().count() as u64 > wanted.as_u64().unwrap()) => {
                found.push(format!("{path}: {value} is longer than {wanted}"));
            }
            // An annotation: the types say the same.
            "additionalProperties" | "enum" | "format" | "minimum" | "maxLength" => {}
            other => panic!("{path}: the checker does not know `{other}`"),
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("the checker does not know the type `{other}`"),
    }
}

/// The checker itself can fail.
#[test]
fn problems_are_found() {
    let schemas = serde_json::json!({
        "A": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": false,
            "properties": {
                "id": {"type": "string", "maxLength": 3},
                "n": {"type": "integer", "format": "int64", "minimum": 1},
                "word": {"enum": ["x", "y"], "type": "string"},
                "list": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/A"}},
                "map": {"type": "object", "additionalProperties": {"type": "boolean"}},
            },
        }
    });
    let schema = serde_json::json!({"$ref": "#/components/schemas/A"});
    let of = |value: Value| problems(schemas.as_object().unwrap(), &schema, &value);
    let good = serde_json::json!({"id": "a", "n": 1, "word": "x", "list": [{"id": "b"}], "map": {"k": true}, "more": 1});
    assert_eq!(of(good), [""; 0]);
    assert_eq!(of(serde_json::json!({"id": "a", "list": null})), [""; 0]);
    for bad in [
        serde_json::json!({}),
        serde_json::json!([]),
        serde_json::json!({"id": 1}),
        serde_json::json!({"id": "long"}),
        serde_json::json!({"id": "a", "n": 1.5}),
        serde_json::json!({"id": "a", "n": 0}),
        serde_json::json!({"id": "a", "word": "z"}),
        serde_json::json!({"id": "a", "list": [{}]}),
        serde_json::json!({"id": "a", "map": {"k": 1}}),
        serde_json::json!({"id": "a", "word": null}),
    ] {
        assert_eq!(of(bad.clone()).len(), 1, "{bad}");
    }
}
