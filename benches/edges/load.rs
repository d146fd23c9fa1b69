//! Requests through one of the doors, and what they cost the server.

use std::time::{Duration, Instant};

use reqwest::Client;
use tonic::Request;
use tonic::transport::Channel;
use whatsapp_gateway::proto::gateway::session_service_client::SessionServiceClient;
use whatsapp_gateway::proto::gateway::{GetSessionRequest, ListSessionsRequest};

use crate::{SESSIONS, WORKERS};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The hand-written handler.
    Hand,
    Rest,
    Grpc,
    GrpcWeb,
}

impl Door {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hand => "hand-written",
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
            Self::GrpcWeb => "gRPC-Web",
        }
    }
}

/// What to call.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) door: Door,
    pub(crate) base: String,
    /// The session to get; none for the list.
    pub(crate) session: Option<String>,
    pub(crate) key: String,
}

/// What a request costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Microseconds of the server's user and system time.
    pub(crate) cpu: f64,
    /// Microseconds from the request to the whole answer.
    pub(crate) mean: f64,
    pub(crate) p99: f64,
    /// Requests in a second.
    pub(crate) rate: f64,
}

/// One connection of a worker.
enum Line {
    Http(Client),
    Grpc(SessionServiceClient<Channel>),
}

/// Calls `target` for `time` and counts what the process `server` spent on it.
pub(crate) async fn measure(target: &Target, server: u32, time: Duration) -> Measured {
    let mut lines = Vec::new();
    for _ in 0..WORKERS {
        let mut line = match target.door {
            Door::Grpc => {
                let channel = Channel::from_shared(target.base.clone()).unwrap().tcp_nodelay(true).connect().await.unwrap();
                Line::Grpc(SessionServiceClient::new(channel))
            }
            _ => Line::Http(Client::builder().http1_only().tcp_nodelay(true).pool_max_idle_per_host(1).build().unwrap()),
        };
        // Connections and caches are warm before anything counts.
        for _ in 0..20 {
            call(&mut line, target).await;
        }
        lines.push(line);
    }
    let (began, spent) = (Instant::now(), cpu_micros(server));
    let workers = lines.into_iter().map(|mut line| {
        let target = target.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while began.elapsed() < time {
                let sent = Instant::now();
                call(&mut line, &target).await;
                latencies.push(sent.elapsed().as_secs_f64() * 1e6);
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        latencies.extend(worker.await.unwrap());
    }
    let (took, spent) = (began.elapsed().as_secs_f64(), cpu_micros(server) - spent);
    latencies.sort_by(f64::total_cmp);
    let count = latencies.len();
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
    let n = count as f64;
    Measured { cpu: spent / n, mean: latencies.iter().sum::<f64>() / n, p99: latencies[count * 99 / 100], rate: n / took }
}

/// One request, whose answer must be whole and right.
async fn call(line: &mut Line, target: &Target) {
    match line {
        Line::Grpc(client) => {
            let key = format!("Bearer {}", target.key).parse().unwrap();
            if let Some(session) = &target.session {
                let mut request = Request::new(GetSessionRequest { session: session.clone() });
                request.metadata_mut().insert("authorization", key);
                assert_eq!(&client.get_session(request).await.unwrap().into_inner().id, session);
            } else {
                let mut request = Request::new(ListSessionsRequest {});
                request.metadata_mut().insert("authorization", key);
                assert_eq!(client.list_sessions(request).await.unwrap().into_inner().data.len(), SESSIONS);
            }
        }
        Line::Http(http) if target.door == Door::GrpcWeb => {
            let method = if target.session.is_some() { "GetSession" } else { "ListSessions" };
            let message =
                prost::Message::encode_to_vec(&GetSessionRequest { session: target.session.clone().unwrap_or_default() });
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&message);
            let call = http.post(format!("{}/whatsapp.gateway.v1.SessionService/{method}", target.base)).body(frame);
            let call = call.header("content-type", "application/grpc-web+proto").bearer_auth(&target.key);
            let body = call.send().await.unwrap().bytes().await.unwrap();
            assert!(body.len() > 100 && body.windows(13).any(|w| w == b"grpc-status:0"), "{body:?}");
        }
        Line::Http(http) => {
            let path = target.session.as_ref().map(|id| format!("/{id}")).unwrap_or_default();
            let call = http.get(format!("{}/api/v1/sessions{path}", target.base)).bearer_auth(&target.key);
            let answer = call.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            let body = answer.bytes().await.unwrap();
            assert!(body.len() > if target.session.is_some() { 300 } else { 300 * SESSIONS }, "{body:?}");
        }
    }
}

/// What a process has used so far: user and system time of all its threads, in microseconds, as the kernel counts them (10 ms a tick).
fn cpu_micros(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}
