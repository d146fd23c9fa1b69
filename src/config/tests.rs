//! What is read, from where, and what is refused.

use secrecy::ExposeSecret;

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn problems(flags: &Flags, pairs: &[(&str, &str)]) -> Vec<String> {
    load(flags, &env(pairs)).expect_err("must be refused").problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_valid_and_documented() {
    let loaded = load(&Flags::default(), &env(&[])).unwrap();
    let config = loaded.config;
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database_url.expose_secret(), "sqlite://data/gateway.db");
    assert_eq!(config.advertise_address, "127.0.0.1:8080");
    assert_eq!(config.network, Network::WhatsApp);
    assert_eq!(config.event_retention, Duration::from_secs(30 * 86_400));
    assert!(!config.gateway_id.as_str().is_empty());
    assert!(loaded.effective.iter().all(|setting| setting.source == Source::Default));
}

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(
        &file,
        "listen = '127.0.0.1:1'\ndata_dir = 'from-file'\ndatabase_pool = 3\ncors_origins = ['https://a.example']\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let flags = Flags::default().with("listen", "127.0.0.1:3");
    let vars = env(&[("WAGW_CONFIG", file), ("WAGW_LISTEN", "127.0.0.1:2"), ("WAGW_DATA_DIR", "from-env")]);
    let loaded = load(&flags, &vars).unwrap();
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.data_dir, PathBuf::from("from-env"));
    assert_eq!(loaded.config.database_url.expose_secret(), "sqlite://from-env/gateway.db");
    assert_eq!(loaded.config.database_pool, 3);
    assert_eq!(loaded.config.cors_origins, ["https://a.example"]);
    let source = |name| loaded.effective.iter().find(|setting| setting.name == name).unwrap().source.to_string();
    assert_eq!(source("listen"), "flag --listen");
    assert_eq!(source("data_dir"), "environment WAGW_DATA_DIR");
    assert_eq!(source("database_pool"), file);
    assert_eq!(source("log"), "default");
}

#[test]
fn everything_wrong_is_named_at_once() {
    let all = problems(
        &Flags::default().with("listen", "8080"),
        &[
            ("WAGW_DATABASE_URL", "mysql://x"),
            ("WAGW_SHUTDOWN_GRACE", "-1"),
            ("WAGW_GATEWAY_ID", "a b"),
            ("WAGW_LOG_FORMAT", "xml"),
        ],
    );
    assert!(all[0].starts_with("listen (flag --listen): `8080` is no address"), "{all:?}");
    assert_eq!(all.len(), 5, "what follows from another setting is not told twice: {all:?}");
    for part in ["database_url (environment WAGW_DATABASE_URL)", "gateway_id", "shutdown_grace", "log_format"] {
        assert!(all.iter().any(|problem| problem.starts_with(part)), "{part} in {all:?}");
    }
}

#[test]
fn unknown_names_warn_and_unknown_keys_are_errors() {
    let loaded =
        load(&Flags::default(), &env(&[("WAGW_LISTN", "x"), ("WAGW_SERVER", "http://x"), ("OTHER", "x"), ("WAGW_FOO", "x")]))
            .unwrap();
    let odd: Vec<_> = loaded.warnings.iter().filter(|warning| warning.contains("not a setting")).collect();
    assert_eq!(odd[0], "environment WAGW_FOO is not a setting and has no effect");
    assert_eq!(odd[1], "environment WAGW_LISTN is not a setting and has no effect, did you mean WAGW_LISTEN?");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "data_dri = 'x'\nsandbox = 'maybe'\ndatabase_pool = true\n").unwrap();
    let all = problems(&Flags::default(), &[("WAGW_CONFIG", file.to_str().unwrap())]);
    assert!(all.iter().any(|problem| problem.contains("did you mean data_dir?")), "{all:?}");
    assert!(all.iter().any(|problem| problem.contains("neither true nor false")), "{all:?}");
    assert!(all.iter().any(|problem| problem.contains("a boolean does not fit here")), "{all:?}");
    let all = problems(&Flags::default(), &[("WAGW_CONFIG", "/does/not/exist.toml")]);
    assert!(all[0].starts_with("config (environment WAGW_CONFIG): cannot read /does/not/exist.toml"), "{all:?}");
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let secret = "wa_0123456789abcdefghijklmnop";
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let path = file.to_str().unwrap();
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let url = "postgres://user:p@ss@db.example/name?password=more";
    let vars = env(&[("WAGW_BOOTSTRAP_API_KEY_FILE", path), ("WAGW_ENCRYPTION_KEY", hex), ("WAGW_DATABASE_URL", url)]);
    let loaded = load(&Flags::default(), &vars).unwrap();
    assert_eq!(loaded.config.bootstrap_api_key.as_ref().unwrap().expose_secret(), secret);
    assert_eq!(loaded.config.encryption_key.as_ref().unwrap().expose_secret()[31], 31);
    let told = format!("{loaded:?}");
    for hidden in [secret, hex, "p@ss", "more"] {
        assert!(!told.contains(hidden), "{told}");
    }
    assert!(told.contains("postgres://user:********@db.example/name?********"), "{told}");

    let all = problems(&Flags::default(), &[("WAGW_BOOTSTRAP_API_KEY_FILE", path), ("WAGW_BOOTSTRAP_API_KEY", secret)]);
    assert!(all[0].contains("keep one of the two"), "{all:?}");
    for bad in ["wa_short", "no-prefix-but-long-enough-to-pass"] {
        let all = problems(&Flags::default(), &[("WAGW_BOOTSTRAP_API_KEY", bad)]);
        assert!(all[0].contains("no api-key") && !all[0].contains(bad), "{all:?}");
    }
    let zeros = "0".repeat(64);
    for bad in ["c2hvcnQ=", &zeros, "ü".repeat(32).as_str()] {
        assert!(problems(&Flags::default(), &[("WAGW_ENCRYPTION_KEY", bad)])[0].contains("openssl rand"));
    }
}

