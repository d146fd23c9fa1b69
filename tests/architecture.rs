//! The house: one-way arrows, policed imports, file sizes, no silent exceptions. Reads the sources, so that a breach fails here and
//! not in somebody's memory.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may use (`use crate::…` or a path). What is not listed is forbidden; `lib.rs` shows the same in words.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &["error"]),
    ("error", &["domain"]),
    ("proto", &[]),
    ("config", &["domain"]),
    ("lifecycle", &[]),
    ("telemetry", &["config"]),
    ("store", &["domain", "error"]),
    ("event", &["store", "domain", "error"]),
    ("egress", &["domain", "error"]),
    ("webhook", &["egress", "event", "store", "domain", "error"]),
    ("media", &["egress", "wa", "store", "domain", "error"]),
    ("wa", &["store", "domain", "error"]),
    ("session", &["wa", "event", "store", "domain", "error"]),
    ("outbox", &["media", "telemetry", "session", "wa", "event", "store", "domain", "error"]),
    ("backfill", &["session", "wa", "event", "store", "domain", "error"]),
    ("backup", &["store", "domain", "error"]),
    ("service", &["backup", "outbox", "telemetry", "session", "webhook", "media", "wa", "event", "store", "domain", "error"]),
    ("api", &["service", "event", "proto", "domain", "error"]),
    ("rest", &["api", "proto", "telemetry", "domain", "error"]),
    ("console", &["service", "domain", "error"]),
    ("sandbox", &["api", "proto", "domain", "error"]),
    ("cli", &["app", "config", "domain", "error", "lifecycle", "proto", "sandbox", "telemetry"]),
    ("main", &["cli"]),
    // The composition root and the map of the house may name every room.
    ("app", &["*"]),
    ("lib", &["*"]),
];

/// Crates that only some places may name; a place is the beginning of a path below `src/`.
const POLICED: &[(&[&str], &[&str])] = &[
    (
        &["tonic", "tonic_web", "tonic_health", "tonic_reflection", "tonic_types", "tonic_prost"],
        &["api/", "rest/", "cli/", "cluster/", "sandbox/control", "app", "proto.rs"],
    ),
    (&["sqlx"], &["store/", "wa/device/", "backup/msgstore"]),
    (&["whatsapp_rust", "wacore", "wacore_binary", "wacore_noise", "wacore_libsignal", "waproto", "buffa"], &["wa/", "sandbox/"]),
];

/// Lines that a file may have at most.
const LONGEST: usize = 500;

/// One source file: its path below the package and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn the_house_is_in_order() {
    let mut sources = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests"] {
        read(root, &root.join(folder), &mut sources);
    }
    assert!(sources.len() > 20, "the sources were not found");
    let breaches: Vec<String> = sources.iter().flat_map(breaches).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn every_arrow_begins_at_a_room_and_none_points_back() {
    let index = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for line in index.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let room = line.trim_end_matches(';');
        assert!(ARROWS.iter().any(|(from, _)| *from == room), "room `{room}` has no line in the table of arrows");
    }
    // `domain` and `error` are one vocabulary and know each other; every other pair goes one way.
    for (from, targets) in ARROWS.iter().filter(|(_, targets)| *targets != ["*"]) {
        for to in *targets {
            let back = ARROWS.iter().any(|(room, targets)| room == to && targets.contains(from));
            assert!(!back || ["domain", "error"].contains(from), "{from} and {to} use each other");
        }
    }
}

