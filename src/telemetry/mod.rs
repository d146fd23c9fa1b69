//! What the program tells about itself: log lines (here), [`metrics`], and traces ([`trace`]).
//!
//! Log lines go to the standard error output, as text for people or as JSON for machines.

pub mod metrics;
pub mod trace;

use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, registry};

pub use self::trace::Traces;
use crate::config::LogFormat;

/// What libraries may say unless the filter names them. The WhatsApp library logs phone numbers and under many names, some of them
/// without its own (`Client/Receipt`, `AppState`, …), so each of those names is held down whatever the general level is.
/// A directive matches every target that begins with its name.
const QUIET: &str = "whatsapp_rust=error,wacore=error,waproto=error,Client=error,AppState=error,Blocking=error,Bot/PairCode=error,\
                     Chatstate=error,ChatstateHandler=error,blocklist=error,MessageQueue=error,Mex=error,PresenceHandler=error,\
                     TcToken=error,UnifiedSession=error,usync=error,sqlx=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,\
                     rustls=warn,tokio_websockets=warn,tonic=warn,tower=warn";

/// Begins to log, and to export traces if the environment names a collector. `filter` is a level, or directives such as
/// `warn,whatsapp_gateway=debug`; it wins where it names a library. To be called within the runtime.
/// Fails for a filter that is none, for a collector that cannot be, and when logging has begun already.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<Traces> {
    let lines = match format {
        LogFormat::Text => text(filter, io::stderr, io::stderr().is_terminal())?.boxed(),
        LogFormat::Json => json(filter, io::stderr)?.boxed(),
    };
    let traces = Traces::from_env(|name| std::env::var(name).ok())?;
    let spans = traces.layer();
    registry().with(lines).with(spans).try_init().context("logging has begun already")?;
    Ok(traces)
}

fn directives(filter: &str) -> anyhow::Result<EnvFilter> {
    // Of two directives for the same name the later one holds.
    EnvFilter::builder().parse(format!("{QUIET},{filter}")).context("not a log filter")
}

fn text<S, W>(filter: &str, out: W, colours: bool) -> anyhow::Result<impl Layer<S> + Send + Sync + use<S, W>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    Ok(fmt::layer().with_writer(out).with_ansi(colours).with_filter(directives(filter)?))
}

fn json<S, W>(filter: &str, out: W) -> anyhow::Result<impl Layer<S> + Send + Sync + use<S, W>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    Ok(fmt::layer().json().flatten_event(true).with_writer(out).with_filter(directives(filter)?))
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
            tracing::subscriber::with_default(registry().with(text(level, move || out.clone(), false).unwrap()), say);
            assert!(lines.text().contains("ours") && !lines.text().contains("6281234567890"), "{}", lines.text());
            assert_eq!(lines.text().contains("detail"), level != "info");
        }
    }

    #[test]
    fn a_named_library_is_heard_and_json_is_json() {
        let lines = Lines::default();
        let out = lines.clone();
        tracing::subscriber::with_default(registry().with(json("info,Client=warn", move || out.clone()).unwrap()), say);
        let text = lines.text();
        let spoken: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(spoken[0]["message"], "ours");
        assert_eq!(spoken[1]["target"], "Client/Receipt");
        assert_eq!(spoken.len(), 2);
    }
}
