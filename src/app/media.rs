//! The room of files, opened.

use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Config;
use crate::domain::clock::Ambient;
use crate::egress::Guard;
use crate::event::EventLog;
use crate::media::fetch::Fetcher;
use crate::media::link::Signer;
use crate::media::shelf::Credentials;
use crate::media::{Bounds, Files, Shelf};
use crate::service::media::Rooms;
use crate::store::{Cipher, Db};

/// Opens the shelf that the settings name. Temporary files lie in `data_dir/spool`, where nothing outlives a start.
pub(super) async fn open(
    config: &Config,
    db: &Db,
    log: &EventLog,
    cipher: &Cipher,
    guard: Guard,
    ambient: &Ambient,
) -> anyhow::Result<Rooms> {
    let settings = &config.media;
    let shelf = match &settings.url {
        None => Shelf::folder(&config.data_dir.join("media")).context("the folder of files in data_dir")?,
        Some(url) => {
            let credentials = settings.credentials.clone();
            let credentials = credentials.map(|(access_key, secret_key)| Credentials { access_key, secret_key });
            Shelf::open(url, credentials).context("media_url")?
        }
    };
    let folder = config.data_dir.join("spool");
    super::make_private_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let bounds = Bounds { retention: settings.retention, file: settings.max_bytes, organization: settings.total_bytes };
    let files = Files::new(db.clone(), shelf, guard, ambient.clone(), bounds, folder);
    let signer = Arc::new(Signer::open(db, cipher, ambient.random()).await?);
    let fetcher = Fetcher::new(files.clone(), crate::service::media::teller(log.clone()));
    Ok(Rooms { files, fetcher, signer })
}
