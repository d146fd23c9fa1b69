//! The HTTP client that the library is given: it reaches WhatsApp's hosts and nothing else, or only the sandbox.
//!
//! Files go through it in pieces, both ways: the library reads and writes them on a blocking thread, and no more than a few pieces of a
//! file are in memory at a time.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use http::header;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use wacore::net::{HttpClient, HttpRequest, HttpResponse, StreamingHttpResponse, UploadBody};

use super::Endpoint;

/// The largest answer that is taken into memory, in bytes. WhatsApp's largest blobs (history, app state) are below it.
const MAX_ANSWER: usize = 128 << 20;

/// How long an answer that is taken into memory may take as a whole.
const WHOLE: Duration = Duration::from_secs(120);

/// How long a file may take as a whole. Far above what two gigabytes need on a slow line; a stalled one is cut by [`STALL`].
const FILE: Duration = Duration::from_secs(2 * 3600);

/// How long nothing may come of an answer that has begun.
const STALL: Duration = Duration::from_secs(60);

/// Bytes of a file that are sent at a time, and how many such pieces wait for the network.
const PIECE: (usize, usize) = (64 << 10, 4);

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
            .read_timeout(STALL)
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

    fn call(&self, request: &HttpRequest) -> Result<reqwest::RequestBuilder> {
        let method: reqwest::Method = request.method.parse()?;
        let mut call = self.client.request(method, self.target(&request.url)?);
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        Ok(call)
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        let mut call = self.call(&request)?.timeout(WHOLE);
        if let Some(body) = request.body {
            call = call.body(body);
        }
        whole(call.send().await?).await
    }

    fn supports_streaming(&self) -> bool {
        true
    }

    fn execute_streaming(&self, request: HttpRequest) -> Result<StreamingHttpResponse> {
        let runtime = Handle::current();
        let answer = runtime.block_on(self.call(&request)?.timeout(FILE).send())?;
        let status_code = answer.status().as_u16();
        Ok(StreamingHttpResponse { status_code, body: Box::new(Arriving { runtime, answer, piece: Bytes::new() }) })
    }

    fn supports_upload_streaming(&self) -> bool {
        true
    }

    fn execute_upload(&self, request: HttpRequest, mut body: UploadBody, content_length: u64) -> Result<HttpResponse> {
        let (pieces, waiting) = mpsc::channel::<io::Result<Bytes>>(PIECE.1);
        let stream = futures_util::stream::unfold(waiting, async |mut waiting| Some((waiting.recv().await?, waiting)));
        // WhatsApp's hosts want to know the length beforehand.
        let call = self.call(&request)?.timeout(FILE).header(header::CONTENT_LENGTH, content_length);
        let call = call.body(reqwest::Body::wrap_stream(stream));
        let runtime = Handle::current();
        let answer = runtime.spawn(async move { whole(call.send().await?).await });
        let mut left = content_length;
        while left > 0 {
            let mut piece = vec![0; PIECE.0.min(usize::try_from(left).unwrap_or(usize::MAX))];
            let read = body.read_exact(&mut piece);
            left -= u64::try_from(piece.len()).unwrap_or(left);
            let failed = read.is_err();
            // An answer before the end (a refusal) closes the channel; what it says is below.
            if pieces.blocking_send(read.map(|()| piece.into())).is_err() || failed {
                break;
            }
        }
        drop(pieces);
        runtime.block_on(answer)?
    }
}

/// An answer that fits into memory.
async fn whole(mut answer: reqwest::Response) -> Result<HttpResponse> {
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

/// A file on its way here, read on a blocking thread.
struct Arriving {
    runtime: Handle,
    answer: reqwest::Response,
    piece: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.answer.chunk()).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece[..count]);
        self.piece.advance(count);
        Ok(count)
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
