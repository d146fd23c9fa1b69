//! What the program tells about itself: log lines (here), [`metrics`].
//!
//! Log lines go to the standard error output, as text for people or as JSON for machines.

pub mod metrics;

use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// What libraries may say unless the filter names them. The WhatsApp library logs phone numbers and under many names, some of them
/// without its own (`Client/Receipt`, `AppState`, …), so each of those names is held down whatever the general level is.
/// A directive matches every target that begins with its name.
const QUIET: &str = "whatsapp_rust=error,wacore=error,waproto=error,Client=error,AppState=error,Blocking=error,Bot/PairCode=error,\
                     Chatstate=error,ChatstateHandler=error,blocklist=error,MessageQueue=error,Mex=error,PresenceHandler=error,\
                     TcToken=error,UnifiedSession=error,usync=error,sqlx=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,\
                     rustls=warn,tokio_websockets=warn,tonic=warn,tower=warn";

/// Begins to log. `filter` is a level, or directives such as `warn,whatsapp_gateway=debug`; it wins where it names a library.
/// Fails for a filter that is none, and when logging has begun already.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    match format {
        LogFormat::Text => text(filter, io::stderr, io::stderr().is_terminal())?.try_init(),
        LogFormat::Json => json(filter, io::stderr)?.try_init(),
    }
    .context("logging has begun already")
}

fn directives(filter: &str) -> anyhow::Result<EnvFilter> {
    // Of two directives for the same name the later one holds.
    EnvFilter::builder().parse(format!("{QUIET},{filter}")).context("not a log filter")
}

fn text<W>(filter: &str, out: W, colours: bool) -> anyhow::Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    Ok(tracing_subscriber::fmt().with_env_filter(directives(filter)?).with_writer(out).with_ansi(colours).finish())
}

fn json<W>(filter: &str, out: W) -> anyhow::Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let format = tracing_subscriber::fmt().json().flatten_event(true);
    Ok(format.with_env_filter(directives(filter)?).with_writer(out).finish())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn say() {
        tracing::info!(target: "whatsapp_gateway::session", "ours");
        tracing::debug!(target: "whatsapp_gateway::session", "detail");
        tracing::warn!(target: "Client/Receipt", "from 6281234567890");
        tracing::info!(target: "whatsapp_rust::client", "as 6281234567890");
        tracing::warn!(target: "wacore::pair", "with 6281234567890");
    }

    #[test]
    fn a_general_level_never_opens_the_library() {
        for level in ["info", "debug", "trace"] {
            let lines = Lines::default();
            let out = lines.clone();
            tracing::subscriber::with_default(text(level, move || out.clone(), false).unwrap(), say);
            assert!(lines.text().contains("ours") && !lines.text().contains("6281234567890"), "{}", lines.text());
            assert_eq!(lines.text().contains("detail"), level != "info");
        }
    }

    #[test]
    fn a_named_library_is_heard_and_json_is_json() {
        let lines = Lines::default();
        let out = lines.clone();
        tracing::subscriber::with_default(json("info,Client=warn", move || out.clone()).unwrap(), say);
        let text = lines.text();
        let spoken: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(spoken[0]["message"], "ours");
        assert_eq!(spoken[1]["target"], "Client/Receipt");
        assert_eq!(spoken.len(), 2);
    }
}
