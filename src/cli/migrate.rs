//! `migrate`: brings the database up to date and ends.

use super::{Outcome, serve};
use crate::app;
use crate::config::Flags;

pub(super) async fn run(flags: &Flags) -> Outcome {
    let config = serve::configure(flags)?;
    Ok(app::migrate(config).await?)
}
