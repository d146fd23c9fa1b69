//! `sandbox load`: lets many simulated phones talk, and tells what came through.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::client::{Guarded, Target, call};
use super::{Failure, Outcome, output};
use crate::config::LogFormat;
use crate::domain::clock::Ambient;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::sandbox_service_client::SandboxServiceClient;
use crate::sandbox::load::{self, LoadConfig, Phones, Report, Senders, Usage};
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::telemetry;

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// The linked devices write, with ciphertexts that nobody can read.
    Devices,
    /// The simulated phones write, with real ciphertexts for every device.
    Phones,
}

#[derive(Args)]
pub(super) struct Arguments {
    /// How many phones, each with one linked device on a connection of its own. Each takes two file descriptors (`ulimit -n`), one with
    /// `--control`.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    phones: u32,
    /// How many messages a second they write, all together.
    #[arg(long, default_value_t = 50.0, value_name = "PER SECOND")]
    rate: f64,
    /// How many seconds they write.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Who writes.
    #[arg(long, value_enum, default_value_t = By::Devices)]
    by: By,
    /// The control API of a running sandbox, such as http://127.0.0.1:8089; without it the command runs a sandbox of its own.
    #[arg(long, value_name = "URL", requires_all = ["ws", "api_key"])]
    control: Option<String>,
    /// Address and port of the running sandbox's simulated WhatsApp, such as 127.0.0.1:8088.
    #[arg(long, value_name = "ADDRESS")]
    ws: Option<SocketAddr>,
    /// The api-key of the control API.
    #[arg(long, env = "WAGW_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<SecretString>,
    /// The running sandbox's process, whose use of processor and memory is told instead of this command's own. Linux only.
    #[arg(long, value_name = "PID", requires = "control")]
    pid: Option<u32>,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { phones, rate, seconds, by, control, ws, api_key, pid, json } = arguments;
    // It is short; its spans are nobody's business.
    let _traces = telemetry::init("warn", LogFormat::Text).map_err(|error| Failure::usage(format!("{error:#}")))?;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(Failure::usage("--rate must be above 0"));
    }
    let ambient = Ambient::system();
    let shutdown = CancellationToken::new();
    let (address, side, serving): (_, Arc<dyn Phones>, _) = match (control, ws, api_key) {
        (Some(control), Some(ws), Some(key)) => {
            let connection = Target::to(control, key).connect().await?;
            (ws, Arc::new(There(connection.sandbox())), None)
        }
        _ => {
            // The command's own devices are all that there is, so nobody needs protection from them.
            let config = SandboxConfig { max_connections: usize::MAX >> 4, ..SandboxConfig::default() };
            let sandbox = Sandbox::open(config, ambient.clone()).await.map_err(anyhow::Error::from)?;
            let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the sandbox")?;
            let address = listener.local_addr()?;
            let (served, token) = (sandbox.clone(), shutdown.clone());
            (address, Arc::new(sandbox), Some(tokio::spawn(async move { served.serve(listener, token).await })))
        }
    };
    let config = LoadConfig {
        address,
        phones: usize::try_from(phones).unwrap_or(usize::MAX),
        rate,
        duration: Duration::from_secs(seconds),
        senders: match by {
            By::Devices => Senders::Devices,
            By::Phones => Senders::Phones,
        },
        pid,
    };
    let spinner = output::spinner(format!("{phones} phones are linked, then they talk for {seconds} s"));
    let report = Box::pin(load::run(&config, side, &ambient)).await;
    spinner.finish_and_clear();
    shutdown.cancel();
    if let Some(serving) = serving {
        let _ = serving.await;
    }
    let report = report?;
    if json {
        output::json(&as_json(&report))?;
    } else {
        output::sheet(&as_rows(&report))?;
    }
    let whole = report.refused == 0 && report.delivered == report.sent && report.lost_connections == 0;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The phones of a sandbox elsewhere.
struct There(SandboxServiceClient<Guarded>);

