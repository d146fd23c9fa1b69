//! The keys that login tokens are signed with: fetched, kept, and fetched again.
//!
//! | what | bound |
//! |---|---|
//! | a fetch | 5 s, no redirects, 1 MiB; one at a time, and it goes on when the caller who began it hangs up |
//! | keys | 100; further ones are not read |
//! | fetches for an unknown `kid` | one a minute; without any key so far one in 5 s |
//! | age of the keys | 10 min, then they are fetched again beside the calls; old ones are kept while that fails |
//! | a file | looked at once a second at most, read when its time or its length has changed |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::clock::{Ambient, Time};
use crate::domain::login::KeySource;
use crate::error::{Code, Error, Result};

const FETCH_LIMIT: Duration = Duration::from_secs(5);
const LONGEST: usize = 1 << 20;
const MOST_KEYS: usize = 100;
const MISS_EVERY: Duration = Duration::from_secs(60);
const FIRST_EVERY: Duration = Duration::from_secs(5);
const MAX_AGE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A public key, with the one algorithm that it is for: that follows from the key and never from a token.
#[derive(Clone, Debug)]
pub(super) struct Key {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of one issuer. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Jwks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: KeySource,
    client: reqwest::Client,
    ambient: Ambient,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Arc<Vec<Key>>,
    /// When keys were last taken over.
    fresh: Option<Time>,
    /// When a fetch last began.
    tried: Option<Time>,
    /// Time and length of the file that the keys are from.
    stamp: Option<(SystemTime, u64)>,
    running: Option<Running>,
}

/// A fetch under way; its receiver ends with it.
#[derive(Debug)]
struct Running {
    over: watch::Receiver<()>,
    _task: AbortOnDropHandle<()>,
}

impl Jwks {
    /// Keys from `source`; nothing is fetched before somebody asks.
    ///
    /// # Errors
    /// A machine without TLS roots.
    pub(super) fn new(source: KeySource, ambient: Ambient) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("whatsapp-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("no HTTP client for auth_jwks_url")?;
        Ok(Self(Arc::new(Shared { source, client, ambient, state: Mutex::default() })))
    }

    /// The key with this id; without an id the only key for `algorithm`.
    ///
    /// # Errors
    /// `gateway_unavailable` when no keys could be had so far.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Option<Key>> {
        // Young keys are taken as they are, old ones are taken and fetched anew, and a miss waits for a fetch.
        let found = self.look(kid, algorithm);
        if self.is_due(found.is_some()) {
            let over = self.begin();
            if found.is_none() || matches!(self.0.source, KeySource::File(_)) {
                wait(over).await;
                return self.answer(self.look(kid, algorithm));
            }
        } else if found.is_none() {
            // Somebody else's fetch may bring it.
            let running = self.0.lock().running.as_ref().map(|running| running.over.clone());
            if let Some(over) = running {
                wait(over).await;
                return self.answer(self.look(kid, algorithm));
            }
        }
        self.answer(found)
    }

    fn answer(&self, found: Option<Key>) -> Result<Option<Key>> {
        if found.is_none() && self.0.lock().fresh.is_none() {
            return Err(Error::new(Code::Unavailable, "login tokens cannot be checked now: their keys could not be fetched")
                .reason("login_keys_unavailable")
                .retry_after(FIRST_EVERY));
        }
        Ok(found)
    }

    fn look(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let keys = self.0.lock().keys.clone();
        match kid {
            Some(kid) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)).cloned(),
            None => {
                let mut fitting = keys.iter().filter(|key| key.algorithm == algorithm);
                fitting.next().filter(|_| fitting.next().is_none()).cloned()
            }
        }
    }

    fn is_due(&self, hit: bool) -> bool {
        let (state, now) = (self.0.lock(), self.0.ambient.now());
        let over = |at: Option<Time>, span| at.is_none_or(|at| !at.holds(now, span));
        match self.0.source {
            KeySource::File(_) => over(state.tried, LOOK_EVERY),
            KeySource::Url(_) if hit => over(state.fresh, MAX_AGE) && over(state.tried, MISS_EVERY),
            KeySource::Url(_) if state.fresh.is_none() => over(state.tried, FIRST_EVERY),
            KeySource::Url(_) => over(state.tried, MISS_EVERY),
        }
    }

    /// Begins a fetch unless one is under way.
    fn begin(&self) -> watch::Receiver<()> {
        let mut state = self.0.lock();
        if let Some(running) = &state.running {
            return running.over.clone();
        }
        state.tried = Some(self.0.ambient.now());
        let (sender, over) = watch::channel(());
        let shared = self.0.clone();
        let task = tokio::spawn(async move {
            let fetched = shared.fetch().await;
            shared.take(fetched);
            drop(sender);
        });
        state.running = Some(Running { over: over.clone(), _task: AbortOnDropHandle::new(task) });
        over
    }
}

