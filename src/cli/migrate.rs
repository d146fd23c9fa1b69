//! `migrate`: brings the database up to date and ends.

use super::{Outcome, serve};
use crate::app;
use crate::config::Flags;

pub(super) async fn run(flags: &Flags) -> Outcome {
    let (config, traces) = serve::configure(flags)?;
    let migrated = app::migrate(config).await;
    traces.end().await;
    Ok(migrated?)
}
