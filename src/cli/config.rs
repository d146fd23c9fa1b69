//! `config check`: the configuration as it holds, or everything that is wrong with it.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Outcome, output};
use crate::config::{self, Flags};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check the configuration and print each setting with its source; secrets are masked. Exit code 1 if it is not valid.
    Check(Box<Flags>),
}

pub(super) fn run(command: &Command) -> Outcome {
    let Command::Check(flags) = command;
    let (warnings, outcome) = match config::load(flags, &config::environment()) {
        Ok(loaded) => {
            let rows = loaded.effective.iter().map(|setting| {
                let value = if setting.value.is_empty() { "–".to_owned() } else { setting.value.clone() };
                vec![setting.name.to_owned(), value, setting.source.to_string()]
            });
            output::table(&["SETTING", "VALUE", "SOURCE"], &rows.collect::<Vec<_>>())?;
            (loaded.warnings, ExitCode::SUCCESS)
        }
        Err(invalid) => {
            output::line(&invalid)?;
            (invalid.warnings, ExitCode::FAILURE)
        }
    };
    for warning in warnings {
        output::line(format_args!("warning: {warning}"))?;
    }
    Ok(outcome)
}
