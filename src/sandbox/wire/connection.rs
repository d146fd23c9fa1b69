//! One client's connection: handshake, then a reading loop here and a writing task beside it.
//!
//! Everything that goes out passes through a bounded queue. A peer that does not take its stanzas fills it and is cut off; what it
//! missed stays in its device's queue. The writer holds each stanza back until the state it depends on is on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_websockets::{Message, WebSocketStream};
use tracing::{debug, trace};
use wacore_binary::Node;
use wacore_noise::NoiseCipher;
use wacore_noise::framing::encode_frame;

use super::frames::{Frames, TooLarge};
use super::node;
use super::noise::{self, Agreed, HandshakeError, Next};
use crate::sandbox::Inner;

/// A websocket towards a client.
pub(in crate::sandbox) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How many stanzas may wait for a peer before it is cut off: the longest offline queue, with room for live traffic.
pub(in crate::sandbox) const OUTBOX: usize = 16_384;

/// How many bytes of stanzas, about, may wait for a peer before it is cut off.
const MAX_BACKLOG: usize = 64 * 1024 * 1024;

/// The messages of the handshake and of pairing are small.
const MAX_HELLO: usize = 64 * 1024;

/// The largest frame of a peer that is linked: a batch of 812 prekeys takes 40 kB, a message to a group of a thousand 200 kB.
const MAX_FRAME: usize = 1024 * 1024;

/// How long a peer may take to accept one frame.
const WRITE_DEADLINE: Duration = Duration::from_secs(20);

/// Something for the writer.
#[derive(Debug)]
pub(in crate::sandbox) struct Outgoing {
    /// The stanza; none ends the connection.
    pub(in crate::sandbox) node: Option<Node>,
    /// How long to wait first.
    pub(in crate::sandbox) after: Duration,
    /// The state that must be on disk first.
    pub(in crate::sandbox) generation: u64,
    /// Bytes a second, when the connection is slow.
    pub(in crate::sandbox) pace: Option<u32>,
    /// About how many bytes it takes while it waits.
    pub(in crate::sandbox) weight: usize,
}

/// What waits for a peer, in number and in size. A peer that does not take it is cut off.
pub(in crate::sandbox) struct Outbox {
    pub(in crate::sandbox) queue: mpsc::Sender<Outgoing>,
    backlog: Arc<AtomicUsize>,
}

impl Outbox {
    /// One that is empty.
    #[cfg(test)]
    pub(in crate::sandbox) fn new(queue: mpsc::Sender<Outgoing>) -> Self {
        Self { queue, backlog: Arc::default() }
    }

    /// Puts something into the queue; false when the peer has too much to take already.
    pub(in crate::sandbox) fn put(&self, outgoing: Outgoing) -> bool {
        let weight = outgoing.weight;
        if self.backlog.fetch_add(weight, Ordering::Relaxed) > MAX_BACKLOG {
            return false;
        }
        !matches!(self.queue.try_send(outgoing), Err(mpsc::error::TrySendError::Full(_)))
    }
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer closed")]
    Closed,
    #[error("the peer said nothing for too long")]
    Silent,
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("undecryptable frame")]
    Decrypt,
    #[error(transparent)]
    Stanza(#[from] node::Unreadable),
    #[error("websocket: {0}")]
    Socket(#[from] tokio_websockets::Error),
    #[error("frame: {0}")]
    Frame(anyhow::Error),
}

/// Serves one websocket to its end.
/// `host` is how the client calls the sandbox.
pub(in crate::sandbox) async fn run(inner: Arc<Inner>, mut socket: Socket, host: String, shutdown: CancellationToken) {
    let mut frames = Frames::new(MAX_HELLO);
    let agreed = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        result = timeout(inner.config.handshake_deadline, handshake(&inner, &mut socket, &mut frames)) => match result {
            Ok(Ok(agreed)) => agreed,
            Ok(Err(error)) => return debug!(%error, "handshake failed"),
            Err(_) => return debug!("handshake took too long"),
        }
    };
    let Agreed { seal, open, client_key, payload } = agreed;
    let (sink, stream) = socket.split();
    let (outbox, waiting) = mpsc::channel(OUTBOX);
    let cut = shutdown.child_token();
    let backlog = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn(write(sink, waiting, seal, inner.durable.subscribe(), cut.clone(), Arc::clone(&backlog)));
    let (id, known) = inner.act(|world| {
        let id = world.connect(Outbox { queue: outbox, backlog }, cut.clone(), host, client_key, &payload);
        (id, world.place(id).is_some())
    });
    // Whoever is not linked yet has little to say.
    if known {
        frames.allow(MAX_FRAME);
    }
    let result = tokio::select! {
        biased;
        () = cut.cancelled() => Err(Ended::Closed),
        result = read(&inner, id, stream, frames, open) => result,
    };
    if let Err(error) = result {
        debug!(connection = id, %error, "connection ended");
    }
    // This drops the outbox, so the writer sends what is left, closes and ends; the cut makes it end now.
    inner.act(|world| world.disconnect(id));
    cut.cancel();
    let _ = writer.await;
}

