//! The one table of settings. Flags, environment names, keys of the file, `config check` and the README's table all come from it.

/// What a setting's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One text or number.
    Plain,
    /// Yes or no.
    Switch,
    /// Texts separated by commas; an array in the file.
    List,
    /// Never shown, has no flag (other users of the machine see flags), and may stand in a file that `…_FILE` names.
    Secret,
    /// Several secrets separated by commas.
    SecretList,
    /// An address that may carry a password: shown without it, and may stand in a file that `…_FILE` names.
    Url,
}

impl Kind {
    /// Whether `WAGW_…_FILE` may name a file that holds the value.
    pub fn from_file(self) -> bool {
        matches!(self, Self::Secret | Self::SecretList | Self::Url)
    }

    /// Whether it can be given as a flag.
    pub fn has_flag(self) -> bool {
        !matches!(self, Self::Secret | Self::SecretList)
    }
}

/// One thing that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key in the file. The flag and the environment name follow from it.
    pub name: &'static str,
    /// What its text is.
    pub kind: Kind,
    /// What holds when nobody sets it; empty when nothing does.
    pub default: &'static str,
    /// How the README and `--help` describe the default when it is not a fixed text.
    pub default_words: &'static str,
    /// What it is for: one sentence for people, with units and limits.
    pub help: &'static str,
}

impl Setting {
    /// Its environment name, such as `WAGW_DATABASE_URL`.
    pub fn env(&self) -> String {
        format!("WAGW_{}", self.name.to_uppercase())
    }

    /// Its flag without the dashes, such as `database-url`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

const fn setting(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default, default_words: default, help }
}

const fn computed(name: &'static str, kind: Kind, default_words: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default: "", default_words, help }
}

