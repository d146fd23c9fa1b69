//! Three doors to one service: the same values, the same rules about who may come in, the same request id.

use prost::Message as _;
use reqwest::Method;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;
use whatsapp_gateway::proto::gateway::event_service_client::EventServiceClient;
use whatsapp_gateway::proto::gateway::session_service_client::SessionServiceClient;
use whatsapp_gateway::proto::gateway::{CreateSessionRequest, GetSessionRequest, ListSessionsRequest, Session, SubscribeRequest};

use super::{Server, answer, grpc, refused};

const GET: &str = "/whatsapp.gateway.v1.SessionService/GetSession";

/// One frame of gRPC: no compression, length, message.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

fn web(server: &Server, path: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
    server.call(Method::POST, path).header("content-type", "application/grpc-web+proto").body(body)
}

#[tokio::test]
async fn all_doors_give_the_same_values() {
    let server = Server::start().await;
    let mut client = SessionServiceClient::new(server.channel().await);
    let asked = GetSessionRequest { session: "a".into() };
    let by_grpc = client.get_session(grpc(asked.clone())).await.unwrap().into_inner();

    let response = web(&server, GET, frame(&asked.encode_to_vec())).send().await.unwrap();
    let bytes = response.bytes().await.unwrap();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    let by_web = Session::decode(&bytes[5..5 + length]).unwrap();
    assert_eq!(by_web, by_grpc);
    let trailers = &bytes[5 + length..];
    assert!(trailers[0] == 0x80 && String::from_utf8_lossy(trailers).contains("grpc-status:0"), "{trailers:?}");

    let by_rest = answer(server.get("/api/v1/sessions/a")).await.1;
    let created = by_grpc.created_at.unwrap();
    assert_eq!((&by_rest["id"], &by_rest["status"]), (&json!(by_grpc.id), &json!("scan_qr_code")));
    assert_eq!(by_rest["createdAt"], created.seconds * 1000 + i64::from(created.nanos) / 1_000_000);
}

#[tokio::test]
async fn every_door_validates_and_tells_who_asked() {
    let server = Server::start().await;
    let label = Some("x".repeat(10_000));
    let mut client = SessionServiceClient::new(server.channel().await);
    let mut request = grpc(CreateSessionRequest { label: label.clone(), ..Default::default() });
    request.metadata_mut().insert("x-request-id", "job-1".parse().unwrap());
    let status = client.create_session(request).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!((status.code(), details.request_info().unwrap().request_id.as_str()), (Code::InvalidArgument, "job-1"));
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "label");
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("validation_error", "whatsapp-gateway"));

    let body = frame(&CreateSessionRequest { label, ..Default::default() }.encode_to_vec());
    let response = web(&server, "/whatsapp.gateway.v1.SessionService/CreateSession", body).send().await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "3");

    let failed = server.get("/api/v1/sessions/missing").header("x-request-id", "job-2").send().await.unwrap();
    assert_eq!(failed.headers()["x-request-id"], "job-2");
    assert_eq!(failed.json::<serde_json::Value>().await.unwrap()["error"]["details"]["requestId"], "job-2");
    let made = server.get("/api/v1/sessions").header("x-request-id", "not sane").send().await.unwrap();
    assert_eq!(made.headers()["x-request-id"].len(), 26);
}

#[tokio::test]
async fn only_those_who_may_come_in() {
    let server = Server::start().await;
    let url = server.url("/api/v1/sessions");
    for request in [
        server.http.get(&url),
        server.http.get(&url).bearer_auth("stranger"),
        server.http.get(&url).header("authorization", "Basic eDp5"),
        server.http.get(&url).header("x-api-key", ""),
        // The credential comes before the body.
        server.http.post(&url).body("{"),
    ] {
        let error = refused(request, 401, "unauthorized").await;
        assert!(error["message"].as_str().unwrap().contains("Authorization: Bearer"), "{error}");
    }
    let error = refused(server.http.get(&url).header("x-api-key", "reader"), 403, "forbidden").await;
    assert_eq!(error["details"]["capability"], "manage");
    let error = refused(server.http.get(&url).bearer_auth("down"), 503, "gateway_unavailable").await;
    assert!(!error.to_string().contains("secret"));
    let me = server.http.get(server.url("/api/v1/sessions/a/me")).header("x-api-key", "reader");
    assert_eq!(answer(me).await.0, 200);

    let mut client = SessionServiceClient::new(server.channel().await);
    let status = client.list_sessions(ListSessionsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut request = tonic::Request::new(ListSessionsRequest {});
    request.metadata_mut().insert("x-api-key", "reader".parse().unwrap());
    assert_eq!(client.list_sessions(request).await.unwrap_err().code(), Code::PermissionDenied);
    let streamed = EventServiceClient::new(server.channel().await).subscribe(SubscribeRequest::default()).await;
    assert_eq!(streamed.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn health_is_public_and_reflection_is_not() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};

    let server = Server::start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        futures_util::stream::iter([ServerReflectionRequest { host: String::new(), message_request }])
    };
    let refused = reflection.server_reflection_info(ask()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut answers = reflection.server_reflection_info(grpc(ask())).await.unwrap().into_inner();
    assert!(format!("{:?}", answers.message().await.unwrap()).contains("SessionService"));

    assert_eq!(answer(server.http.get(server.url("/healthz"))).await, (200, json!({"status": "alive"})));
    let ready = answer(server.http.get(server.url("/readyz"))).await;
    assert_eq!(ready, (503, json!({"status": "not_ready", "reasons": ["database: gone"]})));
}

#[tokio::test]
async fn broken_grpc_gets_a_clear_answer() {
    let server = Server::start().await;
    let message = frame(&GetSessionRequest { session: "a".into() }.encode_to_vec());
    // A frame that promises more than it holds, one that is no protobuf, one above the limit.
    for body in [message[..message.len() - 1].to_vec(), frame(&[0x0a, 0x7f]), frame(&vec![0; (4 << 20) + 1])] {
        let response = web(&server, GET, body).send().await.unwrap();
        let status = response.headers().get("grpc-status").map(|v| v.to_str().unwrap().to_owned());
        assert!(status.as_deref().is_some_and(|s| s != "0"), "{status:?}");
    }
    let unknown = web(&server, "/whatsapp.gateway.v1.SessionService/Nothing", message).send().await.unwrap();
    assert_eq!(unknown.headers()["grpc-status"], "12");
    let mut client = SessionServiceClient::new(server.channel().await);
    let panicked = client.get_session(grpc(GetSessionRequest { session: "panic".into() })).await.unwrap_err();
    assert_eq!((panicked.code(), panicked.message()), (Code::Internal, "internal error"));
    // The connection has outlived the panic.
    client.get_session(grpc(GetSessionRequest { session: "a".into() })).await.unwrap();
}
