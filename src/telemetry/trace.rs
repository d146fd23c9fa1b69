//! Traces by OpenTelemetry: exported by OTLP over HTTP (protobuf) when one of the usual `OTEL_*` variables names a collector, and off
//! otherwise.
//!
//! | variable | meaning |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT` | where the collector is; without either nothing is exported |
//! | `OTEL_SDK_DISABLED=true`, `OTEL_TRACES_EXPORTER=none` | nothing is exported |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `…_TIMEOUT`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` | as specified |
//!
//! Nobody waits for a collector: spans go through a bounded queue to a thread of their own, and what does not fit is dropped. Of the
//! program's spans only its own are exported, without log lines; neither they nor their fields tell numbers or texts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How long the end of the program waits for the last spans to be taken.
const LAST: Duration = Duration::from_secs(2);

/// The exporter, if there is one. To be ended when the program does.
#[derive(Debug, Default)]
#[must_use = "the last spans are exported by `end`"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Begins to export if the environment names a collector. To be called within the runtime.
    ///
    /// # Errors
    /// What the variables say cannot be done.
    pub(super) fn from_env(env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].iter().any(|name| set(name).is_some());
        let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if !named || disabled || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none") {
            return Ok(Self::default());
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if let Some(other) = set(name).filter(|value| value != "http/protobuf") {
                anyhow::bail!("{name} is `{other}`; traces are exported by `http/protobuf` only");
            }
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build();
        let exporter = OnRuntime { runtime: Handle::current(), exporter: Arc::new(exporter.context("OTEL_EXPORTER_OTLP_…")?) };
        let mut resource = Resource::builder();
        if set("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("whatsapp-gateway");
        }
        let provider = SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
        Ok(Self(Some(provider)))
    }

    /// What gives the program's spans to the exporter.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.0.as_ref()?.tracer("whatsapp-gateway");
        let ours = filter_fn(|it| it.is_span() && *it.level() <= Level::INFO && it.target().starts_with("whatsapp_gateway"));
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours))
    }

    /// Exports what is left, and waits a moment at most for a collector that does not answer.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!("the last spans could not be exported");
        }
    }
}

/// Lets `span` go on with the trace that a request's `traceparent` names.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    set_parent(span, &Headers(headers));
}

/// The trace of the span that the caller is in, in the words of a `traceparent`; `None` when nothing is exported.
pub fn current() -> Option<String> {
    let mut told = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut told);
    told.remove("traceparent")
}

/// Lets `span` go on with the trace that [`current`] told, then or in another program.
pub fn resume(span: &Span, told: &str) {
    set_parent(span, &HashMap::from([("traceparent".to_owned(), told.to_owned())]));
}

fn set_parent(span: &Span, from: &dyn Extractor) {
    let remote = TraceContextPropagator::new().extract_with_context(&Context::new(), from);
    if remote.span().span_context().is_valid() {
        // Without an exporter nobody listens, and that is no error.
        let _ = span.set_parent(remote);
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Runs the exporter's calls on the runtime: the thread that batches spans has none, and the HTTP client needs one.
#[derive(Debug)]
struct OnRuntime<E> {
    runtime: Handle,
    exporter: Arc<E>,
}

impl<E: SpanExporter + 'static> SpanExporter for OnRuntime<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let done = self.runtime.spawn(async move { exporter.export(batch).await }).await;
        done.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // The batching thread has the only handle before the first export.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_exported_unless_a_collector_is_named() {
        let exports = |variables: &'static [(&str, &str)]| {
            let found =
                Traces::from_env(|name| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()));
            found.map(|traces| traces.0.is_some())
        };
        assert!(!exports(&[]).unwrap());
        assert!(!exports(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap());
        assert!(exports(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]).unwrap());
        assert!(!exports(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_SDK_DISABLED", "true")]).unwrap());
        assert!(!exports(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_TRACES_EXPORTER", "none")]).unwrap());
        assert!(exports(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "x"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_err());
    }
}
