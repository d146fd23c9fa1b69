//! Configuration: flags, environment and one TOML file become one checked value before a port opens.

mod parse;
mod source;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{SecretBox, SecretString};

use self::parse::Reader;
use self::source::Collected;
pub use self::source::{Flags, Given, Source};
use self::table::{Kind, SETTINGS};
use crate::domain::ids::GatewayId;
use crate::domain::login::{KeySource, LoginIssuer};
use crate::domain::network::Own;

/// 32 secret bytes.
pub type Key = SecretBox<[u8; 32]>;

/// Which WhatsApp the sessions connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The real one.
    WhatsApp,
    /// The simulator inside this program.
    Sandbox {
        /// Where the simulator's websocket listens.
        listen: SocketAddr,
        /// Who is there from the start.
        world: Option<PathBuf>,
        /// Where its dice begin.
        seed: u64,
    },
    /// A simulator elsewhere.
    ExternalSandbox {
        /// The address of its websocket.
        url: String,
        /// Its static public key; no other server is trusted.
        key: [u8; 32],
    },
}

/// Files.
#[derive(Debug)]
pub struct Media {
    /// `s3://…` or `file://…`; absent, a folder in `data_dir`.
    pub url: Option<String>,
    /// Id and secret of the access key for `s3://`.
    pub credentials: Option<(SecretString, SecretString)>,
    /// How long they are kept.
    pub retention: Duration,
    /// Bytes of one.
    pub max_bytes: u64,
    /// Bytes of all of an organization.
    pub total_bytes: u64,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAt {
    /// Nowhere; nothing is counted.
    Off,
    /// On the port of everything else.
    Listen,
    /// On a port of their own.
    Own(SocketAddr),
}

/// The checked configuration of a gateway. [`SETTINGS`] says what each setting means.
#[derive(Debug)]
pub struct Config {
    /// Where gRPC, gRPC-Web and REST are served.
    pub listen: SocketAddr,
    /// Where people reach the gateway by a browser, without a slash at the end; absent, it is `http://` and where it listens.
    pub public_url: Option<String>,
    /// Directory for what the gateway keeps in files. Might not exist yet.
    pub data_dir: PathBuf,
    /// `sqlite://…` or `postgres://…`. May carry a password.
    pub database_url: SecretString,
    /// Connections to the database at most.
    pub database_pool: u32,
    /// The gateway's name.
    pub gateway_id: GatewayId,
    /// `host:port` under which other gateways reach this one.
    pub advertise_address: String,
    /// Encrypts device keys in the database.
    pub encryption_key: Option<Key>,
    /// Former keys that may still be needed to read.
    pub old_encryption_keys: Vec<Key>,
    /// The first api-key.
    pub bootstrap_api_key: Option<SecretString>,
    /// The number of the platform's own session, in digits.
    pub admin_phone: Option<String>,
    /// Whose login tokens are taken; without it only api-keys are.
    pub login: Option<LoginIssuer>,
    /// Origins whose browser pages may call; `*` stands for all.
    pub cors_origins: Vec<String>,
    /// Whether the API's description and its page are served.
    pub docs: bool,
    /// Whether backfills may be started.
    pub backfill: bool,
    /// Client connections at a time.
    pub max_connections: usize,
    /// How many of them one address may have.
    pub max_connections_per_address: usize,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// Networks of the proxies whose word about the client's address counts.
    pub trusted_proxies: Vec<Own>,
    /// Which WhatsApp the sessions connect to.
    pub network: Network,
    /// The version to tell WhatsApp, instead of the built-in one.
    pub whatsapp_version: Option<(u32, u32, u32)>,
    /// Networks and hosts of one's own that webhooks may reach.
    pub egress_allow: Vec<Own>,
    /// Where files' bytes lie and how many there may be.
    pub media: Media,
    /// How long events are kept.
    pub event_retention: Duration,
    /// How many events of one organization are kept at most.
    pub event_retention_rows: u32,
    /// Where the metrics are served.
    pub metrics: MetricsAt,
    /// How long running work has to end after the first signal.
    pub shutdown_grace: Duration,
    /// What to log.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name.
    pub setting: String,
    /// Where its value came from.
    pub source: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.setting, self.source, self.message)
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not valid:{}", lines(.problems))]
pub struct Invalid {
    /// What is wrong, at least one thing.
    pub problems: Vec<Problem>,
    /// What is only odd.
    pub warnings: Vec<String>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// A setting as it holds, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting's name.
    pub name: &'static str,
    /// Its value, with secrets masked; empty when nothing is set.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// A valid configuration with what can be told about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every setting as it holds.
    pub effective: Vec<Effective>,
    /// What deserves a warning, one sentence each.
    pub warnings: Vec<String>,
}

/// The environment of this process, without what is not text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// Reads and checks the configuration. Nothing is opened but the files that hold it. Fails with everything that is wrong, not only
/// the first thing.
pub fn load(flags: &Flags, env: &BTreeMap<String, String>) -> Result<Loaded, Invalid> {
    let Collected { mut values, problems, mut warnings } = Collected::from(flags, env);
    fill_computed(&mut values);
    let mut reader = Reader::new(&values);
    reader.problems = problems;
    let config = read(&mut reader);
    let problems = reader.problems;
    match config {
        Some(config) if problems.is_empty() => {
            warnings.extend(oddities(&config));
            Ok(Loaded { effective: effective(&values), config, warnings })
        }
        _ => Err(Invalid { problems, warnings }),
    }
}

/// Gives their defaults to the settings whose default depends on others or on the machine.
fn fill_computed(values: &mut BTreeMap<&'static str, Given>) {
    let text =
        |values: &BTreeMap<&'static str, Given>, name| values.get(name).map_or_else(String::new, |given| given.text.clone());
    let database = format!("sqlite://{}/gateway.db", text(values, "data_dir").trim_end_matches('/'));
    let host = hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    // A wrong `listen` is told once, not here again.
    let listen = Some(text(values, "listen")).filter(|listen| parse::address(listen).is_ok()).unwrap_or_default();
    for (name, default) in [("database_url", database), ("gateway_id", host), ("advertise_address", listen)] {
        if let Some(given) = values.get_mut(name).filter(|given| given.source == Source::Default) {
            given.text = default;
        }
    }
}

fn read(from: &mut Reader<'_>) -> Option<Config> {
    let data_dir = PathBuf::from(from.text("data_dir"));
    if data_dir.as_os_str().is_empty() || data_dir.is_file() {
        from.problem("data_dir", "this is no directory; name one that exists or can be made");
    }
    // Each setting is read, and each problem noted, before the first missing value ends it.
    let listen = from.read("listen", parse::address);
    let public_url = from.optional("public_url", parse::public_url);
    let database_url = from.read("database_url", parse::database_url);
    let database_pool = from.read("database_pool", parse::number(2, 1000));
    let gateway_id = from.read("gateway_id", parse::gateway_id);
    let advertise_address = from.optional("advertise_address", parse::host_and_port);
    let encryption_key = from.optional("encryption_key", parse::secret_key);
    let old_encryption_keys = from.list("old_encryption_keys", parse::secret_key);
    if encryption_key.is_none() && !old_encryption_keys.is_empty() {
        from.problem("old_encryption_keys", "old keys need a present one; set encryption_key too");
    }
    let bootstrap_api_key = from.optional("bootstrap_api_key", parse::api_key);
    let admin_phone = from.optional("admin_phone", parse::phone);
    let login = login(from);
    let cors_origins = from.list("cors_origins", parse::origin);
    let docs = from.read("docs", parse::switch);
    let backfill = from.read("backfill", parse::switch);
    let max_connections = from.read("max_connections", parse::number(1, 1_000_000));
    let max_connections_per_address = from.read("max_connections_per_address", parse::number(1, 1_000_000));
    let head_timeout = from.read("head_timeout", parse::head_timeout);
    let trusted_proxies = from.list("trusted_proxies", parse::proxies);
    let network = network(from);
    let whatsapp_version = from.optional("whatsapp_version", parse::version);
    let egress_allow = from.list("egress_allow", parse::own_network);
    let media = media(from);
    let event_retention = from.read("event_retention", parse::days);
    let event_retention_rows = from.read("event_retention_rows", parse::number(100, 4_000_000_000));
    let metrics = from.read("metrics", parse::metrics);
    let shutdown_grace = from.read("shutdown_grace", parse::seconds);
    let log = from.read("log", parse::log_filter);
    let log_format = from.read("log_format", parse::log_format);
    let listen = listen?;
    Some(Config {
        listen,
        public_url,
        data_dir,
        database_url: database_url?,
        database_pool: database_pool?,
        gateway_id: GatewayId::new(gateway_id?),
        advertise_address: advertise_address.unwrap_or_else(|| listen.to_string()),
        encryption_key,
        old_encryption_keys,
        bootstrap_api_key,
        admin_phone,
        login,
        cors_origins,
        docs: docs?,
        backfill: backfill?,
        max_connections: usize::try_from(max_connections?).ok()?,
        max_connections_per_address: usize::try_from(max_connections_per_address?).ok()?,
        head_timeout: head_timeout?,
        trusted_proxies,
        network: network?,
        whatsapp_version,
        egress_allow,
        media: media?,
        event_retention: event_retention?,
        event_retention_rows: event_retention_rows?,
        metrics: metrics?,
        shutdown_grace: shutdown_grace?,
        log: log?,
        log_format: log_format?,
    })
}

/// A source of keys without an issuer and an audience would take tokens that were made for somebody else.
fn login(from: &mut Reader<'_>) -> Option<LoginIssuer> {
    let url = from.optional("auth_jwks_url", parse::jwks_url);
    let file = from.text("auth_jwks_file");
    let given = !from.text("auth_jwks_url").is_empty() || !file.is_empty();
    if !file.is_empty() && !from.text("auth_jwks_url").is_empty() {
        from.problem("auth_jwks_file", "the keys come from one place; drop auth_jwks_file or auth_jwks_url");
    }
    for name in ["auth_issuer", "auth_audience"] {
        match (given, from.text(name).is_empty()) {
            (true, true) => from.problem(name, "login tokens need it; set it to what the tokens carry"),
            (false, false) => from.problem(name, "without keys it has no effect; set auth_jwks_url or auth_jwks_file too"),
            _ => {}
        }
    }
    let keys = match url {
        Some(url) => KeySource::Url(url),
        None if !file.is_empty() => KeySource::File(PathBuf::from(file)),
        None => return None,
    };
    Some(LoginIssuer { keys, issuer: from.text("auth_issuer").to_owned(), audience: from.text("auth_audience").to_owned() })
}

/// Half a credential opens nothing.
fn media(from: &mut Reader<'_>) -> Option<Media> {
    let url = from.optional("media_url", parse::media_url);
    let access_key = from.optional("media_access_key", parse::secret);
    let secret_key = from.optional("media_secret_key", parse::secret);
    let is_s3 = url.as_ref().is_some_and(|url| url.starts_with("s3://"));
    for (name, given, other) in [
        ("media_access_key", access_key.is_some(), secret_key.is_some()),
        ("media_secret_key", secret_key.is_some(), access_key.is_some()),
    ] {
        if given && !is_s3 {
            from.problem(name, "it has no effect without a bucket; set media_url to s3://… or drop it");
        } else if other && !given {
            from.problem(name, "id and secret of the access key go together; set both media_access_key and media_secret_key");
        }
    }
    let retention = from.read("media_retention", parse::days);
    let max_bytes = from.read("media_max_bytes", parse::bytes(2 << 30));
    let total_bytes = from.read("media_total_bytes", parse::bytes(1 << 50));
    let (retention, max_bytes, total_bytes) = (retention?, max_bytes?, total_bytes?);
    if max_bytes > total_bytes {
        from.problem("media_max_bytes", "one file cannot have more than all together; lower it or raise media_total_bytes");
    }
    Some(Media { url, credentials: access_key.zip(secret_key), retention, max_bytes, total_bytes })
}

fn network(from: &mut Reader<'_>) -> Option<Network> {
    let built_in = from.read("sandbox", parse::switch)?;
    let listen = from.read("sandbox_listen", parse::address)?;
    let world = Some(from.text("sandbox_world")).filter(|path| !path.is_empty()).map(PathBuf::from);
    let seed = from.read("sandbox_seed", parse::seed)?;
    let url = from.optional("sandbox_url", parse::websocket_url);
    let key = from.optional("sandbox_key", parse::key_bytes);
    match (from.text("sandbox_url").is_empty(), from.text("sandbox_key").is_empty()) {
        (true, true) if built_in => return Some(Network::Sandbox { listen, world, seed }),
        (true, true) => {
            if world.is_some() {
                from.problem("sandbox_world", "there is no built-in simulator to put it in; set sandbox too");
            }
            return Some(Network::WhatsApp);
        }
        (true, false) => from.problem("sandbox_key", "a key without an address; set sandbox_url too"),
        (false, true) => {
            from.problem("sandbox_url", "an address without the key to trust; set sandbox_key to what the sandbox printed");
        }
        (false, false) if built_in => {
            from.problem("sandbox", "the built-in simulator and one elsewhere exclude each other; drop sandbox or sandbox_url");
        }
        (false, false) => {}
    }
    Some(Network::ExternalSandbox { url: url?, key: key? })
}

/// What is allowed and deserves a word.
fn oddities(config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    if !config.listen.ip().is_loopback() {
        all.push(format!(
            "listen {} is open to other machines in plain HTTP: api-keys travel unencrypted unless a proxy adds TLS",
            config.listen
        ));
    }
    if config.metrics == MetricsAt::Listen && !config.listen.ip().is_loopback() {
        all.push(
            "metrics is `listen`: whoever reaches the gateway can read them; an address of their own keeps them apart".into(),
        );
    }
    if config.encryption_key.is_none() && config.network == Network::WhatsApp {
        all.push("encryption_key is not set: device keys are stored unencrypted".into());
    }
    if config.cors_origins.iter().any(|origin| origin == "*") {
        all.push("cors_origins is `*`: pages of any site may call with a key that they have".into());
    }
    all
}

fn effective(values: &BTreeMap<&'static str, Given>) -> Vec<Effective> {
    let shown = |setting: &table::Setting| {
        let given = values.get(setting.name)?;
        let value = match setting.kind {
            _ if given.text.is_empty() => String::new(),
            Kind::Secret | Kind::SecretList => "********".to_owned(),
            Kind::Url => without_password(&given.text),
            Kind::Plain | Kind::Switch | Kind::List => given.text.clone(),
        };
        Some(Effective { name: setting.name, value, source: given.source.clone() })
    };
    SETTINGS.iter().filter_map(shown).collect()
}

/// An address whose user info and query, where passwords stand, are masked.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "********".to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?********"));
    // A password may contain `@`; the host cannot.
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:********@{host}{query}")
        }
        None => format!("{scheme}://{rest}{query}"),
    }
}
