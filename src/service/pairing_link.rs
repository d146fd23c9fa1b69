//! Pairing links: a URL with which somebody without an account attaches a number to one session, and can do nothing else.
//!
//! A link lives until the session is paired, a caller revokes it, or its time is over, whichever comes first. Until then it can be
//! opened again, on another device too: people begin on a desktop and go on with a phone.

use std::time::Duration;

use super::Service;
use super::pairing::Watch;
use crate::domain::api_key;
use crate::domain::event::Code as Shown;
use crate::domain::ids::{PairingLinkId, SessionId};
use crate::domain::pairing_link::{self, LinkStatus, PairingLink};
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Status;
use crate::error::{Code, Error, Result};

/// How many links of one session may live at a time.
const MOST: i64 = 20;

/// For how long a link is listed after its end.
const LISTED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A new link with its URL, which is shown once.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// The link.
    pub link: PairingLink,
    /// Where it leads.
    pub url: String,
}

/// A living link that somebody has opened: all that its token allows.
#[derive(Clone)]
pub struct Opened {
    service: Service,
    caller: Principal,
    link: PairingLink,
}

impl Service {
    /// Makes a link for an unpaired session.
    pub async fn create_pairing_link(&self, caller: &Principal, id: &SessionId, life: Duration) -> Result<NewLink> {
        caller.require(Capability::Manage)?;
        let row = self.get_session(caller, id).await?;
        super::pairing::refuse_paired(&row)?;
        let now = self.0.ambient.now();
        let token = pairing_link::generate(&self.0.ambient);
        let link = PairingLink {
            id: PairingLinkId::new(self.0.ambient.ulid()),
            organization: row.organization,
            session: row.id,
            hash: api_key::hash(&token),
            created_at: now,
            expires_at: now.plus(life),
            revoked_at: None,
            paired_at: None,
        };
        let mut tx = self.0.db.begin().await?;
        // The row's lock makes the count exact.
        tx.lock_session(&caller.organization, id).await?.ok_or_else(|| Error::not_found("session"))?;
        tx.forget_pairing_links(id, now.minus(LISTED)).await?;
        if tx.count_active_pairing_links(id, now).await? >= MOST {
            let message = format!("the session has {MOST} living links; revoke one first");
            return Err(Error::new(Code::Conflict, message).reason("too_many_links"));
        }
        tx.insert_pairing_link(&link).await?;
        tx.commit().await?;
        Ok(NewLink { link, url: format!("{}/pair/{token}", self.0.public_url) })
    }

    /// The links of a session, newest first; ended ones for a week.
    pub async fn list_pairing_links(&self, caller: &Principal, id: &SessionId) -> Result<Vec<PairingLink>> {
        caller.require(Capability::Manage)?;
        self.get_session(caller, id).await?;
        self.0.db.list_pairing_links(&caller.organization, id).await
    }

    /// Where a link stands now.
    pub fn pairing_link_status(&self, link: &PairingLink) -> LinkStatus {
        link.status(self.0.ambient.now())
    }

    /// Ends a link. Pages that are open end within seconds.
    pub async fn revoke_pairing_link(&self, caller: &Principal, id: &SessionId, link: &PairingLinkId) -> Result<()> {
        caller.require(Capability::Manage)?;
        self.get_session(caller, id).await?;
        let found = self.0.db.revoke_pairing_link(&caller.organization, id, link, self.0.ambient.now()).await?;
        found.then_some(()).ok_or_else(|| Error::not_found("pairing link"))
    }

    /// What a token allows. Every token costs the same work, valid or not: one hash and one look-up by it.
    ///
    /// # Errors
    /// `not_found` for a token that is unknown, and for one whose link has ended.
    pub async fn open_pairing_link(&self, token: &str) -> Result<Opened> {
        let link = self.0.db.find_pairing_link(&api_key::hash(token)).await?;
        let link = link.filter(|link| self.pairing_link_status(link) == LinkStatus::Active);
        let link = link.ok_or_else(|| Error::not_found("pairing link"))?;
        let capabilities = [Capability::Manage].into_iter().collect();
        let caller = Principal {
            capabilities,
            sessions: Some(vec![link.session.clone()]),
            expires_at: Some(link.expires_at),
            ..Principal::local(link.organization.clone())
        };
        Ok(Opened { service: self.clone(), caller, link })
    }
}

impl Opened {
    /// The link's id.
    pub fn id(&self) -> &PairingLinkId {
        &self.link.id
    }

    /// Where the link stands now.
    pub async fn status(&self) -> Result<LinkStatus> {
        let link = self.service.0.db.find_pairing_link(&self.link.hash).await?;
        Ok(link.map_or(LinkStatus::Revoked, |link| self.service.pairing_link_status(&link)))
    }

    /// Begins pairing if need be, and follows it. A session that does not get there by itself any more is begun anew.
    pub async fn watch(&self) -> Result<Watch> {
        match self.service.begin_pairing(&self.caller, &self.link.session).await {
            Ok(row) if matches!(row.state.status, Status::Failed) => {
                self.service.restart_session(&self.caller, &self.link.session).await?;
            }
            Ok(_) => {}
            // The watch tells it.
            Err(e) if e.reason == Some("already_paired") => {}
            Err(e) => return Err(e),
        }
        self.service.watch_pairing(&self.caller, &self.link.session).await
    }

    /// See [`Service::request_pairing_code`].
    pub async fn request_code(&self, phone: &str) -> Result<Shown> {
        self.service.request_pairing_code(&self.caller, &self.link.session, phone).await
    }

    /// See [`Service::answer_passkey`].
    pub async fn answer_passkey(&self, assertion: &str) -> Result<()> {
        self.service.answer_passkey(&self.caller, &self.link.session, assertion).await
    }

    /// See [`Service::confirm_passkey`].
    pub async fn confirm_passkey(&self) -> Result<()> {
        self.service.confirm_passkey(&self.caller, &self.link.session).await
    }
}
