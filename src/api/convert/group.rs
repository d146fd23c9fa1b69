//! Groups and who is in them.

use super::timestamp;
use crate::domain::group::{Group, GroupFacts, JoinRequest, Member, MemberChange, MemberWish, PersonResult, Role};
use crate::domain::ids::SessionId;
use crate::error::{Error, Result};
use crate::proto::gateway as pb;

/// A group of the directory.
pub fn group(it: &Group) -> pb::Group {
    let facts = &it.facts;
    pb::Group {
        id: it.id,
        group_jid: facts.jid.clone(),
        subject: facts.subject.clone(),
        description: facts.description.clone(),
        owner_jid: facts.owner_jid.clone(),
        is_announce: facts.is_announce,
        is_locked: facts.is_locked,
        participant_count: it.participant_count,
        requires_approval: facts.approval,
        ephemeral_seconds: facts.ephemeral,
        is_community: facts.is_community,
        parent_jid: facts.parent_jid.clone(),
        created_at_wa: facts.created_at_wa.map(timestamp),
        refreshed_at: it.refreshed_at.map(timestamp),
        left_at: it.left_at.map(timestamp),
        first_seen_at: Some(timestamp(it.first_seen_at)),
        updated_at: Some(timestamp(it.updated_at)),
    }
}

/// A group as WhatsApp has just told it.
pub fn info(it: GroupFacts) -> pb::GroupInfo {
    let listed = it.members.as_ref().and_then(|members| i64::try_from(members.len()).ok());
    pb::GroupInfo {
        group_jid: it.jid,
        subject: it.subject,
        description: it.description,
        owner_jid: it.owner_jid,
        is_announce: it.is_announce,
        is_locked: it.is_locked,
        participants: listed.or(it.size).unwrap_or(0),
        parent_jid: it.parent_jid,
    }
}

/// A member.
pub fn member(session: &SessionId, it: &Member) -> pb::GroupMember {
    let role = match it.role {
        Role::Member => pb::GroupRole::Member,
        Role::Admin => pb::GroupRole::Admin,
        Role::Superadmin => pb::GroupRole::Superadmin,
    };
    pb::GroupMember {
        id: it.id,
        session_id: session.to_string(),
        group_jid: it.group_jid.clone(),
        lid: it.person.lid_or_phone(),
        role: role.into(),
        tag: it.tag.clone(),
        phone_number: it.person.phone.clone(),
        name: it.person.name().map(str::to_owned),
        first_seen_at: Some(timestamp(it.first_seen_at)),
        last_seen_at: Some(timestamp(it.last_seen_at)),
        left_at: it.left_at.map(timestamp),
    }
}

/// Something that happened to a member.
pub fn change(it: &MemberChange) -> pb::GroupHistoryEntry {
    pb::GroupHistoryEntry {
        id: it.id,
        lid: it.person.lid_or_phone(),
        phone_number: it.person.phone.clone(),
        action: it.action.word().to_owned(),
        actor_jid: it.actor_jid.clone(),
        at: Some(timestamp(it.at)),
    }
}

/// What came of a change.
pub fn result(it: PersonResult) -> pb::MemberResult {
    let (invite_code, expires) = it.invite.unzip();
    pb::MemberResult { jid: it.jid, ok: it.code.is_none(), code: it.code, invite_code, invite_expires_at: expires.map(timestamp) }
}

/// Somebody who wants to join.
pub fn request(it: JoinRequest) -> pb::JoinRequest {
    pb::JoinRequest { jid: it.jid, requested_at: it.requested_at.map(timestamp) }
}

/// What shall happen to people; `None` for what is none of it.
pub fn wish(word: i32) -> Result<Option<MemberWish>> {
    use pb::MemberAction as Word;
    Ok(match Word::try_from(word) {
        Ok(Word::Add) => Some(MemberWish::Add),
        Ok(Word::Remove) => Some(MemberWish::Remove),
        Ok(Word::Promote) => Some(MemberWish::Promote),
        Ok(Word::Demote) => Some(MemberWish::Demote),
        Ok(Word::Approve) => Some(MemberWish::Approve),
        Ok(Word::Reject) => Some(MemberWish::Reject),
        Ok(Word::Unspecified) => None,
        Err(_) => return Err(Error::field("action", "unknown; one of: add, remove, promote, demote, approve, reject")),
    })
}
