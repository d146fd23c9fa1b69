//! The programs of the story: this same binary, started again as a sandbox and as a gateway. They die with their handle.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// How many lines of a log are shown after a failure.
const TAIL: usize = 25;

/// A running program with its log.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts this binary with `arguments`. It gets no setting of ours but the api-key, and logs into `dir`.
    pub(super) fn start(name: &'static str, arguments: &[String], key: &SecretString, dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        // A second start adds to the log of the first.
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(std::env::current_exe()?);
        for (setting, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAGW_")) {
            command.env_remove(setting);
        }
        let child = command
            .args(arguments)
            .env("WAGW_BOOTSTRAP_API_KEY", key.expose_secret())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        Ok(Self { name, child, log })
    }

    /// The line of JSON that the program prints when it is ready.
    pub(super) async fn announcement(&mut self) -> anyhow::Result<Value> {
        let out = self.child.stdout.take().context("the output is read once")?;
        let read = move || {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).map(|_| line)
        };
        let line = tokio::task::spawn_blocking(read).await??;
        serde_json::from_str(&line).with_context(|| format!("the {} announced nothing before it ended", self.name))
    }

    /// Fails when the program has ended by itself.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the {} ended by itself: {status}", self.name),
            None => Ok(()),
        }
    }

    /// Ends the program without a warning (SIGKILL), and waits until it is gone.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub(super) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        format!("--- end of the {}'s log ---\n{}", self.name, tail.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to do.
        let _ = self.kill();
    }
}

/// An address of this machine that nobody uses now.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
