//! Forms over HTTP: a client stream whose messages have no `chunk` takes `multipart/form-data`. The first message has what the path gives;
//! each part of the form is a field of the messages behind it, of bytes that come as they are, in as many messages as it takes.

use axum::extract::multipart::Multipart;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::body::Body;

use super::call::{self, dressed};
use super::file::{self, DRAIN, LONGEST, LULL, STALL, WAITING, broken, late};
use super::plan::{Kind, Message};
use super::request::Given;
use super::response::Failure;
use super::wire::put_bytes;
use super::{Rest, Route};
use crate::api::guard::Checked;
use crate::api::layers::RequestId;
use crate::error::Error;

impl Rest {
    /// Calls a method that takes a form.
    pub(super) async fn form(
        &self,
        route: &Route,
        captures: &[&str],
        mut headers: HeaderMap,
        body: Body,
        (checked, id): (Checked, &RequestId),
    ) -> Result<http::Response<Body>, Failure> {
        if !file::is_form(&headers) {
            let text = "the body must have `content-type: multipart/form-data`";
            return Err(Failure::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let mut form = file::form(&headers, body).await?;
        headers.remove(http::header::CONTENT_TYPE);
        headers.remove(http::header::CONTENT_LENGTH);
        let first = Given {
            plans: &self.plans,
            message: route.request,
            captures: route.variables.iter().copied().zip(captures.iter().copied()).collect(),
            query: "",
            headers: &headers,
            takes_body: true,
            body: &[],
        }
        .encode()?;
        let plan = &self.plans.messages[route.request];
        let reply = upload(plan, &route.variables, first.into(), &mut form, |messages| {
            call::uploading(&self.calls, &route.method, dressed(messages, headers.clone(), checked, id))
        });
        let reply = Box::pin(reply).await?;
        self.written(route, route.success, &reply)
    }
}

/// Calls `call` with the messages of a form. One that breaks off ends the call.
async fn upload<F>(
    plan: &Message,
    variables: &[usize],
    first: Bytes,
    form: &mut Multipart,
    call: impl FnOnce(mpsc::Receiver<Bytes>) -> F,
) -> Result<Bytes, Failure>
where
    F: Future<Output = Result<Bytes, Status>>,
{
    let (messages, waiting) = mpsc::channel(WAITING);
    let mut answer = std::pin::pin!(call(waiting));
    let early = {
        let mut pump = std::pin::pin!(pump(plan, variables, first, form, messages.clone()));
        tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            // The channel is open still, so that what has come does not look like everything. The call ends with this function.
            pumped = &mut pump => pumped.map(|()| None)?,
        }
    };
    drop(messages);
    match early {
        None => Ok(answer.await?),
        Some(Ok(reply)) => Ok(reply),
        Some(Err(status)) => {
            drain(form).await;
            Err(status.into())
        }
    }
}

async fn pump(
    plan: &Message,
    variables: &[usize],
    first: Bytes,
    form: &mut Multipart,
    messages: mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    let _ = messages.send(first).await;
    while let Some(mut part) = timely(form.next_field()).await?.map_err(|_| broken())? {
        let name = part.name().unwrap_or_default().to_owned();
        let field = plan.by_name(&name).filter(|at| !variables.contains(at)).map(|at| &plan.fields[at]);
        let field = field.filter(|field| field.kind == Kind::Bytes).ok_or_else(|| Error::field(&name, "unknown field"))?;
        while let Some(bytes) = timely(part.chunk()).await?.map_err(|_| broken())? {
            let mut bytes = BytesMut::from(bytes);
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(LONGEST));
                let mut message = Vec::with_capacity(piece.len() + 8);
                put_bytes(&mut message, field.number, &piece);
                // Nobody takes them any more: the call has been answered.
                if messages.send(message.into()).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn timely<T>(next: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(STALL, next).await.map_err(|_| late())
}

/// Reads on for a while, for the sake of a sender that reads answers only behind its body.
async fn drain(form: &mut Multipart) {
    let mut left = DRAIN;
    while let Ok(Ok(Some(mut part))) = tokio::time::timeout(LULL, form.next_field()).await {
        while let Ok(Ok(Some(bytes))) = tokio::time::timeout(LULL, part.chunk()).await {
            match left.checked_sub(bytes.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    }
}
