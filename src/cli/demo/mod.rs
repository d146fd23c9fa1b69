//! `demo`: the whole story against a simulated WhatsApp, on a throw-away database. A client program like any other: it starts this
//! binary as a sandbox and as a gateway, and talks REST and gRPC to them.

mod child;
mod log;
mod rest;
mod stage;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::child::{Program, free_address};
use self::log::Log;
use self::rest::Rest;
use self::stage::Stage;
use super::client::{Connection, Target};
use super::{Failure, Outcome, qr};
use crate::domain::api_key;
use crate::domain::clock::Ambient;
use crate::proto::gateway::WatchPairingRequest;
use crate::proto::gateway::watch_pairing_response::Update;

/// The number that is attached to the gateway.
const SHOP: &str = "6281200000001";
/// The number that writes to it.
const CUSTOMER: &str = "6281200000002";

#[derive(Args)]
pub(super) struct Arguments {
    /// Do not draw the QR code.
    #[arg(long)]
    no_qr: bool,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let mut stage = Stage::new();
    let mut term = signal(SignalKind::terminate())?;
    let mut cast = Cast::gather().await?;
    let told = tokio::select! {
        told = story(&mut stage, &mut cast, !arguments.no_qr) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = term.recv() => Err(anyhow::anyhow!("terminated")),
    };
    stage.curtain();
    match told {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::other(format!("{error:#}\n{}", cast.log_tails()))),
    }
}

/// The story, step by step.
async fn story(stage: &mut Stage, cast: &mut Cast, draw: bool) -> anyhow::Result<()> {
    stage.step("A simulated WhatsApp and a gateway start", async |stage| cast.start(stage).await).await?;

    stage
        .step("An api-key opens the door", async |stage| {
            let without = cast.gateway.knock("/api/v1/sessions").await;
            ensure!(without == Some(StatusCode::UNAUTHORIZED), "without a key the answer was {without:?} instead of 401");
            let sessions = cast.gateway.get("/api/v1/sessions").await?;
            ensure!(sessions == json!({"data": [], "nextCursor": null}), "a fresh gateway has sessions: {sessions}");
            stage.tell(format_args!("key {}…: 200, no sessions yet; without it: 401", api_key::prefix(cast.key.expose_secret())))
        })
        .await?;

    let connection = cast.connect().await?;
    let mut log = Log::follow(&connection, 0).await?;

    let id = stage
        .step("A session is created over REST", async |stage| {
            let body = json!({"label": "Demo shop", "start": true});
            let session = cast.gateway.post("/api/v1/sessions", &body, StatusCode::CREATED).await?;
            stage.tell(format_args!("{session:#}"))?;
            expect(&session, "status", "starting")?;
            Ok(text(&session, "id")?.to_owned())
        })
        .await?;

    let mut pairing = connection.pairing().watch_pairing(WatchPairingRequest { session: id.clone() }).await?.into_inner();
    let code = stage
        .step("The gateway shows a QR code (gRPC WatchPairing)", async |stage| {
            let code = stage
                .within("a QR code", async {
                    loop {
                        let update = pairing.message().await?.context("the pairing stream ended")?.update;
                        if let Some(Update::Qr(qr)) = update {
                            return Ok(qr.code);
                        }
                    }
                })
                .await?;
            if draw {
                let drawing =
                    qr::lines(&code, super::output::is_terminal()).map_err(|failure| anyhow::anyhow!("{}", failure.line()))?;
                stage.tell(drawing.join("\n"))?;
            }
            Ok(code)
        })
        .await?;

    stage
        .step("A simulated phone scans it", async |stage| {
            for (number, name) in [(SHOP, "Demo shop"), (CUSTOMER, "Budi")] {
                let phone = json!({"phoneNumber": number, "pushName": name});
                cast.sandbox.post("/sandbox/v1/phones", &phone, StatusCode::CREATED).await?;
            }
            cast.sandbox.post(&format!("/sandbox/v1/phones/{SHOP}:scan"), &json!({"code": code}), StatusCode::OK).await?;
            stage.tell(format_args!("phone +{SHOP} scanned the code"))
        })
        .await?;

    let paired = stage
        .step("The session is working", async |stage| {
            let session = cast.until_working(stage, &id).await?;
            expect(&session, "phoneNumber", SHOP)?;
            for field in ["phoneNumber", "waJid", "waLid", "gatewayId"] {
                stage.tell(format_args!("{field:<12} {}", text(&session, field)?))?;
            }
            Ok(session)
        })
        .await?;

    stage
        .step("A customer writes, and the event arrives", async |stage| {
            let event = cast.customer_writes(stage, &mut log, "Do you have blue shoes?").await?;
            stage.tell(format_args!("{event:#}"))
        })
        .await?;

    let sent = stage
        .step("We answer, and the customer's phone decrypts it", async |stage| {
            let message = json!({"type": "text", "to": CUSTOMER, "text": "Yes, in size 42."});
            let sent = cast.gateway.post(&format!("/api/v1/sessions/{id}/messages"), &message, StatusCode::OK).await?;
            stage.tell(format_args!("{sent:#}"))?;
            cast.until_phone_shows(stage, CUSTOMER, "in", "Yes, in size 42.", "received").await?;
            Ok(text(&sent, "waMessageId")?.to_owned())
        })
        .await?;

    stage
        .step("Delivered and read receipts come back", async |stage| {
            let mine = |event: &Value| {
                let ids = event["payload"]["messageIds"].as_array();
                event["event"] == "message.status" && ids.is_some_and(|ids| ids.contains(&json!(sent)))
            };
            // Receipts may overtake each other; who has read a message has received it.
            loop {
                let event = stage.within("the receipts", log.next(mine)).await?;
                let status = text(&event["payload"], "status")?;
                stage.tell(format_args!("{sent} {status}: event {}", event["sequence"]))?;
                if status == "read" {
                    return Ok(());
                }
            }
        })
        .await?;

    let meanwhile = "Are you still there?";
    stage
        .step("The gateway is killed, and the customer writes meanwhile", async |stage| {
            cast.kill_gateway()?;
            cast.phone_sends(meanwhile).await?;
            stage.tell(format_args!("SIGKILL; on its phone the customer wrote: {meanwhile}"))
        })
        .await?;

    stage
        .step("Started again, it is working without a new pairing", async |stage| {
            cast.start_gateway(stage).await?;
            let session = cast.until_working(stage, &id).await?;
            for field in ["phoneNumber", "waJid", "waLid", "gatewayId"] {
                ensure!(session[field] == paired[field], "{field} changed: {} became {}", paired[field], session[field]);
            }
            let codes =
                cast.events("auth.qr").await?.iter().filter(|event| event["sequence"].as_i64() > Some(log.last())).count();
            ensure!(codes == 0, "the gateway showed {codes} QR codes after its restart");
            stage.tell("the same number, no QR code")
        })
        .await?;

    let connection = cast.connect().await?;
    let mut log = Log::follow(&connection, log.last()).await?;
    stage
        .step("The message sent meanwhile has arrived, exactly once", async |stage| {
            stage.within("the message", log.next(|event| is_message(event, meanwhile))).await?;
            // Whatever was to be delivered before it has been delivered when a later message is here.
            cast.customer_writes(stage, &mut log, "Hello again!").await?;
            let all = cast.events("message").await?;
            let times = all.iter().filter(|event| is_message(event, meanwhile)).count();
            ensure!(times == 1, "the message is in the event log {times} times");
            stage.tell(format_args!("once among {} messages in the log", all.len()))
        })
        .await?;

    stage
        .step("The session logs out", async |stage| {
            let path = format!("/api/v1/sessions/{id}:logout");
            cast.gateway.post(&path, &json!({}), StatusCode::OK).await?;
            let session = cast.until_status(stage, &id, "logged_out").await?;
            stage
                .until("the phone to forget the device", async || {
                    let phone = cast.sandbox.get(&format!("/sandbox/v1/phones/{SHOP}")).await?;
                    Ok(phone["devices"].as_array().is_some_and(Vec::is_empty).then_some(()))
                })
                .await?;
            stage.tell(format_args!(
                "{}: {}",
                text(&session, "status")?,
                session["statusDetail"]["message"].as_str().unwrap_or("–")
            ))
        })
        .await?;
    stage.applause()
}

