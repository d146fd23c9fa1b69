//! `whatsapp-gateway messages`, as people type it.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{BUDI, Shop};
use crate::gateway::{Home, KEY};
use crate::support::Engine;

/// Runs a command against the shop's gateway: exit code, standard output, standard error output.
async fn run(shop: &Shop, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"));
    command.arg("messages").args(words).args(["--server", &shop.gateway.base]).env_clear().env("WAGW_API_KEY", KEY);
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_and_files_go_from_the_command_line() {
    let home = Home::new(Engine::Sqlite).await;
    let shop = Shop::open(home.start().await).await;
    let session = shop.path.rsplit('/').next().unwrap();
    let (code, out, err) = run(&shop, &["send", session, "+62 812-0000-0002", "hello", "--json"]).await;
    assert_eq!(code, Some(0), "{err}");
    let sent: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&sent["mode"], &sent["status"], &sent["phoneNumber"]), (&json!("sync"), &json!("sent"), &json!(BUDI)), "{sent}");
    let row = shop.shown(BUDI, &sent["waMessageId"], "the text", |row| row["text"] == "hello").await;
    assert_eq!(row["arrivals"], 1);

    // A file of more than one piece, with its name and a caption.
    let path = home.path().join("list.txt");
    tokio::fs::write(&path, "one line of many\n".repeat(20_000)).await.unwrap();
    let file = path.to_str().unwrap();
    let (code, out, err) = run(&shop, &["send", session, BUDI, "the list", "--file", file, "--json"]).await;
    assert_eq!(code, Some(0), "{err}");
    let sent: Value = serde_json::from_str(&out).unwrap();
    let row = shop.shown(BUDI, &sent["waMessageId"], "the file", |row| row["kind"] == "document").await;
    let media = &row["media"];
    assert_eq!((&row["text"], &media["fileName"], &media["length"]), (&json!("the list"), &json!("list.txt"), &json!(340_000)));

    let (code, out, err) = run(&shop, &["get", session, sent["outboxId"].as_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("document") && out.contains("the list") && out.contains("sent"), "{out}");

    // What is wrong is told in a line, with an exit code of its own.
    for (words, code, told) in [
        (vec!["send", session, "nobody", "hello"], 2, "to"),
        (vec!["send", session, BUDI, "--file", "no-such-file"], 2, "no-such-file"),
        (vec!["send", "no-such-session", BUDI, "hello"], 4, "session"),
        (vec!["get", session, "no-such-message"], 4, "message"),
    ] {
        let (found, _, err) = run(&shop, &words).await;
        assert_eq!((found, err.contains(told)), (Some(code), true), "{words:?}: {err}");
    }
    shop.gateway.stop().await;
}
