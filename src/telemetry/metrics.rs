//! Metrics for Prometheus. Labels are bounded: methods, codes, names of events and states; never ids, numbers or addresses.
//!
//! Rooms count where things happen, by the `metrics` macros, which cost next to nothing while nobody has called [`install`]. What rows
//! tell (sessions, backlogs) is read when somebody asks.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// How often samples are folded into their histograms while nobody asks.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds: from what a call in memory takes to what it may take at most.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Begins to count, once for the process. What happened before is not in the numbers.
///
/// # Errors
/// Another recorder is there already.
pub fn install() -> anyhow::Result<Metrics> {
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = RECORDER.get() {
        return Ok(Metrics(handle.clone()));
    }
    let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS).context("buckets")?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| anyhow::anyhow!("this process counts its metrics elsewhere already"))?;
    describe();
    Ok(Metrics(RECORDER.get_or_init(|| handle).clone()))
}

impl Metrics {
    /// All of them, in the text form of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds samples into their histograms. To be called every [`UPKEEP`], for samples lie in memory until somebody does.
    pub fn keep_up(&self) {
        self.0.run_upkeep();
    }
}

fn describe() {
    describe_counter!(
        "wagw_http_requests_total",
        "HTTP requests answered, by door (grpc, grpc_web, rest, page, probe) and status"
    );
    describe_histogram!("wagw_http_request_seconds", Unit::Seconds, "Time until an answer begins, by door");
    describe_counter!("wagw_calls_total", "Calls of the contract's methods by whichever door, by method and code");
    describe_histogram!("wagw_call_seconds", Unit::Seconds, "Time until a call's answer is complete, by method; without streams");
    describe_gauge!("wagw_streams", "Streams that are open, by method");
    describe_counter!("wagw_events_recorded_total", "Events written to the log by this gateway, by name");
    describe_counter!("wagw_messages_received_total", "Messages received by this gateway's sessions");
    describe_counter!("wagw_messages_sent_total", "Messages that WhatsApp accepted (sent) or that failed, by outcome");
    describe_gauge!("wagw_followers", "Followers of event logs on this gateway");
    describe_gauge!("wagw_events_stored", "Events kept in the database, of all organizations");
    describe_gauge!("wagw_sessions", "Sessions of this gateway by status");
    describe_counter!("wagw_webhook_attempts_total", "Tries of webhook deliveries by this gateway, by result");
    describe_histogram!("wagw_webhook_attempt_seconds", Unit::Seconds, "Time that webhook receivers took");
    describe_gauge!("wagw_webhooks", "Webhooks in the database: on, paused after failures, off");
    describe_gauge!("wagw_webhook_deliveries_pending", "Webhook deliveries in the database that are not delivered yet");
    describe_gauge!("wagw_webhook_deliveries_dead", "Webhook deliveries in the database that were given up");
    describe_gauge!("wagw_webhook_lag_seconds", Unit::Seconds, "Age of the oldest webhook delivery that is not delivered yet");
    describe_gauge!("wagw_outbox_due", "Messages in the database that are due and not sent yet");
    describe_gauge!("wagw_outbox_lag_seconds", Unit::Seconds, "For how long the oldest of them has been due");
    describe_gauge!("wagw_database_connections", "Connections to the database by state (idle, used)");
    describe_gauge!("wagw_sandbox_phones", "Phones of the built-in simulator");
    describe_gauge!("wagw_sandbox_devices", "Devices linked to them");
}
