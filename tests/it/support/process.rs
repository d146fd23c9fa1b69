//! A gateway that is a process of its own, for what has to be measured or killed apart from everything else that runs here.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::gateway::{KEY, PATIENCE};

/// A running gateway on SQLite; it is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Process {
    /// Starts it with these settings beside the usual ones, and waits until it is ready.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .arg("serve")
            .env_clear()
            .env("WAGW_LISTEN", &address)
            .env("WAGW_DATA_DIR", folder.path())
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .env("WAGW_GATEWAY_ID", "gw-process")
            .env("WAGW_LOG", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let base = format!("http://{address}");
        let it = Self { child, address, base, http: reqwest::Client::new(), _folder: folder };
        let ready = async {
            while !it.http.get(format!("{}/readyz", it.base)).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the gateway starts");
        it
    }

    /// A call that must succeed; its answer.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let call = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base)).bearer_auth(KEY);
        let call = if let Some(body) = body { call.json(&body) } else { call };
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// What `path` shows once it fits.
    pub(crate) async fn until(&self, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let shown = self.call("GET", path, None).await;
                if fits(&shown) {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 4, wait).await.unwrap_or_else(|_| panic!("{path} never shows {what}"))
    }

    /// Bytes of memory that Linux tells under `name`: `VmRSS` for what it holds now, `VmHWM` for the most it ever had.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
