//! A REST client as any program would write it.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// One server, and the key to show it.
pub(super) struct Rest {
    client: Client,
    server: String,
    key: SecretString,
}

impl Rest {
    pub(super) fn new(server: String, key: SecretString) -> anyhow::Result<Self> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(40)).build()?;
        Ok(Self { client, server, key })
    }

    /// GET without a key: the status, or nothing when nobody answers.
    pub(super) async fn knock(&self, path: &str) -> Option<StatusCode> {
        self.client.get(format!("{}{path}", self.server)).send().await.ok().map(|answer| answer.status())
    }

    /// GET.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None, StatusCode::OK).await
    }

    /// POST that is to be answered with `expected`.
    pub(super) async fn post(&self, path: &str, body: &Value, expected: StatusCode) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body), expected).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>, expected: StatusCode) -> anyhow::Result<Value> {
        let mut request =
            self.client.request(method.clone(), format!("{}{path}", self.server)).bearer_auth(self.key.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status == expected, "{method} {path} answered {status} instead of {expected}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{method} {path} answered no JSON: {text}"))
    }
}
