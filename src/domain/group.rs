//! Groups and who is in them.

use crate::domain::clock::Time;
use crate::domain::identity::{Identity, Seen};
use crate::domain::session::words;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Write, unless only admins may.
    Member,
    /// Change the group and who is in it.
    Admin,
    /// Its founder, or who took over.
    Superadmin,
}

words!(Role: Member = "member", Admin = "admin", Superadmin = "superadmin");

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberAction {
    /// Came, or was added.
    Join,
    /// Went, or was removed.
    Leave,
    /// Became an admin.
    Promote,
    /// Is no admin any more.
    Demote,
}

words!(MemberAction: Join = "join", Leave = "leave", Promote = "promote", Demote = "demote");

/// A group as WhatsApp describes it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its address.
    pub jid: String,
    /// Its name.
    pub subject: Option<String>,
    /// Its text about itself.
    pub description: Option<String>,
    /// Its founder's address.
    pub owner_jid: Option<String>,
    /// When it was founded.
    pub created_at_wa: Option<Time>,
    /// Whether only admins write.
    pub is_announce: bool,
    /// Whether only admins change what it is.
    pub is_locked: bool,
    /// Whether admins decide who may join.
    pub approval: bool,
    /// Seconds until messages disappear; 0 for never.
    pub ephemeral: i64,
    /// Whether it is a community, which holds groups.
    pub is_community: bool,
    /// The community that it belongs to.
    pub parent_jid: Option<String>,
    /// How many members it has.
    pub size: Option<i64>,
    /// All of its members; `None` when only the group was asked for.
    pub members: Option<Vec<MemberFacts>>,
}

/// A member as WhatsApp describes it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// Who.
    pub seen: Seen,
    /// As what.
    pub role: Role,
    /// The label that the group gives the member.
    pub tag: Option<String>,
}

/// A group as one session knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Grows with each group.
    pub id: i64,
    /// What WhatsApp said last; members are kept apart.
    pub facts: GroupFacts,
    /// How many members it has.
    pub participant_count: i64,
    /// Since when the account is not in it any more.
    pub left_at: Option<Time>,
    /// When all that is here was last known to be right; `None` when it has to be asked for.
    pub refreshed_at: Option<Time>,
    /// When it was first seen.
    pub first_seen_at: Time,
    /// When anything of it last changed.
    pub updated_at: Time,
}

/// Somebody who is or was in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Grows with each membership.
    pub id: i64,
    /// The group's address.
    pub group_jid: String,
    /// Its name.
    pub group_subject: Option<String>,
    /// Who.
    pub person: Identity,
    /// As what.
    pub role: Role,
    /// The label that the group gives the member.
    pub tag: Option<String>,
    /// Since when.
    pub first_seen_at: Time,
    /// When it was last known to be so.
    pub last_seen_at: Time,
    /// Until when.
    pub left_at: Option<Time>,
}

/// One entry of what happened to the members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Grows with each entry.
    pub id: i64,
    /// To whom.
    pub person: Identity,
    /// What.
    pub action: MemberAction,
    /// Who did it.
    pub actor_jid: Option<String>,
    /// When.
    pub at: Time,
}

/// What came of a change for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonResult {
    /// The person as WhatsApp answered.
    pub jid: String,
    /// WhatsApp's code when it refused, such as 403 for somebody who wants to be asked or 409 for who is in already.
    pub code: Option<String>,
    /// A code by which the person can be invited instead, and until when.
    pub invite: Option<(String, Time)>,
}

/// Somebody who wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Who.
    pub jid: String,
    /// Since when.
    pub requested_at: Option<Time>,
}

/// What to change of a group; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPatch {
    /// Its name.
    pub subject: Option<String>,
    /// Its text about itself; the empty text removes it.
    pub description: Option<String>,
    /// Whether only admins write.
    pub announce: Option<bool>,
    /// Whether only admins change what it is.
    pub locked: Option<bool>,
    /// Seconds until messages disappear; 0 for never.
    pub ephemeral: Option<u32>,
    /// Whether admins decide who may join.
    pub approval: Option<bool>,
}

/// What happens to members by a caller's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberWish {
    /// Put them in.
    Add,
    /// Put them out.
    Remove,
    /// Make them admins.
    Promote,
    /// Make them plain members.
    Demote,
    /// Let them in who asked.
    Approve,
    /// Do not.
    Reject,
}

words!(MemberWish:
    Add = "add",
    Remove = "remove",
    Promote = "promote",
    Demote = "demote",
    Approve = "approve",
    Reject = "reject",
);
