//! `serve`: the gateway.

use super::{Failure, Outcome};
use crate::config::{self, Flags, Loaded};
use crate::lifecycle::Lifecycle;
use crate::{app, telemetry};

/// Reads the configuration, begins to log and tells the warnings. Fails with everything that is wrong.
pub(super) fn configure(flags: &Flags) -> Result<config::Config, Failure> {
    let Loaded { config, warnings, .. } =
        config::load(flags, &config::environment()).map_err(|invalid| Failure::usage(invalid.to_string()))?;
    telemetry::init(&config.log, config.log_format)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

pub(super) async fn run(flags: &Flags) -> Outcome {
    let config = configure(flags)?;
    let lifecycle = Lifecycle::new(config.shutdown_grace);
    Ok(app::serve(config, lifecycle).await?)
}
