//! The HTTP edge, derived from the descriptors; it knows no nouns of ours.
//!
//! A call is routed, checked by the guard's [`Gate`](crate::api::guard::Gate) before a byte of its body is read, turned into the
//! request's protobuf bytes, and sent in process through the very service that gRPC clients reach. The reply's bytes are written
//! as JSON directly.
//!
//! # JSON rules
//! **Both ways.** Field names are the proto names in camelCase. 64-bit integers are numbers. `google.protobuf.Timestamp` is epoch
//! milliseconds. Enumerations are lower-case without their prefix. Bytes are base64.
//!
//! **Replies.** `google.protobuf.Empty` is status 204 without a body. Fields without `optional` are always written: scalars,
//! lists (`[]`), maps, and messages too (`{}`; a timestamp as `0`). Unset `optional` fields are left out, or `null` when they are
//! `(nullable)`. Of a oneof, the set member is written under its own name, with `(nested)` under the oneof's name (`{}` when
//! none is set). Errors are `{"error":{"code","message","details"}}`, made from nothing but the gRPC status.
//!
//! **Requests.** Each field has one place: the path, if the route names it; the query, for `(query)` fields and for routes without
//! a body; the header, for `(header)` fields (with both options the header wins); otherwise the body. The body is an object
//! with `content-type: application/json`; an empty one is `{}`. Refused with 400, naming the field: unknown fields and
//! query parameters, fields in another place than theirs, members given twice, wrong types, unknown enum names and the zero
//! one, two members of a oneof, objects nested more than 32 deep. `null` is the same as absent. 413 above 4 MiB, 415 for
//! another content type. Lists in a query are repeated parameters.
//!
//! **Streams.** A WebSocket for those that ask to upgrade, else Server-Sent Events or newline-delimited JSON (the default) by `Accept`. When the stream's message is exactly one
//! oneof, an event is its set member: the one with a `(stream_id)` field is plain, with that `id`; others carry `event: <name>`.
//! A line is the whole message. An error at the end is `event: error`, or a line with `error`. A unary method and a
//! streaming one may share a path: `Accept` decides.
//!
//! **Files.** A client stream with a `chunk` takes its body as it is or as a form, a server stream of `FilePiece` is answered as the file
//! that it is; see `file.rs`.
//!
//! **HTTP.** HEAD is GET without the body. 405 carries `Allow`. A trailing slash is another path.

mod body;
mod call;
mod crowd;
pub mod docs;
mod file;
mod form;
mod json;
pub mod openapi;
mod plan;
mod qr;
pub mod render;
mod request;
mod response;
mod rule;
pub mod serve;
mod socket;
mod stream;
mod template;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::body::Body;

use crate::api::convert::HTTP_STATUS;
use crate::api::guard::Checked;
use crate::api::layers::{Calls, RequestId};
use crate::error::{Code, Error};
use crate::rest::body::read;
use crate::rest::call::dressed;
use crate::rest::plan::{Kind, Planner, Plans};
use crate::rest::qr::Form;
use crate::rest::request::{Given, in_query};
use crate::rest::response::{Failure, content, malformed, without_body};
use crate::rest::rule::{Options, Rule};
use crate::rest::socket::Handshake;
use crate::rest::stream::Format;
use crate::rest::template::{Found, Table, Template};
use crate::rest::wire::{Raw, Reader};
use crate::rest::writer::write;

/// What goes over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    /// JSON, both ways.
    Messages,
    /// A file in, as this field of a stream's messages; JSON out.
    Upload(u32),
    /// A form in, whose parts are fields of a stream's messages; JSON out.
    Form,
    /// A file out.
    Download,
}

/// One method of the contract, as HTTP reaches it.
#[derive(Debug)]
struct Route {
    method: PathAndQuery,
    request: usize,
    reply: usize,
    takes_body: bool,
    carries: Carries,
    success: StatusCode,
    /// Number of the reply's field that may come as a QR code.
    qr: Option<u32>,
    /// The request's fields that the path names.
    variables: Vec<usize>,
    /// The query parameter that may be the caller's credential.
    credential: Option<String>,
}

