//! `openapi`: the description of the HTTP API.

use std::process::ExitCode;

use clap::Args;

use super::{Outcome, output};
use crate::app;

#[derive(Args)]
pub(super) struct Arguments {
    /// YAML instead of JSON.
    #[arg(long)]
    yaml: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    output::part(app::openapi(arguments.yaml)?)?;
    Ok(ExitCode::SUCCESS)
}
