//! The HTTP client that the library is given: it reaches WhatsApp's hosts and nothing else, or only the sandbox.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use wacore::net::{HttpClient, HttpRequest, HttpResponse};

use super::Endpoint;

/// The largest answer that is taken into memory, in bytes. WhatsApp's largest blobs (history, app state) are below it.
const MAX_ANSWER: usize = 128 << 20;

/// HTTP for the library, bound to the endpoint that the session uses.
pub struct Http {
    client: reqwest::Client,
    /// `host:port` of the sandbox, in whose place every media host is put; `None` towards WhatsApp.
    sandbox: Option<String>,
}

impl Http {
    /// A client for `endpoint`. Fails only if the TLS machinery cannot be set up.
    pub fn new(endpoint: &Endpoint) -> Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(120))
            .build()?;
        let sandbox = match endpoint {
            Endpoint::WhatsApp { .. } => None,
            Endpoint::Sandbox(sandbox) => {
                let url: reqwest::Url = sandbox.url.parse().context("the sandbox's URL")?;
                let host = url.host_str().context("the sandbox's URL has no host")?;
                Some(format!("{host}:{}", url.port_or_known_default().unwrap_or(80)))
            }
        };
        Ok(Self { client, sandbox })
    }

    fn target(&self, url: &str) -> Result<reqwest::Url> {
        let mut url: reqwest::Url = url.parse()?;
        if let Some(sandbox) = &self.sandbox {
            let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
            return Ok(format!("http://{sandbox}{}{query}", url.path()).parse()?);
        }
        let host = url.host_str().unwrap_or_default();
        let ours = host == "whatsapp.net" || host.ends_with(".whatsapp.net") || host.ends_with(".whatsapp.com");
        ensure!(ours && url.scheme() == "https", "not one of WhatsApp's hosts");
        url.set_fragment(None);
        Ok(url)
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        let method: reqwest::Method = request.method.parse()?;
        let mut call = self.client.request(method, self.target(&request.url)?);
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        if let Some(body) = request.body {
            call = call.body(body);
        }
        let mut answer = call.send().await?;
        let status_code = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                bail!("the answer is larger than {MAX_ANSWER} bytes");
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status_code, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wa::endpoint::SandboxEndpoint;

    #[test]
    fn only_the_endpoints_own_hosts_are_reached() {
        let real = Http::new(&Endpoint::WhatsApp { version: None }).unwrap();
        for url in [
            "http://mmg.whatsapp.net/x",
            "https://whatsapp.net.example.org/",
            "https://169.254.169.254/",
            "https://evilwhatsapp.net/",
        ] {
            assert!(real.target(url).is_err(), "{url}");
        }
        assert!(real.target("https://mmg.whatsapp.net/v/x?auth=1").is_ok());

        let sandbox = SandboxEndpoint { url: "ws://127.0.0.1:8088/ws/chat".into(), key: [0; 32] };
        let sandbox = Http::new(&Endpoint::Sandbox(sandbox)).unwrap();
        let target = sandbox.target("https://mmg.whatsapp.net/v/x?auth=1").unwrap();
        assert_eq!(target.as_str(), "http://127.0.0.1:8088/v/x?auth=1");
    }
}