/// Who plays: the two programs, where they are, and how to talk to them.
struct Cast {
    key: SecretString,
    sandbox: Rest,
    gateway: Rest,
    sandbox_address: SocketAddr,
    whatsapp_address: SocketAddr,
    gateway_address: SocketAddr,
    /// Address and public key of the simulated WhatsApp, once it runs.
    whatsapp: Option<(String, String)>,
    sandbox_program: Option<Program>,
    gateway_program: Option<Program>,
    // Dropped last: the programs that use it are gone by then.
    dir: tempfile::TempDir,
}

impl Cast {
    async fn gather() -> anyhow::Result<Self> {
        let key: SecretString = api_key::generate(&Ambient::system()).into();
        let [sandbox_address, whatsapp_address, gateway_address] = [free_address()?, free_address()?, free_address()?];
        Ok(Self {
            sandbox: Rest::new(format!("http://{sandbox_address}"), key.clone())?,
            gateway: Rest::new(format!("http://{gateway_address}"), key.clone())?,
            key,
            sandbox_address,
            whatsapp_address,
            gateway_address,
            whatsapp: None,
            sandbox_program: None,
            gateway_program: None,
            dir: tempfile::tempdir()?,
        })
    }

    async fn start(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let (listen, whatsapp) = (self.sandbox_address.to_string(), self.whatsapp_address.to_string());
        let arguments = ["sandbox", "--json", "--listen", &listen, "--ws-listen", &whatsapp].map(str::to_owned);
        let mut program = Program::start("sandbox", &arguments, &self.key, self.dir.path())?;
        let announced = stage.within("the sandbox", program.announcement()).await;
        self.sandbox_program = Some(program);
        let announced = announced?;
        let (url, key) = (text(&announced, "url")?.to_owned(), text(&announced, "key")?.to_owned());
        stage.tell(format_args!("sandbox  {url}, its phones are told what to do at http://{listen}"))?;
        self.whatsapp = Some((url, key));
        self.start_gateway(stage).await?;
        let path: &Path = self.dir.path();
        stage.tell(format_args!("gateway  http://{}, data in {}", self.gateway_address, path.display()))
    }

