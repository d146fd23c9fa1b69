//! Files' facts. Their bytes lie elsewhere, see the room `media`.

use crate::domain::clock::Time;
use crate::domain::ids::{MediaId, OrganizationId, SessionId};
use crate::domain::media::{Media, MediaKind, MediaState};
use crate::error::{Error, Result};
use crate::store::{Db, Row, args};

macro_rules! columns {
    () => {
        "id, organization_id, session_id, message_id, kind, mimetype, filename, size, sha256, state, reason, created_at, expires_at"
    };
}

fn read(row: &Row) -> Result<Media> {
    let sha256: Option<String> = row.get(8)?;
    Ok(Media {
        id: MediaId::new(row.get::<String>(0)?),
        organization: row.get(1)?,
        session: row.get(2)?,
        message: row.get(3)?,
        kind: row.word(4, MediaKind::from_word)?,
        mimetype: row.get(5)?,
        filename: row.get(6)?,
        size: u64::try_from(row.get::<i64>(7)?).unwrap_or_default(),
        sha256: sha256.as_deref().map(unhex).transpose()?,
        state: row.word(9, MediaState::from_word)?,
        reason: row.get(10)?,
        created_at: row.get(11)?,
        expires_at: row.get(12)?,
    })
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |text, byte| format!("{text}{byte:02x}"))
}

fn unhex(text: &str) -> Result<[u8; 32]> {
    let digits = (0..32).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok());
    let bytes: Option<Vec<u8>> = digits.collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Error::internal(anyhow::anyhow!("a file's hash has a wrong form")))
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Db {
    /// Stores a new file's facts. False when the session's message has a file already.
    pub async fn insert_media(&self, media: &Media) -> Result<bool> {
        let sql = concat!(
            "INSERT INTO media (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING"
        );
        let sha256 = media.sha256.as_ref().map(hex);
        let args = args![
            media.id.as_str(),
            &media.organization,
            &media.session,
            &media.message,
            media.kind.word(),
            &media.mimetype,
            &media.filename,
            signed(media.size),
            &sha256,
            media.state.word(),
            &media.reason,
            media.created_at,
            media.expires_at,
        ];
        Ok(self.execute(sql, args).await? > 0)
    }

    /// Stores what was learned of a file. False when it was deleted meanwhile.
    pub async fn update_media(&self, media: &Media) -> Result<bool> {
        let sql = "UPDATE media SET kind = $2, mimetype = $3, filename = $4, size = $5, sha256 = $6, state = $7, reason = $8,
                          expires_at = $9
                   WHERE id = $1";
        let sha256 = media.sha256.as_ref().map(hex);
        let args = args![
            media.id.as_str(),
            media.kind.word(),
            &media.mimetype,
            &media.filename,
            signed(media.size),
            &sha256,
            media.state.word(),
            &media.reason,
            media.expires_at,
        ];
        Ok(self.execute(sql, args).await? > 0)
    }

    /// One file of a session of the organization.
    pub async fn media(&self, organization: &OrganizationId, session: &SessionId, id: &MediaId) -> Result<Option<Media>> {
        let sql = concat!("SELECT ", columns!(), " FROM media WHERE id = $1 AND organization_id = $2 AND session_id = $3");
        self.row(sql, args![id.as_str(), organization, session]).await?.as_ref().map(read).transpose()
    }

    /// A file by its id alone: for whoever shows a signed address.
    pub async fn media_by_id(&self, id: &MediaId) -> Result<Option<Media>> {
        let sql = concat!("SELECT ", columns!(), " FROM media WHERE id = $1");
        self.row(sql, args![id.as_str()]).await?.as_ref().map(read).transpose()
    }

    /// The file of a message.
    pub async fn media_of_message(&self, session: &SessionId, message: &str) -> Result<Option<Media>> {
        let sql = concat!("SELECT ", columns!(), " FROM media WHERE session_id = $1 AND message_id = $2");
        self.row(sql, args![session, message]).await?.as_ref().map(read).transpose()
    }

    /// Bytes of all files of the organization, those included that are on their way.
    pub async fn media_space(&self, organization: &OrganizationId) -> Result<u64> {
        let sql = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM media
                   WHERE organization_id = $1 AND state IN ('pending', 'ready')";
        let sum: i64 = self.row(sql, args![organization]).await?.map_or(Ok(0), |row| row.get(0))?;
        Ok(u64::try_from(sum).unwrap_or_default())
    }

    /// Files that are to go: whose time is over, whose session is gone, and uploads that broke off before `broken`. At most `limit`.
    pub async fn media_to_sweep(&self, now: Time, broken: Time, limit: i64) -> Result<Vec<Media>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM media WHERE expires_at <= $1 OR (state = 'pending' AND message_id IS NULL AND created_at <= $2)
                OR NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = media.session_id)
              ORDER BY id LIMIT $3"
        );
        self.rows(sql, args![now, broken, limit]).await?.iter().map(read).collect()
    }

    /// Forgets a file. False when it was not known.
    pub async fn delete_media(&self, id: &MediaId) -> Result<bool> {
        Ok(self.execute("DELETE FROM media WHERE id = $1", args![id.as_str()]).await? > 0)
    }

    /// The sealed key of signed addresses: the first one that was ever offered. All gateways on a database have the same.
    pub async fn media_link_key(&self, offered: &[u8]) -> Result<Vec<u8>> {
        self.execute("INSERT INTO media_link_keys (id, sealed) VALUES (1, $1) ON CONFLICT DO NOTHING", args![offered]).await?;
        let row = self.row("SELECT sealed FROM media_link_keys WHERE id = 1", args![]).await?;
        row.ok_or_else(|| Error::internal(anyhow::anyhow!("the key of signed addresses is missing")))?.get(0)
    }
}
