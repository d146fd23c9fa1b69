//! Writing to the standard output: a reader that goes away ends the command quietly.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::failure::Failure;

/// Writes one line.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Writes without ending the line.
pub(super) fn part(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writes a value as indented JSON.
pub(super) fn json(value: &Value) -> Result<(), Failure> {
    line(format_args!("{value:#}"))
}

/// Writes a table with a head; columns are as wide as their widest cell.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let write = |cells: Vec<&str>| {
        let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end())
    };
    write(head.to_vec())?;
    rows.iter().try_for_each(|row| write(row.iter().map(String::as_str).collect()))
}

/// Writes names and values below each other.
pub(super) fn sheet(rows: &[(&str, String)]) -> Result<(), Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().filter(|(_, value)| !value.is_empty()).try_for_each(|(name, value)| line(format_args!("{name:width$}  {value}")))
}

/// Whether a person looks at the standard output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Turns while something takes time; invisible unless a person looks at the standard error output.
pub(super) fn spinner(what: impl Into<String>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style).with_message(what.into());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
