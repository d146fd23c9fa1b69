//! Turns the protobuf contract into Rust code and an embedded descriptor set. No protoc is needed.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, error, fs};

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

/// The packages whose files are compiled, all of each; what they import is found by itself.
const FOLDERS: [&str; 2] = ["whatsapp/gateway/v1", "whatsapp/sandbox/v1"];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(entries()?)?;
    // Only this form keeps our own options; `file_descriptor_set()` drops them.
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &descriptors)?;
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    fs::write(out.join("validate.rs"), validators(&pool)?)?;
    tonic_prost_build::configure()
        // Maps in the order of their keys: the same value is always the same bytes.
        .btree_map(".")
        .codec_path("crate::api::validate::ValidatingCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        let file = zipped(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED, &format!("/dist/{name}"))?;
        fs::write(out.join(format!("{name}.gz")), file)?;
    }
    Ok(())
}

/// Every protobuf file of ours, in the order of their names, so that the descriptors are always the same bytes.
fn entries() -> Fallible<Vec<String>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(format!("proto/{folder}"))? {
            let name = entry?.file_name();
            let name = name.to_str().ok_or("a file's name is no text")?;
            if name.ends_with(".proto") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The file of a ZIP archive whose path ends so, in the gzip format: both hold the same compressed bytes, checksum and length.
fn zipped(archive: &[u8], path: &str) -> Fallible<Vec<u8>> {
    const ENTRY: &[u8] = b"PK\x01\x02";
    let short = |at: usize| archive.get(at..at + 2).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let long = |at: usize| archive.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    // The directory at the end names every file; the last record of the archive says where it begins.
    let end = archive.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or("this is no ZIP archive")?;
    let mut at = long(end + 16).ok_or("the archive has no directory")?;
    while archive.get(at..at + 4) == Some(ENTRY) {
        let broken = "the archive's directory is broken";
        let lengths = (short(at + 28), short(at + 30), short(at + 32));
        let (Some(name), Some(extra), Some(comment)) = lengths else { return Err(broken.into()) };
        if archive.get(at + 46..at + 46 + name).ok_or(broken)?.ends_with(path.as_bytes()) {
            if short(at + 10) != Some(8) {
                return Err(format!("{path} is not deflated").into());
            }
            let header = long(at + 42).ok_or(broken)?;
            let from = header + 30 + short(header + 26).ok_or(broken)? + short(header + 28).ok_or(broken)?;
            let data = archive.get(from..from + long(at + 20).ok_or(broken)?).ok_or(broken)?;
            let (checksum, length) = (&archive[at + 16..at + 20], &archive[at + 24..at + 28]);
            return Ok([&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], data, checksum, length].concat());
        }
        at += 46 + name + extra + comment;
    }
    Err(format!("{path} is not in the archive").into())
}

/// Our packages and the modules that `src/proto.rs` gives them.
const PACKAGES: [(&str, &str); 2] =
    [("whatsapp.gateway.v1", "crate::proto::gateway"), ("whatsapp.sandbox.v1", "crate::proto::sandbox")];

type Fallible<T> = Result<T, Box<dyn error::Error>>;

