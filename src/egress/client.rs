//! One guarded HTTP call.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, Url, redirect};
use tokio::time::Instant;

use super::address::is_public;
use crate::domain::network::Own;
use crate::error::{Error, Result as Told};

/// How many redirects are followed.
const REDIRECTS: usize = 3;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Characters that a URL may have.
const URL_LENGTH: usize = 2048;

/// How a name becomes addresses. A parameter, so that a test can be a hostile name server.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Why a call did not get an answer. These sentences may be told to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The guard did not let it out.
    #[error("the address is not allowed")]
    Denied,
    /// There was no answer: no such name, no connection, no TLS, no HTTP.
    #[error("could not be reached")]
    Unreachable,
    /// No whole answer in time.
    #[error("did not answer in time")]
    Timeout,
    /// The answer is larger than the caller takes.
    #[error("the answer is too large")]
    TooLarge,
    /// More redirects than are followed.
    #[error("redirects too often")]
    Redirects,
}

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Those that keep method and body (307, 308); any other is the answer.
    Same,
    /// All of them, with GET: for fetching.
    Get,
}

/// What happens when an answer's body is longer than its limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The rest is not read.
    First(usize),
    /// The call fails with [`Refusal::TooLarge`].
    AtMost(usize),
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: String,
    /// Headers that every hop gets.
    pub headers: HeaderMap,
    /// Headers for the named host alone, such as credentials: a redirect to another origin does not get them.
    pub private: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Which redirects are followed, three at most.
    pub follow: Follow,
    /// How much of the answer is taken.
    pub size: Size,
    /// How long everything together may take.
    pub timeout: Duration,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

/// The guard. Cheap to clone; the clones share their connections.
#[derive(Clone)]
pub struct Guard {
    rules: Arc<Rules>,
    client: Client,
}

struct Rules {
    own: Vec<Own>,
    lookup: Lookup,
}

impl Guard {
    /// A guard that lets through the public internet and the networks in `own`, with the machine's own resolver.
    pub fn new(own: Vec<Own>) -> Told<Self> {
        let system = |name: String| -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect()) })
        };
        Self::with_lookup(own, Arc::new(system))
    }

    /// The same with another resolver.
    pub fn with_lookup(own: Vec<Own>, lookup: Lookup) -> Told<Self> {
        let rules = Arc::new(Rules { own, lookup });
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .dns_resolver(Checked(rules.clone()))
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("whatsapp-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::internal)?;
        Ok(Self { rules, client })
    }

    /// Checks an address as far as its text tells: form, scheme, user info, a literal address. What its name resolves to is checked by
    /// every call.
    pub fn check(&self, url: &str) -> Result<(), Refusal> {
        self.rules.url(url).map(drop)
    }

    /// Resolves a host and checks every address: for connections that are no HTTP, such as proxies. Connect to what this gives, and to
    /// nothing else.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            self.rules.address(address)?;
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.rules.resolve(bare).await?;
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Makes the call.
    pub async fn send(&self, call: Call) -> Result<Answer, Refusal> {
        let timeout = call.timeout;
        tokio::time::timeout(timeout, self.follow(call)).await.unwrap_or(Err(Refusal::Timeout))
    }

    /// Makes the call and gives the answer as it comes, for what is too large to be held. `call.size` bounds it all the same, as does
    /// `call.timeout`, which runs on until the last chunk.
    pub async fn open(&self, call: Call) -> Result<Arriving, Refusal> {
        let deadline = Instant::now() + call.timeout;
        let left = match call.size {
            Size::First(limit) | Size::AtMost(limit) => limit,
        };
        let size = call.size;
        let answer = tokio::time::timeout_at(deadline, self.reach(call)).await.unwrap_or(Err(Refusal::Timeout))?;
        Ok(Arriving { answer, left, size, deadline })
    }

    async fn follow(&self, call: Call) -> Result<Answer, Refusal> {
        let size = call.size;
        read(self.reach(call).await?, size).await
    }

    /// The answer behind the redirects; its body is not read yet.
    async fn reach(&self, mut call: Call) -> Result<Response, Refusal> {
        let mut url = self.rules.url(&call.url)?;
        for _ in 0..=REDIRECTS {
            let request = self.client.request(call.method.clone(), url.clone());
            let request = request.headers(call.headers.clone()).headers(call.private.clone()).body(call.body.clone());
            let answer = request.send().await.map_err(classify)?;
            let Some(next) = next(&call, &url, &answer) else { return Ok(answer) };
            let next = self.rules.url(next.as_str())?;
            // What was secret on the wire stays secret.
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(Refusal::Denied);
            }
            if next.origin() != url.origin() {
                call.private.clear();
            }
            if call.follow == Follow::Get {
                call.method = Method::GET;
                call.body = Bytes::new();
            }
            url = next;
        }
        Err(Refusal::Redirects)
    }
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub struct Arriving {
    answer: Response,
    left: usize,
    size: Size,
    deadline: Instant,
}

