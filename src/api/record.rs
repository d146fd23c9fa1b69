//! Puts a call and its outcome on record. What it was done to is found by the descriptors alone: the fields that the path names in the
//! request, or else the `id` of what the reply shows. So a new method is covered without a line here.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, BodyStream, Full, Limited, StreamBody};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

use crate::api::layers::BODY_LIMIT;
use crate::api::status::{by_grpc, to_status};
use crate::error::{Code, Error};
use crate::service::audit::{Audit, Deed};

/// A frame's head: a flag and the length.
const HEAD: usize = 5;

/// How to find what a method's call was done to.
#[derive(Debug)]
pub(super) struct Recorded {
    request: MessageDescriptor,
    reply: MessageDescriptor,
    /// The request's fields that the HTTP path names.
    variables: Vec<String>,
    streams: bool,
    /// The request is a stream: its first message names what it is about, and the rest is not kept here.
    uploads: bool,
}

impl Recorded {
    pub(super) fn new(pool: &DescriptorPool, method: &MethodDescriptor) -> Self {
        let rule = pool.get_extension_by_name("google.api.http").map(|http| method.options().get_extension(&http).into_owned());
        let rule = rule.as_ref().and_then(|rule| rule.as_message());
        let path = rule.and_then(|rule| {
            ["get", "post", "put", "patch", "delete"]
                .into_iter()
                .filter_map(|verb| rule.get_field_by_name(verb)?.as_str().map(str::to_owned))
                .find(|path| !path.is_empty())
        });
        let path = path.unwrap_or_default();
        let variables = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect();
        Self {
            request: method.input(),
            reply: method.output(),
            variables,
            streams: method.is_server_streaming(),
            uploads: method.is_client_streaming(),
        }
    }

    fn object_of_request(&self, frame: &[u8]) -> Option<String> {
        let message = decode(&self.request, frame)?;
        let values = self.variables.iter().filter_map(|name| text(&message, name)).collect::<Vec<_>>();
        Some(values.join("/")).filter(|object| !object.is_empty())
    }

    /// The reply's own id, or that of the first thing in it.
    fn object_of_reply(&self, frame: &[u8]) -> Option<String> {
        let message = decode(&self.reply, frame)?;
        text(&message, "id").or_else(|| {
            let mut parts = message.fields().filter_map(|(_, value)| text(value.as_message()?, "id"));
            parts.next()
        })
    }
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The message of the first frame, if there is one and it is not compressed.
fn decode(kind: &MessageDescriptor, frame: &[u8]) -> Option<DynamicMessage> {
    let (head, rest) = frame.split_at_checked(HEAD)?;
    let length = usize::try_from(u32::from_be_bytes(head[1..].try_into().ok()?)).ok()?;
    DynamicMessage::decode(kind.clone(), rest.get(..length).filter(|_| head[0] == 0)?).ok()
}

/// A call under way: dropped before its end, because its caller hung up or its time was over, it is recorded as `cancelled`, for it may
/// have happened.
struct Pending {
    audit: Audit,
    deed: Option<Deed>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(deed) = self.deed.take() {
            self.audit.refused(deed);
        }
    }
}

/// Calls a method, and answers once the call is on its way into the audit log.
pub(super) async fn record(
    audit: Audit,
    method: &Recorded,
    deed: Deed,
    request: Request<Body>,
    mut routes: Routes,
) -> Result<Response<Body>, Infallible> {
    let mut pending = Pending { audit, deed: Some(deed) };
    let (parts, mut body) = request.into_parts();
    if method.uploads {
        let first = body.frame().await.and_then(Result::ok);
        if let Some(data) = first.as_ref().and_then(|frame| frame.data_ref()) {
            pending.set(|deed| deed.object = method.object_of_request(data));
        }
        let rest = futures_util::stream::iter(first.map(Ok)).chain(BodyStream::new(body));
        let Ok(answer) = routes.call(Request::from_parts(parts, Body::new(StreamBody::new(rest)))).await;
        return Ok(finish(pending, method, answer).await);
    }
    let answer = match Limited::new(body, BODY_LIMIT + HEAD).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            pending.set(|deed| deed.object = method.object_of_request(&body));
            let request = Request::from_parts(parts, Body::new(Full::new(body)));
            let Ok(answer) = routes.call(request).await;
            answer
        }
        Err(_) => to_status(Error::new(Code::Validation, "the message is too long or ended early")).into_http(),
    };
    Ok(finish(pending, method, answer).await)
}

/// Records how a call went, and passes its answer on.
async fn finish(mut pending: Pending, method: &Recorded, answer: Response<Body>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut status = Status::from_header_map(&parts.headers);
    let answer = if method.streams {
        Response::from_parts(parts, body)
    } else {
        match body.collect().await {
            Ok(body) => {
                let trailers = body.trailers().cloned();
                status = status.or_else(|| trailers.as_ref().and_then(Status::from_header_map));
                let bytes = body.to_bytes();
                pending.set(|deed| deed.object = deed.object.take().or_else(|| method.object_of_reply(&bytes)));
                Response::from_parts(parts, rebuilt(bytes, trailers))
            }
            Err(error) => {
                status = Some(error.clone());
                error.into_http()
            }
        }
    };
    let outcome = match status.map(|status| status.code()) {
        None | Some(tonic::Code::Ok) => "ok",
        Some(code) => by_grpc(code).word,
    };
    pending.set(|deed| outcome.clone_into(&mut deed.outcome));
    if let Some(deed) = pending.deed.clone() {
        pending.audit.done(deed).await;
        pending.deed = None;
    }
    answer
}

impl Pending {
    fn set(&mut self, change: impl FnOnce(&mut Deed)) {
        if let Some(deed) = &mut self.deed {
            change(deed);
        }
    }
}

/// A body as it was before it was read.
fn rebuilt(bytes: Bytes, trailers: Option<http::HeaderMap>) -> Body {
    let data = Full::new(bytes);
    match trailers {
        Some(trailers) => Body::new(data.with_trailers(async move { Some(Ok(trailers)) })),
        None => Body::new(data),
    }
}