/// One `impl Validate` per message of ours, from the `buf.validate` rules on its fields.
///
/// Understood: `string.min_len max_len`, `int32|int64|uint32|uint64.gt gte lt lte`, `repeated.min_items max_items`. Anything else fails the build,
/// so that no rule stands in the contract without being enforced. A rule on a field with presence holds when the field is set.
fn validators(pool: &DescriptorPool) -> Fallible<String> {
    let ours: Vec<_> = pool.all_messages().filter(|m| module(m.package_name()).is_some() && !m.is_map_entry()).collect();
    for message in &ours {
        refuse_other_rules(pool, message)?;
    }
    // Messages with rules anywhere below them; the others are not walked at all, which keeps replies free of cost.
    let mut ruled = HashSet::new();
    loop {
        let before = ruled.len();
        for message in &ours {
            for field in message.fields() {
                let below = nested(&field).is_some_and(|m| ruled.contains(m.full_name()));
                if below || !rules(pool, &field)?.is_empty() {
                    ruled.insert(message.full_name().to_owned());
                }
            }
        }
        if ruled.len() == before {
            break;
        }
    }
    let mut code = String::new();
    for message in &ours {
        let path = rust_path(message);
        if !ruled.contains(message.full_name()) {
            writeln!(code, "impl Validate for {path} {{}}")?;
            continue;
        }
        writeln!(code, "impl Validate for {path} {{\n    fn validate(&self, out: &mut Vec<FieldViolation>) {{")?;
        for field in message.fields() {
            let json = field.json_name();
            let mut body = String::new();
            for (condition, text) in rules(pool, &field)? {
                writeln!(body, "refuse_if({condition}, out, {json:?}, {text:?});")?;
            }
            if nested(&field).is_some_and(|m| ruled.contains(m.full_name())) {
                body.push_str(&if field.is_map() {
                    format!("for (k, v) in v {{ within(out, |f| format!(\"{json}[{{k}}].{{f}}\"), |out| v.validate(out)); }}\n")
                } else if field.is_list() {
                    format!("for (i, v) in v.iter().enumerate() {{ within(out, |f| format!(\"{json}[{{i}}].{{f}}\"), |out| v.validate(out)); }}\n")
                } else {
                    format!("within(out, |f| format!(\"{json}.{{f}}\"), |out| v.validate(out));\n")
                });
            }
            if !body.is_empty() {
                writeln!(code, "{}", bind(message, &field, &body))?;
            }
        }
        writeln!(code, "    }}\n}}")?;
    }
    Ok(code)
}

/// Code that runs `body` with `v` bound to a reference to the field's value, if it has one.
fn bind(message: &MessageDescriptor, field: &FieldDescriptor, body: &str) -> String {
    let name = ident(field.name());
    match field.containing_oneof().filter(|o| !o.is_synthetic()) {
        Some(oneof) => {
            let (parent, kind) = (rust_path(message), camel(oneof.name()));
            let (module, last) = parent.rsplit_once("::").unwrap_or(("", &parent));
            let variant = format!("{module}::{}::{kind}::{}", snake(last), camel(field.name()));
            format!("if let Some({variant}(v)) = &self.{} {{ {body} }}", ident(oneof.name()))
        }
        None if field.supports_presence() => format!("if let Some(v) = &self.{name} {{ {body} }}"),
        None => format!("{{ let v = &self.{name}; {body} }}"),
    }
}

