//! Where values come from: flags before the environment, the environment before the file, the file before the defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::Problem;
use super::table::{Kind, OTHER_NAMES, SETTINGS, Setting};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(String),
    /// An environment variable.
    Env(String),
    /// A file that an environment variable names.
    EnvFile(String, PathBuf),
    /// The configuration file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::EnvFile(name, path) => write!(f, "{} (environment {name})", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as it was given, before it is understood.
#[derive(Clone)]
pub struct Given {
    /// The text; lists are joined by commas. May be a secret.
    pub text: String,
    /// Where it came from.
    pub source: Source,
}

/// What the command line gave: the settings' flags and the file to read.
#[derive(Clone, Default)]
pub struct Flags {
    values: BTreeMap<&'static str, String>,
    file: Option<PathBuf>,
}

impl Flags {
    /// Flags as if they had been given, for programs.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.values.insert(name, value.into());
        self
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config").long("config").value_name("FILE").help("the TOML file with settings [env: WAGW_CONFIG]");
        SETTINGS.iter().filter(|setting| setting.kind.has_flag()).fold(command.arg(file), |command, setting| {
            let default = match setting.default_words {
                "" => String::new(),
                words => format!("; default {words}"),
            };
            let arg = Arg::new(setting.name)
                .long(setting.flag())
                .help(format!("{}{default} [env: {}]", setting.help, setting.env()))
                .help_heading("Settings");
            command.arg(match setting.kind {
                Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL"),
                _ => arg.value_name(setting.name.to_uppercase()),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self { file: matches.get_one::<String>("config").map(PathBuf::from), ..Self::default() };
        for setting in SETTINGS.iter().filter(|setting| setting.kind.has_flag()) {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                flags.values.insert(setting.name, value.clone());
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Every setting's value with its source; also what was wrong on the way, and what deserves a warning.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) values: BTreeMap<&'static str, Given>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Collected {
    /// Takes the sources from the weakest to the strongest, so that the last word stays.
    pub(super) fn from(flags: &Flags, env: &BTreeMap<String, String>) -> Self {
        let mut all = Self::default();
        for setting in &SETTINGS {
            all.values.insert(setting.name, Given { text: setting.default.to_owned(), source: Source::Default });
        }
        if let Some((path, origin)) = flags
            .file
            .clone()
            .map(|path| (path, "flag --config"))
            .or_else(|| env.get("WAGW_CONFIG").map(|path| (PathBuf::from(path), "environment WAGW_CONFIG")))
        {
            all.take_file(&path, origin);
        }
        all.take_env(env);
        for (name, text) in &flags.values {
            let source = Source::Flag(name.replace('_', "-"));
            all.values.insert(name, Given { text: text.clone(), source });
        }
        all
    }

    fn take_file(&mut self, path: &Path, origin: &str) {
        let trouble = |message: String| Problem { setting: "config".into(), source: origin.into(), message };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(trouble(format!("cannot read {}: {error}; name a file that exists", path.display())));
                return;
            }
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                self.problems.push(trouble(format!("{} is not TOML: {}", path.display(), error.to_string().trim())));
                return;
            }
        };
        for (key, value) in table {
            let problem = |message: String| Problem { setting: key.clone(), source: path.display().to_string(), message };
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
                let hint = did_you_mean(&key, SETTINGS.iter().map(|setting| setting.name.to_owned()));
                self.problems.push(problem(format!("no such setting{hint}; remove the line")));
                continue;
            };
            match text_of(setting, &value) {
                Some(text) => {
                    self.values.insert(setting.name, Given { text, source: Source::File(path.to_owned()) });
                }
                None => self.problems.push(problem(format!("a {} does not fit here; write {}", value.type_str(), form(setting)))),
            }
        }
    }

    fn take_env(&mut self, env: &BTreeMap<String, String>) {
        let mut known: Vec<String> = OTHER_NAMES.map(str::to_owned).to_vec();
        for setting in &SETTINGS {
            let name = setting.env();
            if let Some(text) = env.get(&name) {
                self.values.insert(setting.name, Given { text: text.clone(), source: Source::Env(name.clone()) });
            }
            if setting.kind.from_file() {
                let file_name = format!("{name}_FILE");
                if let Some(path) = env.get(&file_name) {
                    self.take_secret_file(setting, env.contains_key(&name), &file_name, path);
                }
                known.push(file_name);
            }
            known.push(name);
        }
        for name in env.keys().filter(|name| name.starts_with("WAGW_") && !known.contains(name)) {
            let hint = did_you_mean(name, known.iter().cloned());
            self.warnings.push(format!("environment {name} is not a setting and has no effect{hint}"));
        }
    }

    fn take_secret_file(&mut self, setting: &Setting, given_directly: bool, name: &str, path: &str) {
        let problem = |message: String| Problem { setting: setting.name.into(), source: format!("environment {name}"), message };
        if given_directly {
            self.problems.push(problem(format!("{} is set too; keep one of the two", setting.env())));
            return;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let source = Source::EnvFile(name.to_owned(), path.into());
                self.values.insert(setting.name, Given { text: text.trim().to_owned(), source });
            }
            Err(error) => self.problems.push(problem(format!("cannot read {path}: {error}"))),
        }
    }
}

/// The text that a value of the file stands for, if its type fits.
fn text_of(setting: &Setting, value: &toml::Value) -> Option<String> {
    let list = matches!(setting.kind, Kind::List | Kind::SecretList);
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) if setting.kind == Kind::Plain => Some(number.to_string()),
        toml::Value::Boolean(yes) if setting.kind == Kind::Switch => Some(yes.to_string()),
        toml::Value::Array(items) if list => {
            items.iter().map(|item| item.as_str()).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn form(setting: &Setting) -> &'static str {
    match setting.kind {
        Kind::Switch => "true or false",
        Kind::List | Kind::SecretList => "an array of texts",
        Kind::Plain | Kind::Secret | Kind::Url => "a text or, where it counts something, a number",
    }
}

/// `, did you mean …?` when one of `known` is close to `name`.
fn did_you_mean(name: &str, known: impl Iterator<Item = String>) -> String {
    // One slip in three letters is close; anything further is another word.
    let slips = (name.trim_start_matches("WAGW_").len() / 3).min(3);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= slips)
        .map_or_else(String::new, |(_, candidate)| format!(", did you mean {candidate}?"))
}
