//! Counts the calls of the contract's methods, whichever door they come by.

use std::sync::Arc;
use std::time::Instant;

use tonic::Code;

use super::status::by_grpc;

/// What is known of a method.
#[derive(Clone, Debug)]
pub(super) struct Method {
    /// `package.Service/Method`.
    pub(super) name: Arc<str>,
    /// Whether it answers with a stream.
    pub(super) streaming: bool,
    /// Whether that stream does not end by itself.
    pub(super) endless: bool,
    /// Whether it takes a stream.
    pub(super) upload: bool,
}

/// One call that is being counted; dropped before its end, it was `cancelled`. Calls of methods that nobody declared count as `other`,
/// for their names are the caller's.
pub(super) struct Meter {
    method: Option<Method>,
    begun: Instant,
    over: bool,
}

impl Meter {
    pub(super) fn begin(method: Option<&Method>) -> Self {
        let meter = Self { method: method.cloned(), begun: Instant::now(), over: false };
        if let Some(name) = meter.stream() {
            metrics::gauge!("wagw_streams", "method" => name).increment(1);
        }
        meter
    }

    /// The call's end; only the first one counts.
    pub(super) fn end(&mut self, code: Code) {
        let word = match code {
            Code::Ok => "ok",
            Code::Cancelled => "cancelled",
            _ => by_grpc(code).word,
        };
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let name = self.method.as_ref().map_or_else(|| Arc::from("other"), |method| method.name.clone());
        metrics::counter!("wagw_calls_total", "method" => name.clone(), "code" => word).increment(1);
        match self.stream() {
            Some(name) => metrics::gauge!("wagw_streams", "method" => name).decrement(1),
            None => metrics::histogram!("wagw_call_seconds", "method" => name).record(self.begun.elapsed().as_secs_f64()),
        }
    }

    fn stream(&self) -> Option<Arc<str>> {
        self.method.as_ref().filter(|method| method.streaming).map(|method| method.name.clone())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
