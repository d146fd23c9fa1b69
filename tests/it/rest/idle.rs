//! Ten thousand connections of clients that say nothing: what they cost a gateway, and that they go.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::hostile::end;
use crate::support::process::Process;

/// Bytes of memory that one of them may cost.
const EACH: u64 = 32 << 10;

/// Ten thousand, or as many as this process, and the gateway that inherits its limits, may open beside what the other tests use.
fn crowd() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let allowed: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(u64::MAX);
    allowed.saturating_sub(1500).clamp(200, 10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_cost_little_and_go() {
    let gateway = Process::start(&[
        ("WAGW_MAX_CONNECTIONS", "20000"),
        ("WAGW_MAX_CONNECTIONS_PER_ADDRESS", "20000"),
        ("WAGW_HEAD_TIMEOUT", "15"),
    ])
    .await;
    let sessions = async || gateway.call("GET", "/api/v1/sessions", None).await;
    sessions().await;
    let (count, before) = (crowd(), gateway.memory("VmRSS"));
    let mut idle = Vec::new();
    for n in 0..count {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        // Half of them say something and then nothing.
        if n % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        }
        idle.push(stream);
        if n % 1000 == 999 {
            sessions().await;
        }
    }
    sessions().await;
    let each = gateway.memory("VmRSS").saturating_sub(before) / count;
    assert!(each < EACH, "{each} bytes for each of {count} idle connections");
    for stream in idle {
        end(stream).await;
    }
    sessions().await;
}