/// The rules of one field as (condition of a violation, what to tell).
fn rules(pool: &DescriptorPool, field: &FieldDescriptor) -> Fallible<Vec<(String, String)>> {
    let extension = pool.get_extension_by_name("buf.validate.field").ok_or("buf.validate.field is unknown")?;
    let options = field.options();
    if !options.has_extension(&extension) {
        return Ok(Vec::new());
    }
    let value = options.get_extension(&extension).into_owned();
    let of_field = value.as_message().ok_or("buf.validate.field is no message")?;
    let mut found = Vec::new();
    for (kind, value) in of_field.fields() {
        let Some(of_kind) = value.as_message() else {
            return Err(format!("{}: rule {} is not supported", field.full_name(), kind.name()).into());
        };
        let fits = match kind.name() {
            "string" => field.kind() == Kind::String && !field.is_list(),
            "int32" => field.kind() == Kind::Int32 && !field.is_list(),
            "int64" => field.kind() == Kind::Int64 && !field.is_list(),
            "uint32" => field.kind() == Kind::Uint32 && !field.is_list(),
            "uint64" => field.kind() == Kind::Uint64 && !field.is_list(),
            "repeated" => field.is_list(),
            _ => false,
        };
        if !fits || of_kind.unknown_fields().next().is_some() {
            return Err(format!("{}: rules {} are not supported here", field.full_name(), kind.name()).into());
        }
        for (rule, value) in of_kind.fields() {
            found.push(match (kind.name(), rule.name(), number(value)) {
                ("string", "min_len", Some(1)) => ("v.is_empty()".into(), "must not be empty".into()),
                ("string", "min_len", Some(n)) => (format!("characters(v) < {n}"), format!("must have at least {n} characters")),
                ("string", "max_len", Some(n)) => (format!("characters(v) > {n}"), format!("must have at most {n} characters")),
                ("repeated", "min_items", Some(1)) => ("v.is_empty()".into(), "must not be empty".into()),
                ("repeated", "min_items", Some(n)) => (format!("v.len() < {n}"), format!("must have at least {n} items")),
                ("repeated", "max_items", Some(n)) => (format!("v.len() > {n}"), format!("must have at most {n} items")),
                ("int32" | "int64" | "uint32" | "uint64", "gte", Some(n)) => {
                    (format!("*v < {n}"), format!("must be at least {n}"))
                }
                ("int32" | "int64" | "uint32" | "uint64", "gt", Some(n)) => {
                    (format!("*v <= {n}"), format!("must be more than {n}"))
                }
                ("int32" | "int64" | "uint32" | "uint64", "lte", Some(n)) => {
                    (format!("*v > {n}"), format!("must be at most {n}"))
                }
                ("int32" | "int64" | "uint32" | "uint64", "lt", Some(n)) => {
                    (format!("*v >= {n}"), format!("must be less than {n}"))
                }
                (kind, rule, _) => return Err(format!("{}: rule {kind}.{rule} is not supported", field.full_name()).into()),
            });
        }
    }
    Ok(found)
}

/// Fails for rules on whole messages and oneofs, of which none are supported.
fn refuse_other_rules(pool: &DescriptorPool, message: &MessageDescriptor) -> Fallible<()> {
    let of = |name: &str| pool.get_extension_by_name(name).ok_or(format!("{name} is unknown"));
    if message.options().has_extension(&of("buf.validate.message")?) {
        return Err(format!("{}: rules on messages are not supported", message.full_name()).into());
    }
    let oneofs = of("buf.validate.oneof")?;
    match message.oneofs().find(|o| o.options().has_extension(&oneofs)) {
        Some(oneof) => Err(format!("{}: rules on oneofs are not supported", oneof.full_name()).into()),
        None => Ok(()),
    }
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::I32(n) => Some(i128::from(*n)),
        Value::I64(n) => Some(i128::from(*n)),
        Value::U32(n) => Some(i128::from(*n)),
        Value::U64(n) => Some(i128::from(*n)),
        _ => None,
    }
}

/// The message of ours that a field holds, also as a map's value.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else { return None };
    let message = if message.is_map_entry() {
        let Kind::Message(value) = message.map_entry_value_field().kind() else { return None };
        value
    } else {
        message
    };
    module(message.package_name()).map(|_| message)
}

fn module(package: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(name, _)| *name == package).map(|(_, module)| *module)
}

/// Where prost puts a message: nested ones live in a module named like their parent.
fn rust_path(message: &MessageDescriptor) -> String {
    match message.parent_message() {
        Some(parent) => {
            let parent = rust_path(&parent);
            let (module, last) = parent.rsplit_once("::").unwrap_or(("", &parent));
            format!("{module}::{}::{}", snake(last), message.name())
        }
        None => format!("{}::{}", module(message.package_name()).unwrap_or("crate"), message.name()),
    }
}

fn ident(name: &str) -> String {
    let reserved =
        ["type", "match", "move", "ref", "in", "use", "mod", "loop", "where", "fn", "enum", "struct", "impl", "async", "dyn"];
    if reserved.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn camel(name: &str) -> String {
    name.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}