/// Every setting, in the order in which people meet them.
pub const SETTINGS: [Setting; 42] = [
    setting("listen", Kind::Plain, "127.0.0.1:8080", "address and port that serve gRPC, gRPC-Web and REST, in plain HTTP"),
    computed(
        "public_url",
        Kind::Plain,
        "`http://` and where it listens",
        "where people reach this gateway by a browser, such as `https://wa.example.org`; pairing links begin with it",
    ),
    setting("data_dir", Kind::Plain, "data", "directory for what the gateway keeps in files"),
    computed(
        "database_url",
        Kind::Url,
        "sqlite://data/gateway.db",
        "`sqlite://PATH` (the default lies in `data_dir`) or `postgres://USER@HOST/NAME`",
    ),
    setting("database_pool", Kind::Plain, "10", "connections to the database at most, 2 to 1000"),
    computed("gateway_id", Kind::Plain, "host name", "the gateway's name, unique and stable among those that share a database"),
    computed("advertise_address", Kind::Plain, "`listen`", "`host:port` under which other gateways reach this one"),
    setting(
        "encryption_key",
        Kind::Secret,
        "",
        "encrypts device keys in the database: 32 bytes as base64 or hex, such as from `openssl rand -base64 32`",
    ),
    setting("old_encryption_keys", Kind::SecretList, "", "former keys, separated by commas, that may still be needed to read"),
    setting(
        "bootstrap_api_key",
        Kind::Secret,
        "",
        "the first api-key: `wa_` and at least 24 letters or digits; without it one is made at the first start",
    ),
    setting(
        "admin_phone",
        Kind::Plain,
        "",
        "number of the platform's own WhatsApp: its session is set up at the start, and the code to link it is printed",
    ),
    setting(
        "auth_jwks_url",
        Kind::Plain,
        "",
        "address of the JSON Web Key Set that people's login tokens are signed with: `https`, or `http` on this machine",
    ),
    setting("auth_jwks_file", Kind::Plain, "", "the same as a file, which is read again when it changes"),
    setting("auth_issuer", Kind::Plain, "", "the `iss` that login tokens must have; needed with login tokens"),
    setting("auth_audience", Kind::Plain, "", "the `aud` that login tokens must have; needed with login tokens"),
    setting("cors_origins", Kind::List, "", "origins whose browser pages may call, separated by commas; `*` means all"),
    setting(
        "docs",
        Kind::Switch,
        "true",
        "serve the API's page at `/docs`, and its description at `/api/v1/openapi.json` and `.yaml`",
    ),
    setting("max_connections", Kind::Plain, "10000", "client connections at a time, 1 to 1000000"),
    setting(
        "max_connections_per_address",
        Kind::Plain,
        "1000",
        "how many of them one network address may have, 1 to 1000000; trusted proxies have no such limit",
    ),
    setting(
        "head_timeout",
        Kind::Plain,
        "30",
        "seconds that a client may take to send a request's head, and may wait between requests, 1 to 3600",
    ),
    setting(
        "trusted_proxies",
        Kind::List,
        "",
        "networks (`10.0.0.0/8`) of the proxies in front, whose `Forwarded` or `X-Forwarded-For` tells the client's address",
    ),
    setting("sandbox", Kind::Switch, "false", "connect sessions to a built-in WhatsApp simulator instead of WhatsApp"),
    setting("sandbox_listen", Kind::Plain, "127.0.0.1:8088", "address and port of the built-in simulator"),
    setting("sandbox_world", Kind::Plain, "", "a world file: the phones, groups and chats of a fresh built-in simulator"),
    setting("sandbox_seed", Kind::Plain, "0", "where the built-in simulator's dice begin when it draws a world's pasts"),
    setting("sandbox_url", Kind::Plain, "", "a simulator elsewhere, such as `ws://127.0.0.1:8088/ws/chat`; needs `sandbox_key`"),
    setting("sandbox_key", Kind::Plain, "", "that simulator's public key, as `whatsapp-gateway sandbox` prints it"),
    setting(
        "whatsapp_version",
        Kind::Plain,
        "",
        "version to tell WhatsApp, such as `2.3000.1023868176`, instead of the built-in one",
    ),
    setting(
        "egress_allow",
        Kind::List,
        "",
        "networks (`10.0.0.0/8`) and host names of your own that webhooks may reach although they are not public",
    ),
    computed(
        "media_url",
        Kind::Url,
        "`media` in `data_dir`",
        "where files' bytes lie: `file:///FOLDER`, or `s3://BUCKET/PREFIX?region=…&endpoint=…`, which gateways on one database must share",
    ),
    setting("media_access_key", Kind::Secret, "", "the access key's id for `s3://`; without it the machine's own role is used"),
    setting("media_secret_key", Kind::Secret, "", "the access key's secret"),
    setting("media_retention", Kind::Plain, "30", "days that files are kept, 1 to 3650"),
    setting("media_max_bytes", Kind::Plain, "104857600", "bytes that a file may have, up to WhatsApp's own 2147483648"),
    setting("media_total_bytes", Kind::Plain, "10737418240", "bytes that all files of one organization may have together"),
    setting("event_retention", Kind::Plain, "30", "days that events are kept, 1 to 3650"),
    setting(
        "event_retention_rows",
        Kind::Plain,
        "10000000",
        "events of one organization that are kept at most, 100 to 4000000000; the oldest go first",
    ),
    setting(
        "metrics",
        Kind::Plain,
        "off",
        "where `/metrics` is served for Prometheus, without a credential: `off`, `listen` (where everything is), or an address and port of its own",
    ),
    setting(
        "backfill",
        Kind::Switch,
        "true",
        "whether the platform's role may pull a session's contacts and groups; `false` answers 501 `not_implemented`",
    ),
    setting("shutdown_grace", Kind::Plain, "20", "seconds that running work has to end after the first signal, 0 to 3600"),
    setting("log", Kind::Plain, "info", "what to log: a level, or directives such as `warn,whatsapp_gateway=debug`"),
    setting("log_format", Kind::Plain, "text", "`text` or `json`, on the standard error output"),
];

/// Environment names that are no settings: where the file is, and what the client commands read.
pub const OTHER_NAMES: [&str; 4] = ["WAGW_CONFIG", "WAGW_SERVER", "WAGW_API_KEY", "WAGW_API_KEY_FILE"];

/// The README's table.
pub fn markdown() -> String {
    let mut text = String::from("| setting | environment | default | meaning |\n|---|---|---|---|\n");
    for setting in &SETTINGS {
        let file = if setting.kind.from_file() { "(`_FILE`)" } else { "" };
        let default = match setting.default_words {
            "" => "–".to_owned(),
            words if words == setting.default || words.contains("://") => format!("`{words}`"),
            words => words.to_owned(),
        };
        text.push_str(&format!("| `{}` | `{}`{file} | {default} | {} |\n", setting.name, setting.env(), setting.help));
    }
    text
}
