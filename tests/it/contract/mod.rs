//! The documented REST surface, as facts in `rest-v1.json`, against the answers of a running gateway; and its own description of itself.

mod account;
mod catalogue;
mod chats;
mod check;
mod directory;
mod documents;
mod inbound;
mod sending;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::Ambient;

use crate::gateway::{Gateway, Home, KEY};
use crate::support::Engine;
use crate::trust::Trusting;

/// Documented operations that are not there yet. Exact: whoever builds one takes it off and adds it to the calls below.
const NOT_YET: &[&str] = &[
    "listOAuthApps",
    "createOAuthApp",
    "deleteOAuthApp",
    "getOAuthApp",
    "updateOAuthApp",
    "listOAuthAppGrants",
    "revokeOAuthAppGrant",
    "revokeAllOAuthAppGrants",
    "disableOAuthApp",
    "enableOAuthApp",
    "rotateOAuthAppSecret",
];

/// What documented requests may hold and ours do not take yet, as `operation: name`. Exact too.
const NOT_TAKEN_YET: &[&str] = &[];

/// Codes beside the documented ones: the documented `conflict` and `gateway_unavailable` would hide what a program has to do.
const MORE_CODES: [&str; 2] = ["session_not_connected", "timeout"];

/// One documented operation.
struct Operation {
    method: String,
    path: String,
    facts: Value,
}

/// The facts, and which operations have been seen to succeed and to fail as documented.
struct Contract {
    schemas: serde_json::Map<String, Value>,
    operations: BTreeMap<String, Operation>,
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl Contract {
    fn read() -> Self {
        let facts: Value = serde_json::from_str(include_str!("rest-v1.json")).unwrap();
        let mut operations = BTreeMap::new();
        for (path, verbs) in facts["paths"].as_object().unwrap() {
            for (method, facts) in verbs.as_object().unwrap() {
                let id = facts["operationId"].as_str().unwrap().to_owned();
                let operation = Operation { method: method.to_uppercase(), path: path.clone(), facts: facts.clone() };
                assert!(operations.insert(id, operation).is_none(), "{path}: the operation is there twice");
            }
        }
        let mut schemas = facts["schemas"].as_object().unwrap().clone();
        // The page the product was asked from wants `nextCursor` to be there, and `null` at the end.
        for list in schemas.values_mut().filter(|s| s["properties"].get("nextCursor").is_some()) {
            list["properties"]["nextCursor"]["type"] = json!(["string", "null"]);
        }
        for code in MORE_CODES {
            schemas["ErrorDetail"]["properties"]["code"]["enum"].as_array_mut().unwrap().push(code.into());
        }
        Self { schemas, operations, succeeded: BTreeSet::new(), failed: BTreeSet::new() }
    }

    /// Calls an operation with the path's variables in their order, and checks the answer's status and body.
    async fn call(&mut self, gateway: &Gateway, id: &str, variables: &[&str], body: Option<Value>) -> Value {
        self.call_as(gateway, Some(KEY), id, variables, "", body).await.1
    }

    async fn call_as(
        &mut self,
        gateway: &Gateway,
        key: Option<&str>,
        id: &str,
        variables: &[&str],
        query: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let operation = &self.operations[id];
        let mut path = operation.path.clone();
        for value in variables {
            let (from, to) = (path.find('{').unwrap(), path.find('}').unwrap());
            path.replace_range(from..=to, value);
        }
        let (status, answer) = gateway.call_as(key, &operation.method, &(path + query), body).await;
        let responses = operation.facts["responses"].as_object().unwrap();
        let documented = responses.get(&status.to_string());
        assert!(documented.is_some() || status >= 400, "{id}: status {status} is not documented: {answer}");
        let response = documented.unwrap_or(&responses["default"]);
        match response.get("application/json") {
            Some(schema) => {
                let problems = check::problems(&self.schemas, schema, &answer);
                assert!(problems.is_empty(), "{id}: {problems:#?} in {answer:#}");
            }
            None => assert_eq!(answer, Value::Null, "{id}: the documented answer has no body"),
        }
        let seen = if documented.is_some() { &mut self.succeeded } else { &mut self.failed };
        seen.insert(id.to_owned());
        (status, answer)
    }

    /// The documented payload of an event.
    fn payload_of(&self, name: &str) -> Option<&Value> {
        let schema = self.schemas.values().find(|schema| {
            schema["properties"]["event"]["enum"].as_array().is_some_and(|names| names.iter().any(|one| one == name))
        })?;
        let payload = schema["properties"]["payload"]["$ref"].as_str()?;
        self.schemas.get(payload.rsplit('/').next()?)
    }

    /// Checks the events of the log whose shape is documented; answers which names those are.
    fn check_events(&self, events: &[Value]) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for event in events {
            let name = &event["event"];
            let documents = |schema: &&Value| schema["properties"]["event"]["enum"].as_array().is_some_and(|e| e.contains(name));
            let Some(schema) = self.schemas.values().find(documents) else { continue };
            let problems = check::problems(&self.schemas, schema, event);
            assert!(problems.is_empty(), "{problems:#?} in {event:#}");
            seen.insert(name.as_str().unwrap().to_owned());
        }
        seen
    }
}