/// What one HTTP method on one path leads to.
#[derive(Debug, Default)]
struct Binding {
    unary: Option<Route>,
    streaming: Option<Route>,
}

/// The transcoder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rest {
    plans: Arc<Plans>,
    table: Arc<Table<Binding>>,
    calls: Calls,
}

impl Rest {
    /// Reads the routes from an encoded `FileDescriptorSet`; calls go to `calls`.
    ///
    /// # Errors
    /// Conflicting routes, patterns, bodies or types that are not supported, path variables that are no field.
    pub fn new(descriptors: &[u8], calls: Calls) -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(descriptors).context("the descriptors cannot be read")?;
        let (options, mut planner, mut table) = (Options::new(&pool)?, Planner::new(&pool)?, Table::new());
        for method in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            if let Some(rule) = options.rule(&method)? {
                bind(&mut table, &mut planner, &method, rule).with_context(|| method.full_name().to_owned())?;
            }
        }
        Ok(Self { plans: Arc::new(planner.finish()?), table: Arc::new(table), calls })
    }

    /// Answers one HTTP request.
    pub async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let head = request.method() == Method::HEAD;
        if head {
            *request.method_mut() = Method::GET;
        }
        let response = self.run(request, &id).await.unwrap_or_else(|failure| failure.response(&id));
        if head { without_body(response) } else { response }
    }

    async fn run(&self, mut request: Request<Body>, id: &RequestId) -> Result<Response<Body>, Failure> {
        let socket = Handshake::of(&mut request)?;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let (template, binding, captures) = match self.table.find(&parts.method, &path) {
            Found::Route(template, binding, captures) => (template, binding, captures),
            Found::OtherMethods(methods) => return Ok(not_allowed(&parts.method, &methods, id)),
            Found::Nothing => return Err(Error::new(Code::NotFound, "there is nothing at this path").into()),
        };
        tracing::Span::current().record("route", template.text.as_str());
        let asked_for = Format::asked_for(&parts.headers);
        let (route, streaming) = match (&binding.unary, &binding.streaming) {
            (Some(unary), None) => (unary, false),
            (Some(unary), Some(_)) if asked_for.is_none() && socket.is_none() => (unary, false),
            (_, Some(streaming)) => (streaming, true),
            (None, None) => return Err(Error::new(Code::NotFound, "there is nothing at this path").into()),
        };
        // What is rare is apart in memory too, for every call would carry room for it.
        if route.carries == Carries::Messages && !streaming {
            let (call, form) = self.call(route, captures, parts, body, id).await?;
            return self.single(route, call, form).await;
        }
        Box::pin(async move {
            if let Carries::Upload(chunk) = route.carries {
                let checked = self.calls.gate().check(route.method.path(), &parts.headers, &parts.extensions).await?;
                let (query, headers) = (parts.uri.query().unwrap_or_default(), parts.headers);
                return self.upload(route, chunk, &captures, query, headers, body, (checked, id)).await;
            }
            if route.carries == Carries::Form {
                let checked = self.calls.gate().check(route.method.path(), &parts.headers, &parts.extensions).await?;
                return self.form(route, &captures, parts.headers, body, (checked, id)).await;
            }
            if route.carries == Carries::Download {
                let wanted = parts.headers.clone();
                let (call, _) = self.call(route, captures, parts, body, id).await?;
                let items = call::streaming(&self.calls, &route.method, call).await.map_err(file::failed)?;
                return file::download(&wanted, items).await;
            }
            let opened = async {
                let (call, _) = self.call(route, captures, parts, body, id).await?;
                Ok(call::streaming(&self.calls, &route.method, call).await?)
            };
            let (opened, plans) = (opened.await, self.plans.clone());
            match socket {
                Some(socket) => Ok(socket.serve(plans, route.reply, id.clone(), opened)),
                None => Ok(stream::respond(plans, route.reply, asked_for.unwrap_or(Format::Lines), id.clone(), opened?)),
            }
        })
        .await
    }

    /// The call that a request stands for, checked by the gate before a byte of the body is read; and whether its reply is wanted as a QR
    /// code.
    async fn call(
        &self,
        route: &Route,
        captures: Vec<&str>,
        mut parts: Parts,
        body: Body,
        id: &RequestId,
    ) -> Result<(tonic::Request<Bytes>, Option<(Form, u32)>), Failure> {
        let query = parts.uri.query().unwrap_or_default();
        if let Some(credential) = route.credential.as_ref().and_then(|name| in_query(query, name)) {
            let shown = HeaderValue::try_from(format!("Bearer {credential}"));
            parts.headers.insert(header::AUTHORIZATION, shown.unwrap_or(HeaderValue::from_static("Bearer")));
        }
        let checked = self.calls.gate().check(route.method.path(), &parts.headers, &parts.extensions).await?;
        let body = read(body, &parts.headers).await?;
        let given = Given {
            plans: &self.plans,
            message: route.request,
            captures: route.variables.iter().copied().zip(captures).collect(),
            query,
            headers: &parts.headers,
            takes_body: route.takes_body,
            body: &body,
        };
        let message = Bytes::from(given.encode()?);
        let form = route.qr.and_then(|number| Form::asked_for(&parts.headers).map(|form| (form, number)));

        Ok((dressed(message, parts.headers, checked, id), form))
    }

    /// Calls what answers once.
    async fn single(
        &self,
        route: &Route,
        call: tonic::Request<Bytes>,
        form: Option<(Form, u32)>,
    ) -> Result<Response<Body>, Failure> {
        let (headers, reply) = call::unary(&self.calls, &route.method, call).await?;
        let asked = headers.get(HTTP_STATUS).and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok());
        let success = asked.filter(StatusCode::is_success).unwrap_or(route.success);
        if route.success == StatusCode::NO_CONTENT {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = route.success;
            return Ok(response);
        }
        if let Some((form, number)) = form {
            let text = text_field(&reply, number).ok_or_else(malformed)?;
            return Ok(content(route.success, form.content_type(), form.draw(text)?));
        }
        self.written(route, success, &reply)
    }

    /// A reply as JSON.
    fn written(&self, route: &Route, success: StatusCode, reply: &[u8]) -> Result<Response<Body>, Failure> {
        let mut json = Vec::with_capacity(reply.len() * 4 + 64);
        write(&self.plans, route.reply, reply, &mut json).ok_or_else(malformed)?;
        Ok(content(success, "application/json", json))
    }

    /// Calls a method that takes a file; see `file.rs`.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart already")]
    async fn upload(
        &self,
        route: &Route,
        chunk: u32,
        captures: &[&str],
        query: &str,
        mut headers: HeaderMap,
        body: Body,
        (checked, id): (Checked, &RequestId),
    ) -> Result<Response<Body>, Failure> {
        let is_form = file::is_form(&headers);
        let (mut form, mut plain) = (None, None);
        match is_form {
            true => form = Some(file::form(&headers, body).await?),
            false => plain = Some(body),
        }
        if is_form {
            // What they say is said of the form and not of the file in it.
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_LENGTH);
        }
        let mut first = Given {
            plans: &self.plans,
            message: route.request,
            captures: route.variables.iter().copied().zip(captures.iter().copied()).collect(),
            query,
            headers: &headers,
            takes_body: true,
            body: &[],
        }
        .encode()?;
        let incoming = match (&mut form, plain) {
            (Some(form), _) => {
                let (named, field) = file::first_file(form).await?;
                let plan = &self.plans.messages[route.request];
                for (name, value) in [("filename", named.filename), ("mimetype", named.mimetype)] {
                    if let (Some(at), Some(value)) = (plan.by_name(name), value) {
                        wire::put_bytes(&mut first, plan.fields[at].number, value.as_bytes());
                    }
                }
                field
            }
            (None, plain) => file::Incoming::Body(plain.unwrap_or_default()),
        };
        let reply = file::upload(first.into(), chunk, incoming, |messages| {
            call::uploading(&self.calls, &route.method, dressed(messages, headers.clone(), checked, id))
        });
        let reply = Box::pin(reply).await?;
        self.written(route, route.success, &reply)
    }
}

