//! What the audience sees: numbered steps with their times, and what is being waited for.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::ProgressBar;

use crate::cli::output;

/// How long a step may wait for one thing.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);

/// How often a thing that must be asked for is asked for.
const RHYTHM: Duration = Duration::from_millis(50);

/// The telling of the story.
pub(super) struct Stage {
    spinner: ProgressBar,
    began: Instant,
    steps: u32,
    waiting_for: String,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { spinner: output::spinner(""), began: Instant::now(), steps: 0, waiting_for: String::new() }
    }

    /// Tells one step: its title, what `act` tells, and the time it took.
    pub(super) async fn step<T>(
        &mut self,
        title: &str,
        act: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.steps += 1;
        self.print(format_args!("\n{:>2}. {title}", self.steps))?;
        let began = Instant::now();
        let result = act(self).await;
        self.spinner.set_message("");
        let took = began.elapsed().as_secs_f64();
        match &result {
            Ok(_) => self.print(format_args!("    ✓ {took:.2} s"))?,
            Err(_) => self.print(format_args!("    ✗ {took:.2} s"))?,
        }
        result
    }

    /// Tells a fact.
    pub(super) fn tell(&self, text: impl Display) -> anyhow::Result<()> {
        for line in text.to_string().lines() {
            self.print(format_args!("    {line}"))?;
        }
        Ok(())
    }

    /// Says what is being waited for.
    pub(super) fn wait_for(&mut self, what: &str) -> anyhow::Result<()> {
        what.clone_into(&mut self.waiting_for);
        self.spinner.set_message(format!("waiting for {what}"));
        if self.spinner.is_hidden() {
            self.tell(format_args!("… waiting for {what}"))?;
        }
        Ok(())
    }

    /// Waits for what `act` gives, but not for ever.
    pub(super) async fn within<T>(&mut self, what: &str, act: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.wait_for(what)?;
        match tokio::time::timeout(PATIENCE, act).await {
            Ok(result) => result,
            Err(_) => bail!("waited {} s in vain for {what}", PATIENCE.as_secs()),
        }
    }

    /// Asks again and again until `ask` has an answer, but not for ever.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        self.within(what, async {
            loop {
                if let Some(answer) = ask().await? {
                    return Ok(answer);
                }
                tokio::time::sleep(RHYTHM).await;
            }
        })
        .await
    }

    /// The last line of a story that held.
    pub(super) fn applause(&self) -> anyhow::Result<()> {
        self.spinner.finish_and_clear();
        self.print(format_args!("\nAll {} steps held, in {:.1} s.", self.steps, self.began.elapsed().as_secs_f64()))
    }

    /// Takes the spinner away, so that an error can be told.
    pub(super) fn curtain(&self) {
        self.spinner.finish_and_clear();
    }

    fn print(&self, line: impl Display) -> anyhow::Result<()> {
        self.spinner.suspend(|| output::line(line)).map_err(|failure| anyhow::anyhow!("cannot write: {}", failure.line()))
    }
}
