//! Calls in process: protobuf in, protobuf out, through the very service that gRPC clients reach.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::MetadataMap;
use tonic::{Code as Grpc, Status, client};
use tower::Service as _;

use crate::api::guard::Checked;
use crate::api::layers::{Calls, RequestId};
use crate::rest::response::malformed;

/// Bytes before a message: whether it is compressed, and its length.
const FRAME: usize = 5;

/// Calls a method that takes one message and answers with one; gives its headers and its bytes. Done by hand, because it is what most
/// requests are: one frame each way needs no buffers of a client.
pub(super) async fn unary(
    calls: &Calls,
    method: &PathAndQuery,
    call: tonic::Request<Bytes>,
) -> Result<(HeaderMap, Bytes), Status> {
    let (metadata, extensions, message) = call.into_parts();
    let length = u32::try_from(message.len()).map_err(|_| Status::out_of_range("the request is too large"))?;
    let mut frame = BytesMut::with_capacity(FRAME + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put(message);
    let mut request = Request::new(Body::new(Full::new(frame.freeze())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(method.clone());
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = metadata.into_headers();
    *request.extensions_mut() = extensions;
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));

    let (parts, body) = calls.clone().call(request).await.unwrap_or_else(|never| match never {}).into_parts();
    refused(&parts.headers)?;
    let reply = body.collect().await?;
    reply.trailers().map_or(Ok(()), refused)?;
    let mut bytes = reply.to_bytes();
    if bytes.len() < FRAME || bytes.get_u8() != 0 || usize::try_from(bytes.get_u32()) != Ok(bytes.len()) {
        return Err(malformed());
    }
    Ok((parts.headers, bytes))
}

/// The status in these headers, unless it is that all is well.
fn refused(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Grpc::Ok => Err(status),
        _ => Ok(()),
    }
}

async fn client(calls: &Calls) -> client::Grpc<Calls> {
    let mut client = client::Grpc::new(calls.clone()).max_decoding_message_size(usize::MAX);
    client.ready().await.unwrap_or_else(|never| match never {});
    client
}

/// Calls a method that answers with a stream.
pub(super) async fn streaming(
    calls: &Calls,
    method: &PathAndQuery,
    call: tonic::Request<Bytes>,
) -> Result<Streaming<Bytes>, Status> {
    Ok(client(calls).await.server_streaming(call, method.clone(), Identity).await?.into_inner())
}

/// Calls a method that takes a stream.
pub(super) async fn uploading(
    calls: &Calls,
    method: &PathAndQuery,
    call: tonic::Request<mpsc::Receiver<Bytes>>,
) -> Result<Bytes, Status> {
    let call = call.map(|messages| stream::unfold(messages, async |mut messages| Some((messages.recv().await?, messages))));
    Ok(client(calls).await.client_streaming(call, method.clone(), Identity).await?.into_inner())
}

/// A call on its way to the service.
pub(super) fn dressed<T>(message: T, headers: HeaderMap, checked: Checked, id: &RequestId) -> tonic::Request<T> {
    let mut call = tonic::Request::new(message);
    *call.metadata_mut() = MetadataMap::from_headers(metadata(headers));
    call.extensions_mut().insert(checked);
    call.extensions_mut().insert(id.clone());
    call
}

/// The headers that go on as metadata: not those of the connection, of the body, or of protocols.
fn metadata(headers: HeaderMap) -> HeaderMap {
    const NOT: [&str; 12] = [
        "authorization",
        "connection",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "http2-settings",
    ];
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut current = None;
    for (name, value) in headers {
        current = name.or(current);
        let Some(name) = &current else { continue };
        let text = name.as_str();
        let dropped = ["content-", "accept", "grpc-", "proxy-", "sec-"].iter().any(|prefix| text.starts_with(prefix));
        if !dropped && !NOT.contains(&text) {
            kept.append(name, value);
        }
    }
    kept
}

/// Bytes in, bytes out: messages are protobuf already.
#[derive(Clone, Copy)]
struct Identity;

impl Codec for Identity {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Identity {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Identity {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(frame.copy_to_bytes(frame.remaining())))
    }
}