    async fn start_gateway(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let (url, key) = self.whatsapp.clone().context("the sandbox runs first")?;
        let listen = self.gateway_address.to_string();
        let arguments =
            ["serve", "--listen", &listen, "--gateway-id", "demo-gateway", "--sandbox-url", &url, "--sandbox-key", &key];
        let mut program = Program::start("gateway", &arguments.map(str::to_owned), &self.key, self.dir.path())?;
        let ready = stage
            .until("the gateway", async || {
                program.check_alive()?;
                Ok((self.gateway.knock("/readyz").await == Some(StatusCode::OK)).then_some(()))
            })
            .await;
        let id = program.id();
        self.gateway_program = Some(program);
        ready?;
        stage.tell(format_args!("gateway  runs as process {id}"))
    }

    fn kill_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway_program.take().context("the gateway does not run")?.kill().context("cannot kill the gateway")
    }

    /// A gRPC connection to the gateway.
    async fn connect(&self) -> anyhow::Result<Connection> {
        let target = Target::to(format!("http://{}", self.gateway_address), self.key.clone());
        target.connect().await.map_err(|failure| anyhow::anyhow!("{}", failure.line()))
    }

    async fn until_working(&self, stage: &mut Stage, id: &str) -> anyhow::Result<Value> {
        self.until_status(stage, id, "working").await
    }

    async fn until_status(&self, stage: &mut Stage, id: &str, status: &str) -> anyhow::Result<Value> {
        let path = format!("/api/v1/sessions/{id}");
        stage
            .until(&format!("the session to be {status}"), async || {
                let session = self.gateway.get(&path).await?;
                ensure!(session["status"] != "failed", "the session failed: {}", session["statusDetail"]);
                Ok((session["status"] == status).then_some(session))
            })
            .await
    }

    async fn phone_sends(&self, words: &str) -> anyhow::Result<()> {
        let message = json!({"to": SHOP, "text": words});
        self.sandbox.post(&format!("/sandbox/v1/phones/{CUSTOMER}/messages"), &message, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn customer_writes(&self, stage: &mut Stage, log: &mut Log, words: &str) -> anyhow::Result<Value> {
        self.phone_sends(words).await?;
        stage.within("the event", log.next(|event| is_message(event, words))).await
    }

    async fn until_phone_shows(
        &self,
        stage: &mut Stage,
        phone: &str,
        direction: &str,
        words: &str,
        state: &str,
    ) -> anyhow::Result<()> {
        let path = format!("/sandbox/v1/phones/{phone}/messages");
        let message = stage
            .until("the phone to show it", async || {
                let shown = self.sandbox.get(&path).await?;
                let all = shown["data"].as_array().cloned().unwrap_or_default();
                Ok(all.into_iter().find(|message| message["direction"] == direction && message["text"] == words))
            })
            .await?;
        // A phone that reads at once is past the state in question already.
        ensure!([state, "read"].map(Value::from).contains(&message["state"]), "the phone's message is {}", message["state"]);
        ensure!(message["arrivals"] == 1, "the message arrived {} times", message["arrivals"]);
        stage.tell(format_args!("on +{phone}: {words}"))
    }

    /// All events of one name, page by page.
    async fn events(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut after = json!(0);
        loop {
            let page = self.gateway.get(&format!("/api/v1/events?events={name}&after={after}")).await?;
            all.extend(page["data"].as_array().cloned().unwrap_or_default());
            match &page["nextCursor"] {
                Value::Number(next) => after = json!(next),
                _ => return Ok(all),
            }
        }
    }

    fn log_tails(&self) -> String {
        let programs = [&self.sandbox_program, &self.gateway_program];
        programs.into_iter().flatten().map(Program::log_tail).collect::<Vec<_>>().join("\n")
    }
}

fn is_message(event: &Value, words: &str) -> bool {
    event["event"] == "message" && event["payload"]["body"] == words
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value[field].as_str().with_context(|| format!("`{field}` is missing in {value}"))
}

fn expect(value: &Value, field: &str, expected: &str) -> anyhow::Result<()> {
    let found = text(value, field)?;
    ensure!(found == expected, "`{field}` is `{found}` instead of `{expected}`");
    Ok(())
}
