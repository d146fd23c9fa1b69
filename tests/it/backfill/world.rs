//! One process with a gateway and its sandbox, a large account in it, and a hand to kill it with.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use wacore::store::traits::{LidPnMappingEntry, ProtocolStore as _};
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::store::{Cipher, Db, Options};
use whatsapp_gateway::wa::device::DeviceStore;

use crate::gateway::{KEY, PATIENCE};
use crate::trust::issuer::{self, Signer, claims};

const SHOP: &str = "6281200000001";

/// How much there is.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// People that the device has cached.
    pub(super) contacts: usize,
    /// Groups that the account is in.
    pub(super) groups: usize,
    /// Members of each, the account among them.
    pub(super) members: usize,
}

pub(super) struct World {
    folder: TempDir,
    ports: [u16; 2],
    child: Option<Child>,
    http: reqwest::Client,
    signer: Signer,
    size: Size,
    started: Instant,
    /// The most memory of a process that was killed, in kB.
    peak: u64,
}

impl World {
    pub(super) async fn new(size: Size) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (folder, signer) = (tempfile::tempdir().unwrap(), Signer::ed25519("k1"));
        std::fs::write(folder.path().join("jwks.json"), issuer::key_set(&[&signer])).unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(300)).build().unwrap();
        let ports = [free(), free()];
        let mut world = Self { folder, ports, child: None, http, signer, size, started: Instant::now(), peak: 0 };
        world.start().await;
        world
    }

    pub(super) fn database(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("gateway.db").display())
    }

    async fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-gateway"))
            .args(["serve", "--sandbox"])
            .env_clear()
            .env("WAGW_LISTEN", format!("127.0.0.1:{}", self.ports[0]))
            .env("WAGW_SANDBOX_LISTEN", format!("127.0.0.1:{}", self.ports[1]))
            .env("WAGW_DATA_DIR", self.folder.path())
            .env("WAGW_DATABASE_URL", self.database())
            .env("WAGW_BOOTSTRAP_API_KEY", KEY)
            .env("WAGW_GATEWAY_ID", "gw-backfill")
            .env("WAGW_AUTH_JWKS_FILE", self.folder.path().join("jwks.json"))
            .env("WAGW_AUTH_ISSUER", issuer::ISSUER)
            .env("WAGW_AUTH_AUDIENCE", issuer::AUDIENCE)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let ready = async {
            while !matches!(self.try_call(None, "GET", "/readyz", None).await, Some((200, _))) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE * 4, ready).await.is_ok(), "it did not start: {}", self.log());
    }

    pub(super) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The most memory that the process had so far, in kB.
    pub(super) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// What imports have left on the disk.
    pub(super) fn imports(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("imports")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// SIGKILL, and up again.
    pub(super) async fn kill(&mut self) {
        self.end();
        self.start().await;
    }

    fn end(&mut self) {
        self.peak = self.peak.max(self.memory());
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    async fn try_call(&self, key: Option<&str>, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let mut call = self.http.request(method.parse().unwrap(), format!("http://127.0.0.1:{}{path}", self.ports[0]));
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.to_string());
        }
        let answer = call.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_call(Some(KEY), method, path, body).await.unwrap_or_else(|| panic!("{}", self.log()));
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// What is there, and whether.
    pub(super) async fn look_at(&self, path: &str) -> (u16, Value) {
        self.try_call(Some(KEY), "GET", path, None).await.unwrap_or_else(|| panic!("{}", self.log()))
    }

    /// A call of the platform's own.
    pub(super) async fn admin(&self, method: &str, path: &str) -> (u16, Value) {
        let token = self.platform(None);
        self.try_call(Some(&token), method, path, None).await.unwrap_or_else(|| panic!("{}", self.log()))
    }

    /// A login of the platform's own, of no organization or at work for the one that has the session.
    fn platform(&self, organization: Option<&str>) -> String {
        let mut all = claims(Ambient::system().now());
        all["role"] = json!("super_admin");
        (all["activeOrganizationId"], all["orgRole"]) = (json!(organization), json!(organization.map(|_| "owner")));
        self.signer.token(&all)
    }

    async fn until_working(&self, session: &str) {
        let wait = async {
            // A fresh device is connected before it is ready: until then its phone's history has what people write.
            loop {
                let me = self.call("GET", &format!("/api/v1/sessions/{session}/me"), None).await;
                if me["connected"] == true && me["status"] == "working" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE * 4, wait).await.is_ok(), "it did not connect: {}", self.log());
    }

    /// A paired session.
    pub(super) async fn paired(&mut self) -> String {
        self.call("POST", "/sandbox/v1/phones", Some(json!({"phoneNumber": SHOP, "pushName": "Shop"}))).await;
        let session =
            self.call("POST", "/api/v1/sessions", Some(json!({"start": true}))).await["id"].as_str().unwrap().to_owned();
        let qr = self.call("GET", &format!("/api/v1/sessions/{session}/qr?wait=30"), None).await;
        self.call("POST", &format!("/sandbox/v1/phones/{SHOP}:scan"), Some(json!({"code": qr["code"]}))).await;
        self.until_working(&session).await;
        session
    }

    /// Uploads a form to a path; as the platform's own or with the organization's key.
    pub(super) async fn upload(&self, as_platform: bool, path: &str, parts: &[(&str, &[u8])]) -> (u16, Value) {
        let (kind, body) = form(parts);
        let key = if as_platform { self.platform(Some("org_default")) } else { KEY.to_owned() };
        let call = self.http.post(format!("http://127.0.0.1:{}{path}", self.ports[0])).bearer_auth(key);
        let answer = call.header("content-type", kind).body(body).send().await.unwrap_or_else(|e| panic!("{e} {}", self.log()));
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Where it listens.
    pub(super) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// A paired session whose account is in many groups and whose device has many contacts cached.
    pub(super) async fn large_account(&mut self) -> String {
        let session = self.paired().await;
        let Size { contacts, groups, members } = self.size;
        let crowd = json!({"people": contacts, "groups": groups, "members": members});
        let crowd = self.call("POST", &format!("/sandbox/v1/phones/{SHOP}:populate"), Some(crowd)).await;
        // What the library caches of people it caches in the device's store: that is where the crowd is put while nobody looks.
        self.end();
        let db = Db::open(&self.database(), Options::default()).await.unwrap();
        let cipher = Cipher::new(Ambient::system(), None, Vec::new());
        let store = DeviceStore::new(db.clone(), SessionId::new(&session), &cipher);
        let entries: Vec<LidPnMappingEntry> = crowd["data"].as_array().unwrap().iter().map(mapping).collect();
        store.put_lid_mappings(&entries).await.unwrap();
        // Whom the library met while it paired is cached as well, and is no part of the crowd.
        let cached = usize::try_from(db.cached_contact_count(&SessionId::new(&session)).await.unwrap()).unwrap();
        assert!(cached >= contacts);
        self.size.contacts = cached;
        db.close().await;
        self.start().await;
        self.until_working(&session).await;
        self.started = Instant::now();
        session
    }

    /// What shall go wrong: WhatsApp wants fewer questions from time to time, and connections are dropped.
    pub(super) async fn arm(&self) {
        let fault = |fault: Value| async move { self.call("POST", "/sandbox/v1/faults", Some(fault)).await };
        fault(json!({"kind": "refuse_iq", "stanza": "iq/w:g2/query", "code": 429, "probability": 0.05, "seed": 7, "count": 20}))
            .await;
        fault(json!({"kind": "drop", "stanza": "iq/w:g2/query", "probability": 0.05, "seed": 8, "count": 3})).await;
    }

    async fn look(&self, session: &str) -> Value {
        self.admin("GET", &format!("/api/v1/admin/sessions/{session}/backfill")).await.1
    }

    pub(super) async fn until_groups(&self, session: &str, groups: usize) {
        let wait = async {
            while self.look(session).await["groups"].as_i64().unwrap_or(0) < i64::try_from(groups).unwrap() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE * 40, wait).await.is_ok(), "{} {}", self.look(session).await, self.log());
    }

    pub(super) async fn until_done(&self, session: &str) -> Value {
        let wait = async {
            loop {
                let now = self.look(session).await;
                if now["status"] != "running" {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE * 60, wait).await {
            Ok(done) => done,
            Err(_) => panic!("{} {}", self.look(session).await, self.log()),
        }
    }

    /// Nobody and nothing is there twice, and everybody is there.
    pub(super) async fn check_directory(&self, session: &str) {
        let base = format!("/api/v1/sessions/{session}");
        let (mut lids, mut cursor, mut rows) = (BTreeSet::new(), String::new(), 0);
        loop {
            let page = self.call("GET", &format!("{base}/contacts?limit=1000{cursor}"), None).await;
            for person in page["data"].as_array().unwrap() {
                rows += 1;
                lids.insert(person["lid"].as_str().unwrap().to_owned());
                assert!(person["phoneNumber"].is_string(), "{person}");
            }
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(lids.len(), rows, "nobody is there twice");
        assert!(rows >= self.size.contacts - 1, "{rows} of {}", self.size.contacts);
        let groups = self.call("GET", &format!("{base}/groups"), None).await;
        let groups = groups["data"].as_array().unwrap();
        assert_eq!(groups.len(), self.size.groups);
        for group in groups {
            assert_eq!(group["participantCount"], json!(self.size.members), "{group}");
        }
        let gid = groups[0]["groupJid"].as_str().unwrap();
        let members = self.call("GET", &format!("{base}/groups/{gid}/members"), None).await;
        let members = members["data"].as_array().unwrap();
        let people: BTreeSet<&str> = members.iter().map(|one| one["lid"].as_str().unwrap()).collect();
        assert_eq!((members.len(), people.len()), (self.size.members, self.size.members));
    }

    #[expect(clippy::print_stderr, reason = "the measurement is what the test is run for by hand")]
    pub(super) fn note(&self, done: &Value) {
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!(
            "backfill of {} contacts, {} groups of {}: {seconds:.1} s with one kill, {} questions, {:.1} a second, \
             peak memory {} MB before the kill and {} MB after it (sandbox included)",
            self.size.contacts,
            self.size.groups,
            self.size.members,
            done["queries"],
            done["queriesPerSecond"].as_f64().unwrap_or(0.0),
            self.peak / 1024,
            self.memory() / 1024
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A form's content type and body.
pub(crate) fn form(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let boundary = "a-boundary-that-is-nowhere-in-the-parts";
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let file = if *name == "file" { "; filename=\"msgstore.db.crypt15\"" } else { "" };
        body.extend(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn mapping(phone: &Value) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: phone["lid"].as_str().unwrap().trim_end_matches("@lid").to_owned(),
        phone_number: phone["phoneNumber"].as_str().unwrap().to_owned(),
        created_at: 1_760_000_000,
        updated_at: 1_760_000_000,
        learning_source: "usync".to_owned(),
    }
}
