//! Schedules of faults over gRPC.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::faults::{kind, word};
use super::{Answer, Control, timestamp};
use crate::api::status::to_status;
use crate::error::Error;
use crate::proto::sandbox as proto;
use crate::proto::sandbox::fault_schedule_service_server::FaultScheduleService;
use crate::sandbox::fault::{FaultSchedule, ScheduleSpec};

#[tonic::async_trait]
impl FaultScheduleService for Control {
    async fn create_fault_schedule(&self, request: Request<proto::CreateFaultScheduleRequest>) -> Answer<proto::FaultSchedule> {
        let drawn = i64::from_be_bytes(self.sandbox.ambient().random());
        let spec = spec(request.into_inner(), drawn).map_err(to_status)?;
        self.sandbox.create_fault_schedule(spec).map(|schedule| Response::new(schedule.into())).map_err(to_status)
    }

    async fn list_fault_schedules(
        &self,
        _: Request<proto::ListFaultSchedulesRequest>,
    ) -> Answer<proto::ListFaultSchedulesResponse> {
        let data = self.sandbox.list_fault_schedules().into_iter().map(Into::into).collect();
        Ok(Response::new(proto::ListFaultSchedulesResponse { data, next_cursor: None }))
    }

    async fn get_fault_schedule(&self, request: Request<proto::GetFaultScheduleRequest>) -> Answer<proto::FaultSchedule> {
        let id = id(&request.into_inner().id)?;
        let found = self.sandbox.list_fault_schedules().into_iter().find(|schedule| schedule.id == id);
        found.map(|schedule| Response::new(schedule.into())).ok_or_else(|| to_status(Error::not_found("schedule")))
    }

    async fn delete_fault_schedule(&self, request: Request<proto::DeleteFaultScheduleRequest>) -> Result<Response<()>, Status> {
        let id = id(&request.into_inner().id)?;
        self.sandbox.delete_fault_schedule(id).map(Response::new).map_err(to_status)
    }
}

fn id(text: &str) -> Result<u64, Status> {
    text.parse().map_err(|_| to_status(Error::not_found("schedule")))
}

fn spec(asked: proto::CreateFaultScheduleRequest, drawn: i64) -> Result<ScheduleSpec, Error> {
    let kinds = asked.kinds().map(|asked| kind(asked).ok_or_else(|| Error::field("kinds", "must be kinds of faults")));
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Ok(ScheduleSpec {
        kinds: kinds.collect::<Result<_, _>>()?,
        phone_numbers: asked.phone_numbers.iter().map(|number| number.trim_start_matches('+').to_owned()).collect(),
        stanza: asked.stanza,
        interval: millis(asked.interval_ms),
        run: millis(asked.run_ms),
        seed: asked.seed.unwrap_or(drawn),
        code: asked.code.and_then(|code| u16::try_from(code).ok()),
        duration: asked.duration_ms.map(millis),
        bytes_per_second: asked.bytes_per_second.and_then(|rate| u32::try_from(rate).ok()),
    })
}

impl From<FaultSchedule> for proto::FaultSchedule {
    fn from(schedule: FaultSchedule) -> Self {
        let FaultSchedule { id, spec, started_at, ends_at, running, accounts, counts, injections } = schedule;
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            id: id.to_string(),
            kinds: spec.kinds.iter().map(|kind| word(*kind).into()).collect(),
            phone_numbers: spec.phone_numbers,
            stanza: spec.stanza,
            interval_ms: millis(spec.interval),
            seed: spec.seed,
            code: spec.code.map(i32::from),
            duration_ms: spec.duration.map(millis),
            bytes_per_second: spec.bytes_per_second.and_then(|rate| i32::try_from(rate).ok()),
            started_at: Some(timestamp(started_at)),
            ends_at: Some(timestamp(ends_at)),
            running,
            accounts: i32::try_from(accounts).unwrap_or(i32::MAX),
            counts: counts
                .into_iter()
                .map(|entry| proto::ScheduledCount {
                    kind: word(entry.kind).into(),
                    due: count(entry.due),
                    injected: count(entry.injected),
                })
                .collect(),
            injections: injections
                .into_iter()
                .map(|entry| proto::ScheduledInjection { kind: word(entry.kind).into(), injection: Some(entry.injection.into()) })
                .collect(),
        }
    }
}