async fn handshake(inner: &Inner, socket: &mut Socket, frames: &mut Frames) -> Result<Agreed, Ended> {
    let mut first = Vec::new();
    loop {
        first.extend_from_slice(next_binary(socket).await?.as_payload());
        if first.len() > MAX_HELLO {
            return Err(HandshakeError::Malformed("prologue").into());
        }
        if let Some(skip) = noise::strip_prologue(&first)? {
            frames.feed(first.get(skip..).unwrap_or_default());
            break;
        }
    }
    let hello = next_frame(socket, frames).await?;
    let (reply, next) = noise::answer_hello(&inner.static_key, &inner.ambient, &hello)?;
    socket.send(Message::binary(encode_frame(&reply, None).map_err(Ended::Frame)?)).await?;
    match next {
        Next::Agreed(agreed) => Ok(*agreed),
        Next::Finish(finish) => Ok(finish.complete(&next_frame(socket, frames).await?)?),
    }
}

async fn next_binary(socket: &mut Socket) -> Result<Message, Ended> {
    loop {
        match socket.next().await {
            None => return Err(Ended::Closed),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) if message.is_close() => return Err(Ended::Closed),
            Some(Ok(message)) if message.is_binary() => return Ok(message),
            Some(Ok(_)) => {}
        }
    }
}

async fn next_frame(socket: &mut Socket, frames: &mut Frames) -> Result<Vec<u8>, Ended> {
    loop {
        if let Some(frame) = frames.next()? {
            return Ok(frame.to_vec());
        }
        let message = next_binary(socket).await?;
        frames.feed(message.as_payload());
    }
}

async fn read(
    inner: &Inner,
    id: u64,
    mut stream: SplitStream<Socket>,
    mut frames: Frames,
    open: NoiseCipher,
) -> Result<(), Ended> {
    let mut counter = 0;
    loop {
        while let Some(mut frame) = frames.next()? {
            open.decrypt_in_place_with_counter(counter, &mut frame).map_err(|_| Ended::Decrypt)?;
            counter += 1;
            let stanza = node::unpack(frame)?;
            trace!(connection = id, ?stanza, "received");
            inner.act(|world| world.on_stanza(id, &stanza));
        }
        match timeout(inner.config.idle_deadline, stream.next()).await {
            Err(_) => return Err(Ended::Silent),
            Ok(None) => return Err(Ended::Closed),
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(Some(Ok(message))) if message.is_close() => return Err(Ended::Closed),
            Ok(Some(Ok(message))) if message.is_binary() => frames.feed(message.as_payload()),
            Ok(Some(Ok(_))) => {}
        }
    }
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut waiting: mpsc::Receiver<Outgoing>,
    seal: NoiseCipher,
    mut durable: watch::Receiver<u64>,
    cut: CancellationToken,
    backlog: Arc<AtomicUsize>,
) {
    let work = async {
        let mut counter = 0;
        while let Some(Outgoing { node, after, generation, pace, weight }) = waiting.recv().await {
            if durable.wait_for(|saved| *saved >= generation).await.is_err() {
                break;
            }
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let Some(node) = node else { break };
            trace!(stanza = ?node, "sending");
            let sealed = node::pack(&node).ok().and_then(|plain| seal.encrypt_with_counter(counter, &plain).ok());
            let Some(frame) = sealed.and_then(|sealed| encode_frame(&sealed, None).ok()) else {
                debug!("a stanza that cannot be sent");
                break;
            };
            counter += 1;
            if let Some(rate) = pace {
                if trickle(&mut sink, &frame, rate).await.is_err() {
                    break;
                }
            } else if !matches!(timeout(WRITE_DEADLINE, sink.send(Message::binary(frame))).await, Ok(Ok(()))) {
                break;
            }
            backlog.fetch_sub(weight, Ordering::Relaxed);
        }
        let _ = timeout(Duration::from_secs(1), sink.close()).await;
    };
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        () = work => {}
    }
    cut.cancel();
}

/// Sends a frame in pieces, ten a second.
async fn trickle(sink: &mut SplitSink<Socket, Message>, frame: &[u8], rate: u32) -> Result<(), Ended> {
    let piece = usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1);
    for piece in frame.chunks(piece) {
        sink.send(Message::binary(Bytes::copy_from_slice(piece))).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