/// The checker itself can fail: each breach in these small sources is found, and nothing else.
#[test]
fn breaches_are_found() {
    let cases = [
        ("src/store/keys.rs", "use crate::api::guard;", Some("may not use room `api`")),
        ("src/store/keys.rs", "use crate::{domain::ids, service::Thing};", Some("may not use room `service`")),
        ("src/store/keys.rs", "use crate::{\n    domain::ids,\n    rest,\n};", Some("may not use room `rest`")),
        ("src/store/keys.rs", "fn f() -> crate::session::Handle {}", Some("may not use room `session`")),
        ("src/store/keys.rs", "use crate::domain::ids;\nuse crate::store::Db;\nuse crate::error::Error;", None),
        ("src/store/keys.rs", "// use crate::api::guard;", None),
        ("src/service/keys.rs", "use tonic::Status;", Some("may not name `tonic`")),
        ("src/service/keys.rs", "let x = sqlx::query(\"\");", Some("may not name `sqlx`")),
        ("src/service/keys.rs", "use my_sqlx::Query;", None),
        ("src/sandbox/server/iq.rs", "use tonic::Status;", Some("may not name `tonic`")),
        ("src/sandbox/control.rs", "use tonic::Status;", None),
        ("src/store/db.rs", "use sqlx::Row;", None),
        ("src/api/x.rs", concat!("#[al", "low(dead_code)]"), Some("an exception without an end")),
        ("src/api/x.rs", concat!("#[exp", "ect(dead_code)]"), Some("an exception without a reason")),
        ("src/api/x.rs", concat!("#[exp", "ect(\n    dead_code,\n    reason = \"later\"\n)]"), None),
        ("src/api/x.rs", concat!("// TO", "DO: more"), Some("unfinished")),
        ("src/garden/x.rs", "", Some("is no room")),
        ("src/main.rs", "whatsapp_gateway::cli::run()", None),
    ];
    for (path, text, expected) in cases {
        let found = breaches(&Source { path: path.into(), text: text.into() });
        match expected {
            Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{path}: {text}: {found:?}"),
            None => assert!(found.is_empty(), "{path}: {text}: {found:?}"),
        }
    }
    let long = Source { path: "src/api/x.rs".into(), text: "\n".repeat(LONGEST + 1) };
    assert_eq!(breaches(&long), ["src/api/x.rs has 501 lines, more than 500: split it"]);
}

fn read(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            sources.push(Source { path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text });
        }
    }
}

/// Everything that is wrong with one file.
fn breaches(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("{path} has {lines} lines, more than {LONGEST}: split it"));
    }
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        if text.contains(word) {
            found.push(format!("{path} is unfinished: {word}"));
        }
    }
    let code = without_comments(text);
    if code.contains(concat!("#[al", "low(")) || code.contains(concat!("#![al", "low(")) {
        found.push(format!("{path} has an exception without an end: write `expect` with a reason"));
    }
    for (at, _) in code.match_indices(concat!("[exp", "ect(")) {
        let attribute = code[at..].split(")]").next().unwrap_or_default();
        if !attribute.contains("reason") {
            found.push(format!("{path} has an exception without a reason: {attribute})]"));
        }
    }
    if let Some(inside) = path.strip_prefix("src/") {
        found.extend(wrong_arrows(path, inside, &code));
        found.extend(wrong_names(path, inside, &code));
    }
    found
}

fn wrong_arrows(path: &str, inside: &str, code: &str) -> Vec<String> {
    let room = inside.split(['/', '.']).next().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == room) else {
        return vec![format!("{path}: `{room}` is no room; give it a line in the table of arrows")];
    };
    if *allowed == ["*"] {
        return Vec::new();
    }
    let mut used = used_rooms(code);
    used.sort();
    used.dedup();
    let known = |name: &String| ARROWS.iter().any(|(room, _)| room == name);
    let wrong = used.into_iter().filter(known).filter(|to| to != room && !allowed.contains(&to.as_str()));
    wrong.map(|to| format!("{path}: room `{room}` may not use room `{to}`")).collect()
}

/// The first names behind `crate::`, also within braces.
fn used_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, mark) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let rest = &code[at + mark.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.push(rest.chars().take_while(|c| is_name(*c)).collect());
            continue;
        };
        // Of `{a::b, c::{d, e}}` the names at the outer level.
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => rooms.push(std::mem::take(&mut item)),
                _ if depth == 0 => item.push(c),
                _ => {}
            }
        }
        rooms.push(item);
    }
    rooms.iter().map(|name| name.trim().chars().take_while(|c| is_name(*c)).collect()).collect()
}

fn wrong_names(path: &str, inside: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (names, places) in POLICED {
        if places.iter().any(|place| inside.starts_with(place)) {
            continue;
        }
        for name in *names {
            let path_of_it = format!("{name}::");
            // Behind a quotation mark it is the name of a log target.
            let named =
                code.match_indices(&path_of_it).any(|(at, _)| !code[..at].ends_with(|c| is_name(c) || c == ':' || c == '"'));
            if named {
                found.push(format!("{path} may not name `{name}`; that belongs to {}", places.join(", ")));
            }
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text without `//` comments. Good enough: an address in a text loses its end, which holds no arrow.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
