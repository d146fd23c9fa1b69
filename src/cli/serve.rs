//! `serve`: the gateway.

use super::{Failure, Outcome};
use crate::app;
use crate::config::{self, Flags, Loaded};
use crate::lifecycle::Lifecycle;
use crate::telemetry::{self, Traces};

/// Reads the configuration, begins to log and tells the warnings. Fails with everything that is wrong.
pub(super) fn configure(flags: &Flags) -> Result<(config::Config, Traces), Failure> {
    let Loaded { config, warnings, .. } =
        config::load(flags, &config::environment()).map_err(|invalid| Failure::usage(invalid.to_string()))?;
    let traces = telemetry::init(&config.log, config.log_format)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok((config, traces))
}

pub(super) async fn run(flags: &Flags) -> Outcome {
    let (config, traces) = configure(flags)?;
    let lifecycle = Lifecycle::new(config.shutdown_grace);
    let served = app::serve(config, lifecycle).await;
    traces.end().await;
    Ok(served?)
}