const SHOP: &str = "6281200000001";
const BUDI: &str = "6281200000002";
const TYPED: &str = "6281200000003";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_operation_answers_as_documented() {
    let trusting = Trusting::start(Ambient::system()).await;
    let gateway = &trusting.gateway;
    let mut contract = Contract::read();
    let c = &mut contract;

    // Sessions, empty and full.
    c.call(gateway, "listSessions", &[], None).await;
    let made = c
        .call(gateway, "createSession", &[], Some(json!({"label": "Support line", "autoRead": true, "presenceTyping": false})))
        .await;
    let id = made["id"].as_str().unwrap();
    c.call(gateway, "getSession", &[id], None).await;
    c.call(gateway, "sessionMe", &[id], None).await;
    c.call(gateway, "startSession", &[id], None).await;
    gateway.phone(SHOP).await;
    gateway.phone(BUDI).await;
    let (_, qr) = c.call_as(gateway, Some(KEY), "sessionQR", &[id], "?wait=30", None).await;
    gateway.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), json!({"code": qr["code"]})).await;
    gateway.until(&format!("/api/v1/sessions/{id}"), "working", |s| s["status"] == "working").await;
    c.call(gateway, "getSession", &[id], None).await;
    c.call(gateway, "sessionMe", &[id], None).await;
    c.call(gateway, "listSessions", &[], None).await;

    // Pairing by code.
    gateway.phone(TYPED).await;
    let other = c.call(gateway, "createSession", &[], Some(json!({"start": true}))).await;
    let other = other["id"].as_str().unwrap();
    c.call(gateway, "sessionPairingCode", &[other], Some(json!({"phone": TYPED}))).await;

    // Messages and what is told of them.
    let text = json!({"type": "text", "to": BUDI, "text": "Good morning."});
    c.call(gateway, "sendMessage", &[id], Some(text.clone())).await;
    gateway.post(&format!("/sandbox/v1/phones/{BUDI}/messages"), json!({"to": SHOP, "text": "Hello?"})).await;
    gateway.until("/api/v1/events?events=message", "the message", |e| e["data"][0].is_object()).await;
    gateway.until("/api/v1/events?events=message.status", "a receipt", |e| e["data"][0].is_object()).await;
    let events = gateway.get("/api/v1/events?limit=1000").await;
    let seen = c.check_events(events["data"].as_array().unwrap());
    for name in ["auth.qr", "message", "message.status", "session.status"] {
        assert!(seen.contains(name), "no {name} among {seen:?}");
    }

    chats::calls(c, gateway, id).await;
    directory::calls(c, gateway, id, &trusting.super_admin()).await;
    sending::calls(c, gateway, id).await;

    account::calls(c, gateway, id, SHOP).await;

    // Webhooks.
    let hook =
        json!({"url": "http://127.0.0.1:9/hook", "events": ["message"], "sessionId": id, "customHeaders": {"x-shop": "1"}});
    let hook = c.call(gateway, "createWebhook", &[], Some(hook)).await;
    let hook = hook["id"].as_str().unwrap();
    c.call(gateway, "getWebhook", &[hook], None).await;
    c.call(gateway, "listWebhooks", &[], None).await;
    c.call(gateway, "updateWebhook", &[hook], Some(json!({"active": false}))).await;
    c.call(gateway, "deleteWebhook", &[hook], None).await;

    // The platform's own.
    c.call_as(gateway, Some(&trusting.super_admin()), "adminListSessions", &[], "", None).await;

    // The end.
    c.call(gateway, "stopSession", &[id], None).await;
    c.call(gateway, "restartSession", &[id], None).await;
    c.call(gateway, "logoutSession", &[id], None).await;
    c.call(gateway, "deleteSession", &[other], None).await;

    // What goes wrong, for every operation: nobody's session, no credential, a body that is none.
    let built: Vec<String> = c.operations.keys().filter(|id| !NOT_YET.contains(&id.as_str())).cloned().collect();
    for id in &built {
        let variables = vec!["no-such-thing"; c.operations[id].path.matches('{').count()];
        let body = c.operations[id].facts.get("requestBody").map(|_| text_or_phone(id));
        let (status, _) = c.call_as(gateway, None, id, &variables, "", body.clone()).await;
        assert_eq!(status, 401, "{id} without a credential");
        if !variables.is_empty() {
            // The platform's own methods refuse everybody else before they look.
            let platform = trusting.super_admin();
            let key = if id.starts_with("admin") { platform.as_str() } else { KEY };
            let (status, answer) = c.call_as(gateway, Some(key), id, &variables, "", body).await;
            // Forms are told from objects before their path is looked at.
            let expected = if id == "importBackup" { 415 } else { 404 };
            assert_eq!(status, expected, "{id} on nothing: {answer}");
        }
        if c.operations[id].facts.get("requestBody").is_some() && id != "importBackup" {
            let (status, _) = c.call_as(gateway, Some(KEY), id, &variables, "", Some(json!(["no object"]))).await;
            assert_eq!(status, 400, "{id} with a list for a body");
        }
        assert!(c.failed.contains(id), "{id} was never seen to fail");
        let shown = c.succeeded.contains(id);
        assert!(shown, "{id} is there, and no call above shows that it answers as documented");
    }
    trusting.stop().await;
}

