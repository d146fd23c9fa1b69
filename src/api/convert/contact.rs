//! People.

use super::timestamp;
use crate::domain::group::{Member, Role};
use crate::domain::identity::{Identity, Source};
use crate::error::{Error, Result};
use crate::proto::gateway as pb;
use crate::service::contact::{Known, OnWhatsApp};

/// A person as lists have it.
pub fn contact(it: &Identity) -> pb::Contact {
    let source = if it.in_group && !it.dm { pb::ContactSource::Group } else { pb::ContactSource::Dm };
    pb::Contact {
        lid: it.lid_or_phone(),
        source: source.into(),
        phone_number: it.phone.clone(),
        name: it.name().map(str::to_owned),
        business_name: it.names.business.clone(),
    }
}

/// The source that a caller asks for.
pub fn source(word: i32) -> Result<Option<Source>> {
    match pb::ContactSource::try_from(word) {
        Ok(pb::ContactSource::Unspecified) => Ok(None),
        Ok(pb::ContactSource::Dm) => Ok(Some(Source::Dm)),
        Ok(pb::ContactSource::Group) => Ok(Some(Source::Group)),
        Err(_) => Err(Error::field("source", "unknown; one of: dm, group")),
    }
}

/// A person with its groups.
pub fn detail(it: Known) -> pb::ContactDetail {
    let Known { person, aliases, groups } = it;
    pb::ContactDetail { dm: person.dm, groups: groups.iter().map(group).collect(), identity: Some(identity(person, aliases)) }
}

fn identity(it: Identity, aliases: Vec<String>) -> pb::Identity {
    pb::Identity {
        id: it.id,
        lid: it.lid_or_phone(),
        phone_jid: it.phone_jid(),
        name: it.name().map(str::to_owned),
        phone_number: it.phone,
        business_name: it.names.business,
        push_name: it.names.push,
        full_name: it.names.full,
        first_name: it.names.first,
        aliases,
        first_seen_at: Some(timestamp(it.first_seen_at)),
        updated_at: Some(timestamp(it.updated_at)),
    }
}

fn group(it: &Member) -> pb::ContactGroup {
    pb::ContactGroup {
        jid: it.group_jid.clone(),
        name: it.group_subject.clone(),
        role: Role::word(it.role).to_owned(),
        tag: it.tag.clone(),
        last_seen: Some(timestamp(it.last_seen_at)),
    }
}

/// What WhatsApp says about a number.
pub fn on_whatsapp(it: OnWhatsApp) -> pb::OnWhatsApp {
    pb::OnWhatsApp { query: it.query, is_on_whats_app: it.jid.is_some(), jid: it.jid }
}