/// Enters a method into the table.
fn bind(table: &mut Table<Binding>, planner: &mut Planner, method: &MethodDescriptor, rule: Rule) -> anyhow::Result<()> {
    let carries = carries(method)?;
    let template = Template::parse(&rule.template)?;
    let (request, reply) = (planner.request(&method.input())?, planner.message(&method.output())?);
    let mut variables = Vec::new();
    for name in &template.variables {
        let at = method.input().get_field_by_name(name).and_then(|f| planner.plans().messages[request].by_name(f.json_name()));
        let at = at.with_context(|| format!("the path variable {name:?} is no field of the request"))?;
        let field = &planner.plans().messages[request].fields[at];
        let plain = field.count == plan::Count::One && !matches!(field.kind, Kind::Message(_));
        ensure!(plain && !field.query && field.header.is_none(), "the field {name:?} cannot be a path variable");
        variables.push(at);
    }
    let qr = match &rule.qr_field {
        None => None,
        Some(name) => {
            let field =
                method.output().get_field_by_name(name).filter(|f| f.kind() == prost_reflect::Kind::String && !f.is_list());
            Some(field.with_context(|| format!("the QR field {name:?} is no text of the reply"))?.number())
        }
    };
    let fields = &planner.plans().messages[request].fields;
    let credential = fields.iter().find(|field| field.credential).map(|field| field.name.clone());
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let takes_body = rule.body;
    let route =
        Route { method: path.parse()?, request, reply, takes_body, carries, success: rule.success, qr, variables, credential };
    let conflict = || format!("{} {} is bound twice", rule.method, rule.template);
    if let Some(binding) = table.same(&rule.method, &template) {
        let place = if method.is_server_streaming() { &mut binding.streaming } else { &mut binding.unary };
        ensure!(place.replace(route).is_none(), conflict());
        return Ok(());
    }
    let binding = match method.is_server_streaming() {
        true => Binding { streaming: Some(route), unary: None },
        false => Binding { unary: Some(route), streaming: None },
    };
    table.add(rule.method, template, binding);
    Ok(())
}