/// A body that is well-formed for the operation.
fn text_or_phone(id: &str) -> Value {
    match id {
        "sessionPairingCode" => json!({"phone": TYPED}),
        "sendMessage" => json!({"type": "text", "to": BUDI, "text": "x"}),
        "editMessage" => json!({"text": "x"}),
        "addReaction" => json!({"emoji": "👍"}),
        "forwardMessage" => json!({"to": BUDI}),
        "setPresence" => json!({"state": "online"}),
        "setChatPresence" => json!({"state": "paused"}),
        "createChannel" => json!({"name": "x"}),
        "postStatus" => json!({"type": "text", "text": "x"}),
        _ => json!({}),
    }
}

/// The lists above are exact, by what the gateway tells of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_yet_is_listed() {
    let home = Home::new(Engine::Sqlite).await;
    let gateway = home.start().await;
    let ours = gateway.get("/api/v1/openapi.json").await;
    gateway.stop().await;
    let contract = Contract::read();
    let (mut missing, mut not_taken) = (Vec::new(), Vec::new());
    for (id, operation) in &contract.operations {
        let Some(found) = find(&ours, &operation.method, &operation.path) else {
            missing.push(id.as_str());
            continue;
        };
        let success = |r: &&String| r.starts_with('2');
        for status in operation.facts["responses"].as_object().unwrap().keys().filter(success) {
            assert!(found["responses"].get(status).is_some(), "{id}: {status} is documented and not declared");
        }
        let taken = |name: &str, place: &str| {
            let named = |p: &Value| p["in"] == place && (p["name"] == name || place == "header" && same_header(&p["name"], name));
            found["parameters"].as_array().is_some_and(|all| all.iter().any(named))
        };
        for parameter in operation.facts["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] != "path") {
            let name = parameter["name"].as_str().unwrap();
            if !taken(name, parameter["in"].as_str().unwrap()) {
                not_taken.push(format!("{id}: {name}"));
            }
        }
        let Some(body) = operation.facts.pointer("/requestBody/content/application~1json/$ref") else { continue };
        let documented = &contract.schemas[body.as_str().unwrap().rsplit('/').next().unwrap()];
        let schema = &found["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let schema = ours.pointer(&schema.as_str().unwrap()[1..]).unwrap();
        for name in documented["properties"].as_object().unwrap().keys() {
            if schema["properties"].get(name).is_none() {
                not_taken.push(format!("{id}: {name}"));
            }
        }
    }
    let mut listed = NOT_YET.to_vec();
    listed.sort_unstable();
    missing.sort_unstable();
    assert_eq!(missing, listed, "the list of what is not there yet (right) is not exact");
    not_taken.sort();
    assert_eq!(not_taken, NOT_TAKEN_YET, "the list of what is not taken yet (right) is not exact");
}

/// The operation in `document` with the same method and the same path, whatever its variables are called.
fn find<'d>(document: &'d Value, method: &str, path: &str) -> Option<&'d Value> {
    let shape = |path: &str| {
        path.split('/').map(|s| if s.starts_with('{') { s.split_once('}').unwrap().1 } else { s }.to_owned()).collect::<Vec<_>>()
    };
    let paths = document["paths"].as_object().unwrap();
    let (_, verbs) = paths.iter().find(|(p, _)| shape(p) == shape(path))?;
    verbs.get(method.to_lowercase())
}

fn same_header(name: &Value, other: &str) -> bool {
    name.as_str().is_some_and(|name| name.eq_ignore_ascii_case(other))
}
