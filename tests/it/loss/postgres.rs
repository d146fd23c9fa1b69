//! A PostgreSQL that this test may crash and start again.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::gateway::PATIENCE;
use crate::support::postgres::{find_programs, make_cluster, prefix, unprivileged};

/// The server, its folder, and the process that ends it when this test ends, however it ends.
pub(crate) struct Server {
    programs: PathBuf,
    folder: TempDir,
    user: Option<&'static str>,
    port: u16,
    wrapper: Option<Child>,
    fsync: &'static str,
}

impl Server {
    /// For crashes of the program: a commit is in the log file before it is told, whatever the disk does.
    pub(super) async fn new() -> Self {
        Self::with("fsync=off").await
    }

    /// As in earnest: a commit is on the disk before it is told.
    pub(crate) async fn durable() -> Self {
        Self::with("fsync=on").await
    }

    async fn with(fsync: &'static str) -> Self {
        let programs = find_programs().expect("PostgreSQL is installed");
        let folder = tempfile::Builder::new().prefix("wagw-loss-").tempdir().unwrap();
        let user = unprivileged(folder.path());
        make_cluster(&programs, folder.path(), user);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { programs, folder, user, port, wrapper: None, fsync };
        server.start().await;
        let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe("CREATE DATABASE loss")).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        server
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    async fn start(&mut self) {
        // Ends the server without a goodbye when its standard input ends: a crash of the database, and the end of this test.
        let script = r#"trap '' INT TERM HUP
            "$@" & server=$!
            cat > /dev/null
            kill -QUIT $server; wait $server"#;
        let mut words = prefix(self.user);
        words.push(self.programs.join("postgres").display().to_string());
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let settings = [self.fsync, "synchronous_commit=on", "max_connections=100", "unix_socket_directories="];
        let wrapper = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(words)
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-p", &self.port.to_string()])
            .args(settings.iter().flat_map(|setting| ["-c", *setting]))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.wrapper = Some(wrapper);
        let answers = async {
            while PgConnection::connect(&self.url("postgres")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.expect("PostgreSQL starts");
    }

    /// The server dies in the middle of what it does, and is started again.
    pub(super) async fn crash(&mut self) {
        self.stop();
        self.start().await;
    }

    fn stop(&mut self) {
        if let Some(mut wrapper) = self.wrapper.take() {
            drop(wrapper.stdin.take());
            wrapper.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
