//! `/metrics`: reads what rows tell when somebody asks, and serves it where the configuration says.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use metrics::gauge;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::config::MetricsAt;
use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::GatewayId;
use crate::error::Result;
use crate::lifecycle::Lifecycle;
use crate::rest::serve::{Limits, Scrape, metrics_only, serve};
use crate::sandbox::Sandbox;
use crate::store::Db;
use crate::telemetry::metrics::{Metrics, UPKEEP, install};

/// For how long what was read from the database is told again.
const HOLDS: Duration = Duration::from_secs(2);

/// Session states; those that no session is in are told as 0, not left as they were.
const STATUSES: [&str; 6] = ["starting", "scan_qr_code", "working", "failed", "stopped", "logged_out"];

/// What numbers are read from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) db: Db,
    pub(super) gateway: GatewayId,
    pub(super) ambient: Ambient,
    pub(super) sandbox: Option<Sandbox>,
}

/// Begins to count, if the configuration wants it; gives what the main port answers `/metrics` with, if it shall.
pub(super) async fn begin(at: MetricsAt, sources: Sources, lifecycle: &Lifecycle) -> anyhow::Result<Option<Scrape>> {
    if at == MetricsAt::Off {
        return Ok(None);
    }
    let metrics = install()?;
    lifecycle.spawn_vital("metrics upkeep", keep_up(metrics.clone(), lifecycle.draining()));
    let scrape = scrape(metrics, sources);
    let MetricsAt::Own(address) = at else { return Ok(Some(scrape)) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("metrics {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics");
    lifecycle.spawn_vital("metrics", serve(listener, metrics_only(scrape), Limits::default(), lifecycle.draining()));
    Ok(None)
}

/// Answers `/metrics`. When the database does not answer, its numbers are the last known ones.
fn scrape(metrics: Metrics, sources: Sources) -> Scrape {
    let last: Arc<Mutex<Option<Time>>> = Arc::default();
    Arc::new(move || {
        let (metrics, sources, last) = (metrics.clone(), sources.clone(), last.clone());
        Box::pin(async move {
            let mut last = last.lock().await;
            let now = sources.ambient.now();
            if last.is_none_or(|at| !at.holds(now, HOLDS)) {
                match sources.read(now).await {
                    Ok(()) => *last = Some(now),
                    Err(error) => tracing::warn!(%error, "the metrics could not be read from the database"),
                }
            }
            metrics.render()
        })
    })
}

/// Folds samples into histograms until the end.
async fn keep_up(metrics: Metrics, draining: CancellationToken) -> anyhow::Result<()> {
    let mut turn = interval(UPKEEP);
    while draining.run_until_cancelled(turn.tick()).await.is_some() {
        metrics.keep_up();
    }
    Ok(())
}

impl Sources {
    async fn read(&self, now: Time) -> Result<()> {
        let connections = self.db.pool_use();
        gauge!("wagw_database_connections", "state" => "idle").set(float(connections.idle));
        let used = usize::try_from(connections.open).unwrap_or(0).saturating_sub(connections.idle);
        gauge!("wagw_database_connections", "state" => "used").set(float(used));
        if let Some(sandbox) = &self.sandbox {
            let phones = sandbox.list_phones().await?;
            gauge!("wagw_sandbox_phones").set(float(phones.len()));
            gauge!("wagw_sandbox_devices").set(float(phones.iter().map(|phone| phone.devices.len()).sum::<usize>()));
        }
        let stats = self.db.stats(&self.gateway, now).await?;
        states("wagw_sessions", "status", &STATUSES, &stats.sessions);
        states("wagw_webhooks", "state", &["on", "paused", "off"], &stats.webhooks);
        gauge!("wagw_events_stored").set(float(stats.events));
        gauge!("wagw_webhook_deliveries_pending").set(float(stats.deliveries_pending));
        gauge!("wagw_webhook_deliveries_dead").set(float(stats.deliveries_dead));
        let lag = stats.oldest_pending.map_or(Duration::ZERO, |since| now.since(since));
        gauge!("wagw_webhook_lag_seconds").set(lag.as_secs_f64());
        gauge!("wagw_outbox_due").set(float(stats.outbox_due));
        let lag = stats.oldest_due.map_or(Duration::ZERO, |since| now.since(since));
        gauge!("wagw_outbox_lag_seconds").set(lag.as_secs_f64());
        Ok(())
    }
}

fn states(name: &'static str, label: &'static str, all: &[&'static str], counted: &[(String, i64)]) {
    for state in all {
        let count = counted.iter().find(|(found, _)| found == state).map_or(0, |(_, count)| *count);
        gauge!(name, label => *state).set(float(count));
    }
}

/// Counts are far below where a float is no longer exact.
fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}
