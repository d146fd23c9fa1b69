//! What deriving REST from the contract costs: CPU time per request and latency of a hand-written axum and serde handler, our REST,
//! our gRPC and our gRPC-Web, in one run on the same data. `cargo bench --bench edges`; `WAGW_BENCH_SECONDS` (default 2) is how long
//! each of the three rounds of a row takes.
//!
//! The server is a process of its own, so that its user and system time are what is counted. Rows of the *edge alone* answer from
//! memory and take any credential; rows *with auth and SQL* look the api-key up and read the sessions in SQLite, through the same use
//! cases for the hand-written handler and for ours. Nothing is logged.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark says what is wrong by failing, and its table is its purpose"
)]

mod credentials;
mod hand;
mod load;
mod server;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::{Door, Measured, Target};
use crate::server::Addresses;

/// Requests under way at a time.
pub(crate) const WORKERS: usize = 8;
/// Sessions in the list.
pub(crate) const SESSIONS: usize = 50;

const ROUNDS: usize = 3;
const SERVER: &str = "WAGW_BENCH_SERVER";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::var_os(SERVER).is_some() {
        runtime.block_on(server::run());
        return;
    }
    // Cargo asks benches for lists, and tests run them without wanting numbers.
    if std::env::args().any(|a| a == "--list" || a == "--test") {
        return;
    }
    let seconds: f64 = std::env::var("WAGW_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program)
        .env(SERVER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addresses: Addresses = serde_json::from_str(&line).unwrap();
    println!("from a credential to whose it is:");
    for (name, micros) in &addresses.credentials {
        println!("{name:16} {micros:8.1} µs");
    }
    runtime.block_on(compare(&addresses, child.id(), Duration::from_secs_f64(seconds)));
    // The server ends when its input does.
    drop(child.stdin.take());
    child.wait().unwrap();
}

async fn compare(addresses: &Addresses, server: u32, time: Duration) {
    println!("{SESSIONS} sessions, {WORKERS} requests at a time, median of {ROUNDS} rounds of {} s a row", time.as_secs_f64());
    for (title, hand, ours, aims) in [
        ("the edge alone", &addresses.hand, &addresses.edge, [1.5, 1.3]),
        ("with auth and SQL", &addresses.hand_sql, &addresses.edge_sql, [2.0, 2.0]),
    ] {
        for (what, one, aim) in [("list", None, aims[0]), ("get", Some(addresses.session.clone()), aims[1])] {
            println!(
                "\n{title}: {what}\n{:12} {:>10} {:>8} {:>10} {:>10} {:>9}",
                "", "CPU µs", "ratio", "mean µs", "p99 µs", "req/s"
            );
            let doors = [Door::Hand, Door::Rest, Door::Grpc, Door::GrpcWeb];
            let target = |door| Target {
                door,
                base: if door == Door::Hand { hand.clone() } else { ours.clone() },
                session: one.clone(),
                key: addresses.key.clone(),
            };
            let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); doors.len()];
            for _ in 0..ROUNDS {
                for (at, door) in doors.into_iter().enumerate() {
                    rounds[at].push(load::measure(&target(door), server, time).await);
                }
            }
            let middle = |mut all: Vec<Measured>| {
                all.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
                all[all.len() / 2]
            };
            let rows: Vec<Measured> = rounds.into_iter().map(middle).collect();
            for (door, row) in doors.iter().zip(&rows) {
                let ratio = row.cpu / rows[0].cpu;
                let verdict = match door {
                    Door::Rest if ratio <= aim => format!("  aim {aim}: met"),
                    Door::Rest => format!("  aim {aim}: MISSED"),
                    _ => String::new(),
                };
                let Measured { cpu, mean, p99, rate } = row;
                println!("{:12} {cpu:10.1} {ratio:8.2} {mean:10.0} {p99:10.0} {rate:9.0}{verdict}", door.name());
            }
        }
    }
}
