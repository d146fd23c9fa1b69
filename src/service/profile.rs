//! What an account shows of itself, and to whom.

use super::Service;
use super::contact::PATIENCE;
use super::group::MAX_PICTURE;
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::domain::principal::{Capability, Principal};
use crate::domain::profile::{PRIVACY, Privacy, Profile, ProfilePatch};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::wa::account::is_privacy_value;

/// What the account's name may have in characters, and what it tells about itself.
const MOST: (usize, usize) = (25, 139);

impl Service {
    /// What the account shows of itself.
    pub async fn profile(&self, caller: &Principal, id: &SessionId) -> Result<Profile> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        self.own_profile(&session).await
    }

    async fn own_profile(&self, session: &Session) -> Result<Profile> {
        let sender = self.online(session)?;
        let phone_number = session.account.as_ref().map(|account| account.phone_number.clone()).unwrap_or_default();
        let own = Address::phone(phone_number.as_str());
        let mut turn = sender.turn(PATIENCE).await?;
        let about = turn.ask(sender.about(&own)).await?.filter(|about| !about.is_empty());
        let picture = match turn.ask(sender.picture(&own)).await {
            // Without a picture WhatsApp does not know it.
            Err(error) if matches!(error.code, Code::NotFound | Code::Forbidden) => None,
            answer => answer?,
        };
        Ok(Profile { phone_number, name: sender.own_name(), about, picture })
    }

    /// Changes what the account shows of itself; tells what it shows then.
    pub async fn update_profile(&self, caller: &Principal, id: &SessionId, patch: ProfilePatch) -> Result<Profile> {
        caller.require(Capability::Manage)?;
        let session = self.get_session(caller, id).await?;
        let ProfilePatch { name, about, picture } = patch;
        if name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().count() > MOST.0) {
            return Err(Error::field("name", format!("takes 1 to {} characters", MOST.0)));
        }
        if about.as_ref().is_some_and(|about| about.chars().count() > MOST.1) {
            return Err(Error::field("about", format!("takes at most {} characters", MOST.1)));
        }
        if let Some(picture) = picture.as_ref().filter(|picture| !picture.is_empty()) {
            check_picture(picture)?;
        }
        let sender = self.online(&session)?;
        let mut turn = sender.turn(PATIENCE).await?;
        if let Some(name) = name {
            turn.ask(sender.set_own_name(name.trim())).await?;
        }
        if let Some(about) = about {
            turn.ask(sender.set_own_about(&about)).await?;
        }
        if let Some(picture) = picture {
            turn.ask(sender.set_own_picture(picture)).await?;
        }
        drop(turn);
        self.own_profile(&session).await
    }

    /// The account's privacy settings.
    pub async fn privacy(&self, caller: &Principal, id: &SessionId) -> Result<Privacy> {
        caller.require(Capability::Read)?;
        let session = self.get_session(caller, id).await?;
        let sender = self.online(&session)?;
        sender.ask(PATIENCE, sender.privacy()).await
    }

    /// Changes privacy settings; tells all of them as they are then.
    pub async fn update_privacy(&self, caller: &Principal, id: &SessionId, wish: Privacy) -> Result<Privacy> {
        caller.require(Capability::Manage)?;
        let session = self.get_session(caller, id).await?;
        let wish: Vec<_> = PRIVACY.iter().zip(wish).filter_map(|(name, value)| Some((name, value?))).collect();
        for ((field, name), value) in &wish {
            // Whom such a list holds cannot be said here.
            if value == "contact_blacklist" || !is_privacy_value(name, value) {
                return Err(Error::field(*field, format!("`{value}` is not a value of this setting that can be set here")));
            }
        }
        let sender = self.online(&session)?;
        let mut turn = sender.turn(PATIENCE).await?;
        for ((_, name), value) in &wish {
            turn.ask(sender.set_privacy(name, value)).await?;
        }
        turn.ask(sender.privacy()).await
    }
}

/// Refuses what WhatsApp does not take as a picture.
pub(super) fn check_picture(picture: &[u8]) -> Result<()> {
    if !picture.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err(Error::field("picture", "not a JPEG"));
    }
    if picture.len() > MAX_PICTURE {
        return Err(Error::field("picture", format!("has more than {MAX_PICTURE} bytes")));
    }
    Ok(())
}
