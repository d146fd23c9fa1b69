//! Faults on command over gRPC.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{Answer, Control, timestamp};
use crate::api::status::to_status;
use crate::error::Error;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::fault_service_server::FaultService;
use crate::sandbox::fault::{Fault, FaultKind, FaultSpec, Injection};

#[tonic::async_trait]
impl FaultService for Control {
    async fn create_fault(&self, request: Request<proto::CreateFaultRequest>) -> Answer<proto::Fault> {
        let drawn = i64::from_be_bytes(self.sandbox.ambient().random());
        let spec = spec(request.into_inner(), drawn).map_err(to_status)?;
        self.sandbox.create_fault(spec).map(|fault| Response::new(fault.into())).map_err(to_status)
    }

    async fn list_faults(&self, _: Request<proto::ListFaultsRequest>) -> Answer<proto::ListFaultsResponse> {
        let data = self.sandbox.list_faults().into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListFaultsResponse { data, next_cursor: None }))
    }

    async fn delete_fault(&self, request: Request<proto::DeleteFaultRequest>) -> Result<Response<()>, Status> {
        let id = request.into_inner().id.parse().map_err(|_| to_status(Error::not_found("fault")))?;
        self.sandbox.delete_fault(id).map(Response::new).map_err(to_status)
    }

    async fn delete_faults(&self, _: Request<proto::DeleteFaultsRequest>) -> Result<Response<()>, Status> {
        self.sandbox.delete_faults();
        Ok(Response::new(()))
    }
}

fn spec(asked: proto::CreateFaultRequest, drawn: i64) -> Result<FaultSpec, Error> {
    let kind = kind(asked.kind()).ok_or_else(|| Error::field("kind", "must be one of the kinds of faults"))?;
    Ok(FaultSpec {
        kind,
        phone_number: asked.phone_number.trim_start_matches('+').to_owned(),
        stanza: asked.stanza,
        count: match asked.count {
            Some(count) => u32::try_from(count).ok(),
            None => (asked.probability.is_none() && kind != FaultKind::RefuseNewChats).then_some(1),
        },
        probability: asked.probability,
        seed: asked.seed.unwrap_or(drawn),
        code: asked.code.and_then(|code| u16::try_from(code).ok()),
        duration: asked.duration_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        bytes_per_second: asked.bytes_per_second.and_then(|rate| u32::try_from(rate).ok()),
    })
}

impl From<Fault> for proto::Fault {
    fn from(fault: Fault) -> Self {
        let Fault { id, spec, injected, injections } = fault;
        Self {
            id: id.to_string(),
            kind: word(spec.kind).into(),
            phone_number: spec.phone_number,
            stanza: spec.stanza,
            count: spec.count.and_then(|count| i32::try_from(count).ok()),
            probability: spec.probability,
            seed: spec.seed,
            code: spec.code.map(i32::from),
            duration_ms: spec.duration.and_then(|duration| i64::try_from(duration.as_millis()).ok()),
            bytes_per_second: spec.bytes_per_second.and_then(|rate| i32::try_from(rate).ok()),
            injected: i64::try_from(injected).unwrap_or(i64::MAX),
            injections: injections.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Injection> for proto::FaultInjection {
    fn from(injection: Injection) -> Self {
        Self {
            at: Some(timestamp(injection.at)),
            phone_number: injection.phone_number,
            device_id: i32::from(injection.device),
            stanza: injection.stanza,
        }
    }
}

macro_rules! same_names {
    ($($name:ident),+ $(,)?) => {
        pub(super) fn kind(kind: proto::FaultKind) -> Option<FaultKind> {
            match kind {
                proto::FaultKind::Unspecified => None,
                $(proto::FaultKind::$name => Some(FaultKind::$name),)+
            }
        }

        pub(super) fn word(kind: FaultKind) -> proto::FaultKind {
            match kind { $(FaultKind::$name => proto::FaultKind::$name),+ }
        }
    };
}

same_names!(
    Drop,
    HalfOpen,
    Stall,
    Slow,
    StreamError,
    Replaced,
    DeviceRemoved,
    StreamEnd,
    RefuseLogin,
    IgnoreLogin,
    IgnoreIq,
    LateIq,
    RefuseIq,
    RefuseMessage,
    Corrupt,
    Duplicate,
    Reorder,
    Redeliver,
    NoPrekeys,
    AppStateConflict,
    ExpiredQr,
    NoQr,
    Restart,
    RefuseNewChats,
    MediaNotFound,
    MediaGone,
    MediaRefused,
    MediaSlow,
    MediaTruncated,
    MediaCorrupted,
);
