//! The reference implementation of Standard Webhooks accepts what we send. It comes from PyPI, in a folder that goes with the test.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::ids::WebhookId;
use whatsapp_gateway::domain::network::Own;
use whatsapp_gateway::domain::webhook::{Secrets, Webhook, generate_secret};
use whatsapp_gateway::egress::Guard;
use whatsapp_gateway::webhook::Sender;
use whatsapp_gateway::webhook::send::Verdict;

use super::bench::{organization, render};
use super::{Hit, Receiver};

/// Verifies each request of a list on the standard input; fails with the first that is refused, or not refused as it should be.
const VERIFY: &str = r#"
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
for case in json.load(sys.stdin):
    try:
        Webhook(case["secret"]).verify(case["body"], case["headers"])
        accepted = True
    except WebhookVerificationError as error:
        accepted = False
    if accepted != case["accepted"]:
        sys.exit(f"{case['what']}: accepted is {accepted}")
print("verified")
"#;

/// Runs a program to its end; the machine's own time limits (of pip above all) bound it.
fn run(program: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{} is needed for this test: {error}", program.display()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{} {arguments:?}: {out}{err}", program.display());
    out.into_owned()
}

fn case(what: &str, secret: &str, hit: &Hit, body: &str, accepted: bool) -> serde_json::Value {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), json!(hit.header(name)))).into_iter().collect();
    json!({"what": what, "secret": secret, "headers": headers, "body": body, "accepted": accepted})
}

#[tokio::test]
async fn the_reference_verifier_accepts_our_signatures() {
    // The verifier looks at the machine's clock, so this test does too.
    let ambient = Ambient::system();
    let (new, old) = (generate_secret(&ambient), generate_secret(&ambient));
    let receiver = Receiver::start([]).await;
    let guard = Guard::new(vec![Own::parse("127.0.0.1").unwrap()]).unwrap();
    let sender = Sender::new(guard, render(), ambient.clone());
    let now = ambient.now();
    let until = now.plus(Duration::from_secs(60));
    let webhook = Webhook {
        id: WebhookId::new("W1"),
        organization: organization(),
        session: None,
        url: receiver.url(),
        events: vec!["*".into()],
        retry: whatsapp_gateway::domain::webhook::Retry::default(),
        headers: [].into(),
        secrets: Secrets { current: new.clone(), former: Some((old.clone(), until)) },
        disabled: None,
        ordered: false,
        concurrency: 4,
        failures: 0,
        paused_until: None,
        created_at: now,
        updated_at: now,
    };
    let (_, tried) = sender.test(&webhook).await.unwrap();
    assert_eq!(tried.verdict, Verdict::Taken);
    let hit = &receiver.hits()[0];
    assert_eq!(hit.header("webhook-signature").split(' ').count(), 2);
    let body = std::str::from_utf8(&hit.body).unwrap();
    let cases = json!([
        case("the present secret", &new, hit, body, true),
        case("the former secret", &old, hit, body, true),
        case("another secret", &generate_secret(&ambient), hit, body, false),
        case("another body", &new, hit, &format!("{body} "), false),
    ]);

    let verified = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("venv");
        run(Path::new("python3"), &["-m", "venv", &home.display().to_string()], "");
        let python = home.join("bin/python");
        let install =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "20", "standardwebhooks==1.0.0"];
        run(&python, &install, "");
        run(&python, &["-c", VERIFY], &cases.to_string())
    });
    assert_eq!(verified.await.unwrap().trim(), "verified");
}