#[test]
fn a_sandbox_elsewhere_needs_both_halves_and_no_other_sandbox() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let url = ("WAGW_SANDBOX_URL", "ws://127.0.0.1:9/ws/chat");
    let loaded = load(&Flags::default(), &env(&[url, ("WAGW_SANDBOX_KEY", key)])).unwrap();
    assert!(matches!(loaded.config.network, Network::ExternalSandbox { key, .. } if key[1] == 1));
    assert!(problems(&Flags::default(), &[url])[0].contains("sandbox_key"));
    assert!(problems(&Flags::default(), &[("WAGW_SANDBOX_KEY", key)])[0].contains("sandbox_url"));
    let both = problems(&Flags::default().with("sandbox", "true"), &[url, ("WAGW_SANDBOX_KEY", key)]);
    assert!(both[0].contains("exclude each other"), "{both:?}");
    let inside = load(&Flags::default().with("sandbox", "true"), &env(&[])).unwrap();
    assert!(matches!(inside.config.network, Network::Sandbox { listen, seed: 0, .. } if listen.port() == 8088));
}

#[test]
fn an_open_port_is_allowed_with_a_warning() {
    let loaded = load(&Flags::default(), &env(&[("WAGW_LISTEN", "0.0.0.0:80")])).unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.contains("plain HTTP")), "{:?}", loaded.warnings);
}

#[test]
fn flags_are_the_settings_but_never_secrets() {
    let command = <Flags as clap::Args>::augment_args(clap::Command::new("test"));
    let flags: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect();
    for setting in &SETTINGS {
        assert_eq!(flags.contains(&setting.flag()), setting.kind.has_flag(), "{}", setting.name);
    }
    let matches = command.try_get_matches_from(["test", "--sandbox", "--database-pool", "7"]).unwrap();
    let flags = <Flags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
    let config = load(&flags, &env(&[])).unwrap().config;
    assert_eq!(config.database_pool, 7);
    assert!(matches!(config.network, Network::Sandbox { .. }));
}

#[test]
fn the_readme_has_the_table() {
    let readme = include_str!("../../README.md");
    let table = table::markdown();
    assert!(readme.contains(&table), "README.md shall have this table of settings:\n{table}");
}

#[test]
fn login_tokens_need_one_source_of_keys_an_issuer_and_an_audience() {
    let (url, iss, aud) = ("WAGW_AUTH_JWKS_URL", ("WAGW_AUTH_ISSUER", "https://login.example"), ("WAGW_AUTH_AUDIENCE", "wagw"));
    let login = |pairs: &[(&str, &str)]| load(&Flags::default(), &env(pairs)).unwrap().config.login;
    assert_eq!(login(&[]), None);
    for good in ["https://login.example/jwks", "http://127.0.0.1:9/jwks", "http://[::1]:9/jwks", "http://localhost/jwks"] {
        let found = login(&[(url, good), iss, aud]).unwrap();
        assert_eq!(found.keys, KeySource::Url(good.to_owned()));
        assert_eq!((found.issuer.as_str(), found.audience.as_str()), ("https://login.example", "wagw"));
    }
    let file = ("WAGW_AUTH_JWKS_FILE", "/etc/jwks.json");
    assert_eq!(login(&[file, iss, aud]).unwrap().keys, KeySource::File("/etc/jwks.json".into()));
    for bad in
        ["http://login.example/jwks", "ftp://x/y", "nonsense", "https://user:secret@login.example/jwks", "http://127.0.0.1.evil/"]
    {
        let all = problems(&Flags::default(), &[(url, bad), iss, aud]);
        assert!(all.len() == 1 && all[0].starts_with("auth_jwks_url"), "{bad}: {all:?}");
    }
    let good = (url, "https://login.example/jwks");
    assert!(problems(&Flags::default(), &[good, iss])[0].starts_with("auth_audience"));
    assert!(problems(&Flags::default(), &[good, aud])[0].starts_with("auth_issuer"));
    assert!(problems(&Flags::default(), &[iss])[0].starts_with("auth_issuer"));
    assert!(problems(&Flags::default(), &[good, file, iss, aud])[0].starts_with("auth_jwks_file"));
}