impl Arriving {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.answer.status().as_u16()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// The next piece of the body; none at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        let next = tokio::time::timeout_at(self.deadline, self.answer.chunk()).await.map_err(|_| Refusal::Timeout)?;
        let Some(mut piece) = next.map_err(classify)? else { return Ok(None) };
        match self.left.checked_sub(piece.len()) {
            Some(left) => self.left = left,
            None if matches!(self.size, Size::AtMost(_)) => return Err(Refusal::TooLarge),
            None => piece.truncate(std::mem::take(&mut self.left)),
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

/// Where the answer sends us, if it is a redirect that we follow.
fn next(call: &Call, url: &Url, answer: &Response) -> Option<Url> {
    let followed = match answer.status().as_u16() {
        307 | 308 => true,
        301..=303 => call.follow == Follow::Get,
        _ => false,
    };
    let location = answer.headers().get(header::LOCATION).filter(|_| followed)?;
    url.join(location.to_str().ok()?).ok()
}

async fn read(mut answer: Response, size: Size) -> Result<Answer, Refusal> {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let limit = match size {
        Size::First(limit) | Size::AtMost(limit) => limit,
    };
    let mut body = Vec::new();
    loop {
        if size == Size::First(limit) && body.len() >= limit {
            break;
        }
        // The beginning of a body that breaks off is worth as much as a whole one to whoever wants the beginning only.
        let chunk = match (answer.chunk().await, size) {
            (Ok(Some(chunk)), _) => chunk,
            (Ok(None), _) | (Err(_), Size::First(_)) => break,
            (Err(error), Size::AtMost(_)) => return Err(classify(error)),
        };
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            if size == Size::AtMost(limit) {
                return Err(Refusal::TooLarge);
            }
            body.truncate(limit);
        }
    }
    Ok(Answer { status, headers, body })
}

/// What the client's error means. The client's own words name addresses and are dropped.
#[expect(clippy::needless_pass_by_value, reason = "an error that is classified is done with")]
fn classify(error: reqwest::Error) -> Refusal {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(it) = cause {
        if let Some(refusal) = it.downcast_ref::<Refusal>() {
            return *refusal;
        }
        cause = it.source();
    }
    if error.is_timeout() { Refusal::Timeout } else { Refusal::Unreachable }
}

impl Rules {
    fn url(&self, url: &str) -> Result<Url, Refusal> {
        if url.len() > URL_LENGTH {
            return Err(Refusal::Denied);
        }
        let url: Url = url.parse().map_err(|_| Refusal::Denied)?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || !matches!(url.scheme(), "https" | "http") {
            return Err(Refusal::Denied);
        }
        match (url.domain(), url.host_str()) {
            (Some(name), _) if !name.trim_end_matches('.').is_empty() => {}
            (None, Some(literal)) => {
                let literal = literal.trim_start_matches('[').trim_end_matches(']');
                self.address(literal.parse().map_err(|_| Refusal::Denied)?)?;
            }
            _ => return Err(Refusal::Denied),
        }
        Ok(url)
    }

    fn address(&self, address: IpAddr) -> Result<(), Refusal> {
        let allowed = is_public(address) || self.own.iter().any(|own| own.has_address(address));
        if allowed { Ok(()) } else { Err(Refusal::Denied) }
    }

    /// Looks a name up, once. One address that is not allowed refuses them all: a name with both kinds is up to something.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let found = (self.lookup)(name.to_owned()).await.map_err(|_| Refusal::Unreachable)?;
        if found.is_empty() {
            return Err(Refusal::Unreachable);
        }
        if !self.own.iter().any(|own| own.has_host(name)) {
            found.iter().try_for_each(|address| self.address(*address))?;
        }
        Ok(found)
    }
}

/// The client's resolver. Connections go to the addresses that it gives, and only to those.
struct Checked(Arc<Rules>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0.clone();
        Box::pin(async move {
            let found = rules.resolve(name.as_str()).await?;
            let found: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(found)
        })
    }
}
