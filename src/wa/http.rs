//! The HTTP client that the library is given: it reaches WhatsApp's hosts and nothing else, or only the sandbox.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use wacore::net::{HttpClient, HttpRequest, HttpResponse, StreamingHttpResponse, UploadBody};

use super::Endpoint;

/// The largest answer that is taken into memory, in bytes. WhatsApp's largest blobs (history, app state) are below it.
const MAX_ANSWER: usize = 128 << 20;

/// The largest file that is streamed, in bytes: WhatsApp's own limit for documents, with room for the encryption's padding.
const MAX_STREAM: u64 = (2 << 30) + (1 << 20);

/// How long an answer that is taken into memory may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long a peer may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Bytes that are read from a file at once while it is uploaded.
const PIECE: usize = 64 << 10;

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
            .read_timeout(SILENCE)
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
        let call = self.client.request(method, self.target(&request.url)?);
        Ok(request.headers.iter().fold(call, |call, (name, value)| call.header(name, value)))
    }
}

/// Takes an answer into memory.
async fn collect(mut answer: reqwest::Response) -> Result<HttpResponse> {
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

/// An answer that is read as it comes, from a thread that may wait.
struct Incoming {
    answer: reqwest::Response,
    runtime: Handle,
    piece: Bytes,
    left: u64,
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.answer.chunk()).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
            let length = u64::try_from(self.piece.len()).unwrap_or(u64::MAX);
            self.left = self.left.checked_sub(length).ok_or_else(|| io::Error::other("the file is larger than WhatsApp allows"))?;
        }
        let count = self.piece.len().min(into.len());
        self.piece.copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Reads a file to its end and hands it on piece by piece; stops when nobody takes it.
fn feed(mut file: UploadBody, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let piece = match file.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                Ok(Bytes::from(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if pieces.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, mut request: HttpRequest) -> Result<HttpResponse> {
        let body = request.body.take();
        let call = self.call(&request)?;
        // What goes up may take as long as the line needs, as long as it moves.
        let call = match body {
            Some(body) => call.body(body),
            None => call.timeout(DEADLINE),
        };
        collect(call.send().await?).await
    }

    fn supports_streaming(&self) -> bool {
        true
    }

    /// Called by the library from a thread that may wait, inside the runtime.
    fn execute_streaming(&self, request: HttpRequest) -> Result<StreamingHttpResponse> {
        let runtime = Handle::try_current()?;
        let answer = runtime.block_on(self.call(&request)?.send())?;
        let status_code = answer.status().as_u16();
        let body = Box::new(Incoming { answer, runtime, piece: Bytes::new(), left: MAX_STREAM });
        Ok(StreamingHttpResponse { status_code, body })
    }

    fn supports_upload_streaming(&self) -> bool {
        true
    }

    /// Called by the library from a thread that may wait, inside the runtime.
    fn execute_upload(&self, request: HttpRequest, file: UploadBody, length: u64) -> Result<HttpResponse> {
        let runtime = Handle::try_current()?;
        let (pieces, waiting) = mpsc::channel(2);
        let body = futures_util::stream::unfold(waiting, |mut waiting| async move {
            waiting.recv().await.map(|piece| (piece, waiting))
        });
        // With its length: the media hosts take no chunked bodies.
        let call = self.call(&request)?.header(reqwest::header::CONTENT_LENGTH, length).body(reqwest::Body::wrap_stream(body));
        let answer = runtime.spawn(async move { collect(call.send().await?).await });
        feed(file, &pieces);
        drop(pieces);
        runtime.block_on(answer)?
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
