//! A PostgreSQL of the test process's own: made on first use, gone when the process is.
//!
//! `WAGW_TEST_POSTGRES_URL` names a running server instead; its user must be allowed to create databases, which are left behind there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;

/// The server that this process uses.
struct Server {
    /// The address of its `postgres` database.
    url: String,
    /// Holds the wrapper's standard input open: the server lives as long as this process.
    _wrapper: Option<Child>,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The address of a fresh, empty database.
pub(crate) async fn fresh_url() -> String {
    let server = SERVER.get_or_init(start).await;
    let random = u64::from_ne_bytes(whatsapp_gateway::domain::clock::Ambient::system().random());
    let name = format!("wagw_test_{}_{}_{random:x}", process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url).await.expect("the PostgreSQL server of the tests answers");
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.expect("a database can be created");
    admin.close().await.expect("the connection closes");
    with_database(&server.url, &name)
}

/// The same address with another database's name.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let from = address.find("://").map_or(0, |at| at + 3);
    let end = address[from..].find('/').map_or(address.len(), |at| from + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &address[..end])
}

async fn start() -> Server {
    if let Ok(url) = env::var("WAGW_TEST_POSTGRES_URL") {
        return Server { url, _wrapper: None };
    }
    let programs = find_programs().unwrap_or_else(|| {
        panic!(
            "PostgreSQL is not found on PATH or in /usr/lib/postgresql/*/bin: install it (on Debian: apt-get install postgresql), \
             or name a running server in WAGW_TEST_POSTGRES_URL"
        )
    });
    let folder = tempfile::Builder::new().prefix("wagw-postgres-").tempdir().expect("a temporary folder can be made").keep();
    let user = unprivileged(&folder);
    make_cluster(&programs, &folder, user);
    // The port is free when it is chosen; should another program take it before PostgreSQL does, the next try chooses another.
    for _ in 0..5 {
        if let Some(server) = try_start(&programs, &folder, user).await {
            return server;
        }
    }
    panic!("PostgreSQL does not start:\n{}", log(&folder));
}

/// PostgreSQL refuses to run as root; then it runs as the user `postgres`, who gets the folder.
pub(crate) fn unprivileged(folder: &Path) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata(folder).expect("the folder is there").uid() != 0 {
        return None;
    }
    let user = "postgres";
    let status = Command::new("chown").arg(user).arg(folder).status().expect("chown runs");
    assert!(status.success(), "the tests run as root, and there is no user `{user}` for PostgreSQL to run as");
    Some(user)
}

/// A command that runs `program` as `user`, if one is given. `setpriv` replaces itself, so the process id stays the program's.
pub(crate) fn prefix(user: Option<&str>) -> Vec<String> {
    user.map(|user| vec!["setpriv".into(), format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()])
        .unwrap_or_default()
}

pub(crate) fn make_cluster(programs: &Path, folder: &Path, user: Option<&str>) {
    let run = |locale: &[&str]| {
        let mut words = prefix(user);
        words.push(programs.join("initdb").display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--pgdata").arg(folder.join("data")).args(locale);
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]);
        command.current_dir("/").stdin(Stdio::null()).output().expect("initdb runs")
    };
    // A collation that is not by bytes, as servers have; not every build of PostgreSQL has one.
    let output = run(&["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]);
    if !output.status.success() {
        let output = run(&["--locale=C"]);
        assert!(output.status.success(), "initdb fails: {}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn try_start(programs: &Path, folder: &Path, user: Option<&str>) -> Option<Server> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    // Reads its standard input until the test process is gone, however it went, then ends the server and removes the folder.
    let script = r#"folder=$1; shift
        trap '' INT TERM HUP
        "$@" & server=$!
        cat > /dev/null
        kill -QUIT $server; wait $server
        rm -rf "$folder""#;
    let mut words = prefix(user);
    words.push(programs.join("postgres").display().to_string());
    let settings = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=300", "shared_buffers=32MB"];
    let out = File::options().create(true).append(true).open(log_path(folder)).expect("the log can be written");
    let mut wrapper = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(folder)
        .args(words)
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p"])
        .arg(port.to_string())
        .args(settings.iter().flat_map(|setting| ["-c", *setting]))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(out.try_clone().expect("the log can be shared"))
        .stderr(out)
        .spawn()
        .expect("sh runs");
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let Ok(connection) = PgConnection::connect(&url).await {
            connection.close().await.expect("the connection closes");
            return Some(Server { url, _wrapper: Some(wrapper) });
        }
        if log(folder).contains("could not create any TCP/IP sockets") {
            fs::write(log_path(folder), "").expect("the log can be emptied");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wrapper.kill().expect("the wrapper can be ended");
    wrapper.wait().expect("the wrapper ends");
    None
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn log(folder: &Path) -> String {
    fs::read_to_string(log_path(folder)).unwrap_or_default()
}

/// The folder with `initdb` and `postgres`: on PATH, or where Debian puts them, the newest version first.
pub(crate) fn find_programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    env::split_paths(&path)
        .chain(versions.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}
