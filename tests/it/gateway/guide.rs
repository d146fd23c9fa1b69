//! The users' guide keeps its word: its script runs against this build.

use std::net::TcpListener;
use std::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_of_the_guide_works() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut script = Command::new("bash");
    script
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/ci.sh"))
        .env("GATEWAY", env!("CARGO_BIN_EXE_whatsapp-gateway"))
        .env("PORT", free())
        .env("WHATSAPP_PORT", free());
    let done = tokio::task::spawn_blocking(move || script.output()).await.unwrap().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.ends_with("all is well\n"), "{said}\n{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_command_tells_that_everything_came_through() {
    for by in ["devices", "phones"] {
        let mut load = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"));
        load.args(["sandbox", "load", "--phones", "6", "--rate", "20", "--seconds", "2", "--json", "--by", by]);
        let done = tokio::task::spawn_blocking(move || load.output()).await.unwrap().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
        assert!(done.status.success(), "{by}: {report}");
        let count = |name: &str| report[name].as_u64().unwrap();
        assert!(count("sent") >= 20, "{by}: {report}");
        for what in ["arrived", "delivered", "read"] {
            assert_eq!(count(what), count("sent"), "{by}, {what}: {report}");
        }
        assert_eq!((count("refused"), count("repeated"), count("lostConnections")), (0, 0, 0), "{by}");
    }
}