async fn wait(mut over: watch::Receiver<()>) {
    // Nothing is ever sent: the end of the sender is the end of the fetch.
    while over.changed().await.is_ok() {}
}

/// What a fetch brought: keys, and for a file its stamp. `None` says that the file has not changed.
type Fetched = anyhow::Result<Option<(Vec<Key>, Option<(SystemTime, u64)>)>>;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, fetched: Fetched) {
        let mut state = self.lock();
        match fetched {
            Ok(Some((keys, stamp))) => {
                tracing::debug!(keys = keys.len(), "login keys were read");
                (state.keys, state.stamp, state.fresh) = (Arc::new(keys), stamp, Some(self.ambient.now()));
            }
            Ok(None) => {}
            Err(error) => {
                let kept = state.keys.len();
                tracing::warn!(error = format!("{error:#}"), kept, "login keys could not be read; the old ones are kept");
            }
        }
        // The handle of the task that runs here: it is at its end, so the abort has nothing to stop.
        state.running = None;
    }

    async fn fetch(&self) -> Fetched {
        match &self.source {
            KeySource::Url(url) => {
                let text = tokio::time::timeout(FETCH_LIMIT, self.download(url)).await.context("no answer in time")??;
                Ok(Some((read_keys(&text)?, None)))
            }
            KeySource::File(path) => {
                let file = tokio::fs::File::open(path).await.with_context(|| path.display().to_string())?;
                let about = file.metadata().await?;
                let stamp = Some((about.modified()?, about.len()));
                if self.lock().stamp == stamp {
                    return Ok(None);
                }
                let mut text = Vec::new();
                let longest = u64::try_from(LONGEST)?;
                file.take(longest + 1).read_to_end(&mut text).await?;
                ensure!(text.len() <= LONGEST, "the file is longer than {LONGEST} bytes");
                Ok(Some((read_keys(&text)?, stamp)))
            }
        }
    }

    async fn download(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let mut answer = self.client.get(url).header("accept", "application/json").send().await?;
        ensure!(answer.status() == reqwest::StatusCode::OK, "the answer's status is {}", answer.status());
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            ensure!(text.len() + piece.len() <= LONGEST, "the answer is longer than {LONGEST} bytes");
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// The keys that we can use. Others, such as those for encryption, are left out; a set without any is refused, so that a broken answer
/// does not drive out keys that work.
fn read_keys(text: &[u8]) -> anyhow::Result<Vec<Key>> {
    let set: KeySet = serde_json::from_slice(text).context("this is no JSON Web Key Set")?;
    let keys: Vec<Key> = set.keys.into_iter().take(MOST_KEYS).filter_map(read_key).collect();
    if keys.is_empty() {
        bail!("there is no key in it for EdDSA, ES256 or RS256");
    }
    Ok(keys)
}

fn read_key(value: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => (Algorithm::ES256, KeyAlgorithm::ES256),
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
        _ => return None,
    };
    let common = &jwk.common;
    let fits = common.key_algorithm.is_none_or(|it| it == named)
        && common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| fits)?;
    Some(Key { kid: common.key_id.clone(), algorithm, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_for_our_algorithms_are_read() {
        let point = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let of = |text: &str| read_keys(text.as_bytes()).map(|keys| keys.iter().map(|key| key.algorithm).collect::<Vec<_>>());
        let good = format!(
            r#"{{"keys":[
                {{"kty":"OKP","crv":"Ed25519","x":"{point}","kid":"a","use":"sig"}},
                {{"kty":"EC","crv":"P-256","x":"{point}","y":"{point}","alg":"ES256"}},
                {{"kty":"RSA","n":"{point}","e":"AQAB"}},
                {{"kty":"RSA","n":"{point}","e":"AQAB","use":"enc"}},
                {{"kty":"RSA","n":"{point}","e":"AQAB","alg":"RS512"}},
                {{"kty":"EC","crv":"P-384","x":"{point}","y":"{point}"}},
                {{"kty":"oct","k":"{point}"}},
                {{"kty":"new","what":"ever"}}, 7]}}"#
        );
        assert_eq!(of(&good).unwrap(), [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256]);
        for bad in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let one = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{point}"}}"#);
        let many = format!(r#"{{"keys":[{}]}}"#, vec![one; 1000].join(","));
        assert_eq!(of(&many).unwrap().len(), MOST_KEYS);
    }
}
