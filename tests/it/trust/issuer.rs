//! A login service: keys, tokens and a server of keys that can misbehave. Signs by itself, so that what is tested is not asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use whatsapp_gateway::domain::clock::Time;

pub(crate) const ISSUER: &str = "https://login.example";
pub(crate) const AUDIENCE: &str = "whatsapp-gateway";

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// One key of a login service.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pair: Pair,
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn ed25519(kid: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn p256(kid: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    pub(crate) fn rsa(kid: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public key's bytes.
    pub(crate) fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let bytes = self.public();
        match &self.pair {
            Pair::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "x": base64url(&bytes)}),
            Pair::Ec(_) => {
                let (x, y) = (base64url(&bytes[1..33]), base64url(&bytes[33..65]));
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "alg": "ES256", "x": x, "y": y})
            }
            // SEQUENCE { INTEGER n, INTEGER e }: of 2048 bits, n stands behind 9 bytes of heads, and e is 65537.
            Pair::Rsa(_) => json!({"kty": "RSA", "kid": self.kid, "n": base64url(&bytes[9..265]), "e": "AQAB"}),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.kid}), claims)
    }

    /// A token with this header, signed by this key whatever the header says.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        format!("{message}.{}", base64url(self.sign(message.as_bytes())))
    }
}

/// Header and claims of a token, without a signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()))
}

/// The claims of an owner, good for ten hours.
pub(crate) fn claims(now: Time) -> Value {
    let now = now.0 / 1000;
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user_1", "iat": now, "exp": now + 36_000,
        "activeOrganizationId": "org_1", "orgRole": "owner",
    })
}

pub(crate) fn key_set(keys: &[&Signer]) -> String {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string()
}

/// How a server of keys behaves.
#[derive(Clone)]
pub(crate) enum Mood {
    /// Answers with this text.
    Answers(String),
    /// Answers with this status line and text.
    Says(&'static str, String),
    /// Takes the request and never answers.
    Hangs,
    /// Sends this many bytes of a key set that never ends.
    Floods(usize),
}

/// A server of keys; it stops when this is dropped.
pub(crate) struct KeyServer {
    pub(crate) url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl KeyServer {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (mood, asked, sent) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut serving = JoinSet::new();
        let (moods, count, bytes) = (mood.clone(), asked.clone(), sent.clone());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mood = moods.lock().unwrap().clone();
                connections.spawn(answer(stream, mood, bytes.clone()));
            }
        });
        Self { url, mood, asked, sent, _serving: serving }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// How many bytes of floods it got rid of.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, mood: Mood, sent: Arc<AtomicUsize>) {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => request.extend_from_slice(&piece[..length]),
            _ => return,
        }
    }
    let (status, text) = match mood {
        Mood::Answers(text) => ("200 OK", text),
        Mood::Says(status, text) => (status, text),
        Mood::Hangs => return std::future::pending().await,
        Mood::Floods(length) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{{\"keys\":[");
            let _ = stream.write_all(head.as_bytes()).await;
            while sent.load(Ordering::SeqCst) < length && stream.write_all(&[b' '; 16 << 10]).await.is_ok() {
                sent.fetch_add(16 << 10, Ordering::SeqCst);
            }
            return;
        }
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
}