#[async_trait]
impl Phones for There {
    async fn create(&self, number: &str) -> anyhow::Result<()> {
        let request = proto::CreatePhoneRequest {
            phone_number: number.to_owned(),
            push_name: String::new(),
            auto_read: Some(false),
            ..Default::default()
        };
        match self.0.clone().create_phone(call(request)).await {
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    async fn scan(&self, number: &str, code: &str) -> anyhow::Result<()> {
        let request = proto::ScanQrRequest { phone_number: number.to_owned(), code: code.to_owned() };
        Ok(self.0.clone().scan_qr(call(request)).await.map(drop)?)
    }

    async fn send(&self, from: &str, to: &str, text: &str) -> anyhow::Result<String> {
        let request = proto::SendPhoneMessageRequest {
            phone_number: from.to_owned(),
            to: to.to_owned(),
            text: text.to_owned(),
            ..Default::default()
        };
        Ok(self.0.clone().send_phone_message(call(request)).await?.into_inner().id)
    }
}

/// What each message and each phone took, as far as the machine tells.
struct Cost {
    cpu_per_message: Duration,
    processors: f64,
    memory: u64,
    per_phone: u64,
}

fn cost(report: &Report) -> Option<Cost> {
    let [before, connected, after]: [Usage; 3] =
        [report.usage[0], report.usage[1], report.usage[2]].into_iter().collect::<Option<Vec<_>>>()?.try_into().ok()?;
    let cpu = after.cpu.saturating_sub(connected.cpu);
    Some(Cost {
        cpu_per_message: cpu.div_f64(report.sent.max(1) as f64),
        processors: cpu.as_secs_f64() / report.writing.as_secs_f64(),
        memory: after.memory,
        per_phone: connected.memory.saturating_sub(before.memory) / u64::try_from(report.phones).unwrap_or(1).max(1),
    })
}

fn rate(report: &Report) -> f64 {
    report.delivered as f64 / report.writing.as_secs_f64()
}

fn as_rows(report: &Report) -> Vec<(&'static str, String)> {
    let span = |span: Duration| format!("{:.1} ms", span.as_secs_f64() * 1000.0);
    let spread = |spread: load::Spread| format!("median {}, p99 {}", span(spread.median), span(spread.p99));
    let mut rows = vec![
        ("phones", format!("{}, linked in {:.1} s", report.phones, report.linking.as_secs_f64())),
        ("sent", format!("{} in {:.1} s, {} refused", report.sent, report.writing.as_secs_f64(), report.refused)),
        ("arrived", format!("{}, {} of them more than once", report.arrived, report.repeated)),
        ("delivered", format!("{}, {:.1} a second", report.delivered, rate(report))),
        ("read", report.read.to_string()),
        ("lost connections", report.lost_connections.to_string()),
        ("to the recipient", spread(report.to_recipient)),
        ("to the receipt", spread(report.to_receipt)),
    ];
    if let Some(cost) = cost(report) {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        rows.push(("processor", format!("{:.2} busy, {} a message", cost.processors, span(cost.cpu_per_message))));
        let per_gigabyte = (1u64 << 30).checked_div(cost.per_phone).unwrap_or(0);
        let phone = cost.per_phone / 1024;
        rows.push(("memory", format!("{:.0} MiB; {phone} KiB a phone, {per_gigabyte} phones a GiB", megabytes(cost.memory))));
    }
    rows
}

fn as_json(report: &Report) -> serde_json::Value {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let spread = |spread: load::Spread| json!({"medianUs": micros(spread.median), "p99Us": micros(spread.p99)});
    let cost = cost(report).map(|cost| {
        json!({"cpuPerMessageUs": micros(cost.cpu_per_message), "processors": cost.processors, "memoryBytes": cost.memory, "bytesPerPhone": cost.per_phone})
    });
    json!({
        "phones": report.phones,
        "linkingMs": report.linking.as_millis(),
        "writingMs": report.writing.as_millis(),
        "sent": report.sent,
        "refused": report.refused,
        "arrived": report.arrived,
        "repeated": report.repeated,
        "delivered": report.delivered,
        "read": report.read,
        "lostConnections": report.lost_connections,
        "perSecond": rate(report),
        "toRecipient": spread(report.to_recipient),
        "toReceipt": spread(report.to_receipt),
        "cost": cost,
    })
}