/// What goes over HTTP when the method is called.
fn carries(method: &MethodDescriptor) -> anyhow::Result<Carries> {
    if method.is_client_streaming() {
        ensure!(!method.is_server_streaming(), "streams in both directions cannot be called over HTTP");
        let chunk = method.input().get_field_by_name("chunk").filter(|field| field.kind() == prost_reflect::Kind::Bytes);
        return Ok(chunk.map_or(Carries::Form, |chunk| Carries::Upload(chunk.number())));
    }
    Ok(if method.output().full_name() == file::PIECE { Carries::Download } else { Carries::Messages })
}

fn not_allowed(method: &Method, others: &[Method], id: &RequestId) -> Response<Body> {
    let mut allow: Vec<_> = others.iter().map(Method::as_str).collect();
    if allow.contains(&"GET") {
        allow.push("HEAD");
    }
    let allow = allow.join(", ");
    let failure = Failure::refused(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here, only {allow}"));
    let mut response = failure.response(id);
    if let Ok(value) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// The text of one field of a message.
fn text_field(message: &[u8], number: u32) -> Option<&str> {
    let (mut reader, mut text) = (Reader::new(message), "");
    while !reader.is_empty() {
        match reader.field()? {
            (n, Raw::Bytes(bytes)) if n == number => text = std::str::from_utf8(bytes).ok()?,
            _ => {}
        }
    }
    Some(text)
}
