//! Groups and who is in them.

use std::collections::HashMap;

use crate::domain::clock::Time;
use crate::domain::group::{Group, GroupFacts, GroupPatch, Member, MemberAction, MemberChange, MemberFacts, Role};
use crate::domain::identity::Seen;
use crate::domain::ids::SessionId;
use crate::error::Result;
use crate::store::{Arg, Db, Row, Tx, args, identity};

macro_rules! columns {
    () => {
        "g.id, g.group_jid, g.subject, g.description, g.owner_jid, g.created_at_wa, g.is_announce, g.is_locked, g.approval, \
         g.ephemeral, g.is_community, g.parent_jid, g.participant_count, g.left_at, g.refreshed_at, g.first_seen_at, g.updated_at"
    };
}

/// The columns of a person, then those of its membership.
macro_rules! member_columns {
    () => {
        "i.id, i.lid, i.phone, i.push_name, i.full_name, i.first_name, i.business_name, i.dm, i.in_group, i.first_seen_at, \
         i.updated_at, m.id, g.group_jid, g.subject, m.role, m.tag, m.first_seen_at, m.last_seen_at, m.left_at"
    };
}

fn read(row: &Row) -> Result<Group> {
    let participant_count = row.get(12)?;
    Ok(Group {
        id: row.get(0)?,
        facts: GroupFacts {
            jid: row.get(1)?,
            subject: row.get(2)?,
            description: row.get(3)?,
            owner_jid: row.get(4)?,
            created_at_wa: row.get(5)?,
            is_announce: row.get(6)?,
            is_locked: row.get(7)?,
            approval: row.get(8)?,
            ephemeral: row.get(9)?,
            is_community: row.get(10)?,
            parent_jid: row.get(11)?,
            size: Some(participant_count),
            members: None,
        },
        participant_count,
        left_at: row.get(13)?,
        refreshed_at: row.get(14)?,
        first_seen_at: row.get(15)?,
        updated_at: row.get(16)?,
    })
}

fn read_member(row: &Row) -> Result<Member> {
    Ok(Member {
        person: identity::read(row)?,
        id: row.get(11)?,
        group_jid: row.get(12)?,
        group_subject: row.get(13)?,
        role: row.word(14, Role::from_word)?,
        tag: row.get(15)?,
        first_seen_at: row.get(16)?,
        last_seen_at: row.get(17)?,
        left_at: row.get(18)?,
    })
}

/// A member as the store has it.
struct Known {
    role: Role,
    present: bool,
}

impl Tx {
    /// Stores what WhatsApp says of a group, with its members if they were told, and gives its id. Who came, went, rose or fell since
    /// WhatsApp was last asked is written into its history.
    pub async fn record_group(&mut self, session: &SessionId, facts: &GroupFacts, now: Time) -> Result<i64> {
        let (id, known_before) = self.upsert_group(session, facts, now).await?;
        if let Some(members) = &facts.members {
            self.record_members(session, id, members, known_before, now).await?;
        }
        Ok(id)
    }

    /// Gives the group's id, and whether its members were known before.
    async fn upsert_group(&mut self, session: &SessionId, facts: &GroupFacts, now: Time) -> Result<(i64, bool)> {
        let before = self
            .row("SELECT members_known FROM groups WHERE session_id = $1 AND group_jid = $2", args![session, &facts.jid])
            .await?
            .map(|row| row.get::<bool>(0))
            .transpose()?;
        // A short answer leaves alone what it does not tell.
        let sql = match facts.members {
            Some(_) => {
                "INSERT INTO groups (session_id, group_jid, subject, description, owner_jid, created_at_wa, is_announce, is_locked,
                 approval, ephemeral, is_community, parent_jid, participant_count, refreshed_at, first_seen_at, updated_at,
                 members_known) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $14, TRUE)
                 ON CONFLICT (session_id, group_jid) DO UPDATE SET subject = excluded.subject, description = excluded.description,
                 owner_jid = COALESCE(excluded.owner_jid, groups.owner_jid),
                 created_at_wa = COALESCE(excluded.created_at_wa, groups.created_at_wa), is_announce = excluded.is_announce,
                 is_locked = excluded.is_locked, approval = excluded.approval, ephemeral = excluded.ephemeral,
                 is_community = excluded.is_community, parent_jid = excluded.parent_jid, left_at = NULL,
                 refreshed_at = excluded.refreshed_at, members_known = TRUE, updated_at = excluded.updated_at
                 RETURNING id"
            }
            None => {
                "INSERT INTO groups (session_id, group_jid, subject, description, owner_jid, created_at_wa, is_announce, is_locked,
                 approval, ephemeral, is_community, parent_jid, participant_count, first_seen_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)
                 ON CONFLICT (session_id, group_jid) DO UPDATE SET subject = COALESCE(excluded.subject, groups.subject),
                 owner_jid = COALESCE(excluded.owner_jid, groups.owner_jid),
                 created_at_wa = COALESCE(excluded.created_at_wa, groups.created_at_wa), is_announce = excluded.is_announce,
                 is_locked = excluded.is_locked, is_community = excluded.is_community,
                 parent_jid = COALESCE(excluded.parent_jid, groups.parent_jid),
                 participant_count = CASE WHEN excluded.participant_count > 0 THEN excluded.participant_count
                                          ELSE groups.participant_count END,
                 left_at = NULL, updated_at = excluded.updated_at RETURNING id"
            }
        };
        let count = facts.size.unwrap_or(0);
        let args = args![
            session,
            &facts.jid,
            &facts.subject,
            &facts.description,
            &facts.owner_jid,
            facts.created_at_wa,
            facts.is_announce,
            facts.is_locked,
            facts.approval,
            facts.ephemeral,
            facts.is_community,
            &facts.parent_jid,
            count,
            now
        ];
        let id = self.row(sql, args).await?.map_or(Ok(0), |row| row.get(0))?;
        Ok((id, before.unwrap_or(false)))
    }

    async fn record_members(
        &mut self,
        session: &SessionId,
        group: i64,
        members: &[MemberFacts],
        known_before: bool,
        now: Time,
    ) -> Result<()> {
        let seen: Vec<Seen> = members.iter().map(|member| member.seen.clone()).collect();
        let learned = self.learn(session, &seen, now).await?;
        // Who is named twice, by number and by LID, is one member.
        let told: HashMap<i64, &MemberFacts> = learned.iter().map(|one| one.id).zip(members).collect();
        let known = self.known_members(group).await?;
        let mut values = Vec::with_capacity(told.len() * 6);
        let mut history = Vec::new();
        for (id, facts) in &told {
            values.extend(args![group, *id, facts.role.word(), &facts.tag, now, now]);
            match known.get(id) {
                Some(Known { present: true, role }) if *role == facts.role => {}
                Some(Known { present: true, .. }) if facts.role == Role::Member => history.push((*id, MemberAction::Demote)),
                Some(Known { present: true, role: Role::Member }) => history.push((*id, MemberAction::Promote)),
                Some(Known { present: true, .. }) => {}
                Some(Known { present: false, .. }) | None => history.push((*id, MemberAction::Join)),
            }
        }
        let head = "INSERT INTO group_members (group_id, identity_id, role, tag, first_seen_at, last_seen_at) VALUES";
        let tail = "ON CONFLICT (group_id, identity_id) DO UPDATE SET role = excluded.role,
                    tag = COALESCE(excluded.tag, group_members.tag), last_seen_at = excluded.last_seen_at, left_at = NULL";
        self.insert(head, 6, tail, &values).await?;
        for (id, _) in known.iter().filter(|(id, known)| known.present && !told.contains_key(id)) {
            let sql = "UPDATE group_members SET left_at = $3 WHERE group_id = $1 AND identity_id = $2";
            self.execute(sql, args![group, *id, now]).await?;
            history.push((*id, MemberAction::Leave));
        }
        // What is seen for the first time did not happen now.
        if known_before {
            self.add_history(group, &history, None, now).await?;
        }
        self.count_members(group).await
    }

    async fn known_members(&mut self, group: i64) -> Result<HashMap<i64, Known>> {
        let sql = "SELECT identity_id, role, left_at FROM group_members WHERE group_id = $1".to_owned();
        let rows = self.rows_built(sql, args![group]).await?;
        rows.iter()
            .map(|row| {
                let present = row.get::<Option<Time>>(2)?.is_none();
                Ok((row.get(0)?, Known { role: row.word(1, Role::from_word)?, present }))
            })
            .collect()
    }

    async fn add_history(&mut self, group: i64, what: &[(i64, MemberAction)], actor: Option<&str>, at: Time) -> Result<()> {
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(what.len() * 5);
        for (id, action) in what {
            values.extend(args![group, *id, action.word(), actor, at]);
        }
        let head = "INSERT INTO group_history (group_id, identity_id, action, actor_jid, at) VALUES";
        self.insert(head, 5, "ON CONFLICT (group_id, identity_id, action, at) DO NOTHING", &values).await
    }

    async fn count_members(&mut self, group: i64) -> Result<()> {
        let sql = "UPDATE groups SET participant_count = (SELECT COUNT(*) FROM group_members m WHERE m.group_id = groups.id
                   AND m.left_at IS NULL) WHERE id = $1";
        self.execute(sql, args![group]).await.map(drop)
    }

    /// Stores news of what a group is. What is absent stays; an empty description removes it.
    pub async fn group_changed(&mut self, session: &SessionId, group_jid: &str, news: &GroupPatch, at: Time) -> Result<()> {
        let description = news.description.as_deref().map(|text| Some(text).filter(|text| !text.is_empty()));
        let changes = [
            ("subject", news.subject.as_deref().map(|text| Arg::from(Some(text)))),
            ("description", description.map(Arg::from)),
            ("is_announce", news.announce.map(Arg::from)),
            ("is_locked", news.locked.map(Arg::from)),
            ("ephemeral", news.ephemeral.map(Arg::from)),
            ("approval", news.approval.map(Arg::from)),
        ];
        for (column, value) in changes {
            if let Some(value) = value {
                let sql = format!("UPDATE groups SET {column} = $3, updated_at = $4 WHERE session_id = $1 AND group_jid = $2");
                self.execute_built(sql, &[session.into(), group_jid.into(), value, at.into()]).await?;
            }
        }
        Ok(())
    }

    /// Whether the session's own account is among them.
    async fn is_own(&mut self, session: &SessionId, people: &[Seen]) -> Result<bool> {
        let row = self.row("SELECT wa_jid, wa_lid FROM sessions WHERE id = $1", args![session]).await?;
        let Some(row) = row else { return Ok(false) };
        let own: [Option<String>; 2] = [row.get(0)?, row.get(1)?];
        Ok(people.iter().flat_map(Seen::addresses).any(|address| own.iter().flatten().any(|own| *own == address)))
    }

    /// Stores news of members: they came, went, rose or fell at `at`, by `actor`'s doing. False when the session does not know the group.
    pub async fn members_changed(
        &mut self,
        session: &SessionId,
        group_jid: &str,
        action: MemberAction,
        people: &[Seen],
        actor: Option<&str>,
        at: Time,
    ) -> Result<bool> {
        let own = self.is_own(session, people).await?;
        if own && action == MemberAction::Leave {
            self.group_left(session, group_jid, at).await?;
        } else if own && action == MemberAction::Join {
            self.record_group(session, &GroupFacts { jid: group_jid.to_owned(), ..GroupFacts::default() }, at).await?;
            self.outdate_group(session, group_jid).await?;
        }
        let sql = "SELECT id FROM groups WHERE session_id = $1 AND group_jid = $2";
        let Some(row) = self.row(sql, args![session, group_jid]).await? else { return Ok(false) };
        let group: i64 = row.get(0)?;
        let mut history = Vec::new();
        for learned in self.learn(session, people, at).await? {
            // News that is older than what is known changes nothing.
            if action == MemberAction::Leave {
                let sql = "UPDATE group_members SET left_at = $3, last_seen_at = $3
                           WHERE group_id = $1 AND identity_id = $2 AND last_seen_at <= $3";
                self.execute(sql, args![group, learned.id, at]).await?;
            } else {
                let role = if action == MemberAction::Promote { Role::Admin } else { Role::Member };
                let sql = "INSERT INTO group_members (group_id, identity_id, role, first_seen_at, last_seen_at)
                           VALUES ($1, $2, $3, $4, $4) ON CONFLICT (group_id, identity_id) DO UPDATE SET role = excluded.role,
                           last_seen_at = excluded.last_seen_at, left_at = NULL
                           WHERE group_members.last_seen_at <= excluded.last_seen_at";
                self.execute(sql, args![group, learned.id, role.word(), at]).await?;
            }
            history.push((learned.id, action));
        }
        self.add_history(group, &history, actor, at).await?;
        self.count_members(group).await?;
        Ok(true)
    }

    /// Notes that what is known of a group may be wrong by now: whoever wants it asks WhatsApp.
    pub async fn outdate_group(&mut self, session: &SessionId, group_jid: &str) -> Result<()> {
        let sql = "UPDATE groups SET refreshed_at = NULL WHERE session_id = $1 AND group_jid = $2";
        self.execute(sql, args![session, group_jid]).await.map(drop)
    }

    /// Notes that the account is not in a group any more.
    pub async fn group_left(&mut self, session: &SessionId, group_jid: &str, at: Time) -> Result<()> {
        let sql = "UPDATE groups SET left_at = $3, refreshed_at = NULL, updated_at = $3
                   WHERE session_id = $1 AND group_jid = $2 AND left_at IS NULL";
        self.execute(sql, args![session, group_jid, at]).await.map(drop)
    }
}

impl Db {
    /// The groups that a session's account is in, those known longest first, at most `limit` behind `after`.
    pub async fn groups(&self, session: &SessionId, after: i64, limit: i64) -> Result<Vec<Group>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM groups g WHERE g.session_id = $1 AND g.id > $2 AND g.left_at IS NULL ORDER BY g.id LIMIT $3"
        );
        self.rows(sql, args![session, after, limit]).await?.iter().map(read).collect()
    }

    /// One group of a session, also one that the account has left.
    pub async fn group(&self, session: &SessionId, group_jid: &str) -> Result<Option<Group>> {
        let sql = concat!("SELECT ", columns!(), " FROM groups g WHERE g.session_id = $1 AND g.group_jid = $2");
        self.row(sql, args![session, group_jid]).await?.as_ref().map(read).transpose()
    }

    /// The members of a group behind the membership `after`, with `gone` also those who have left.
    pub async fn members(&self, group: i64, gone: bool, after: i64, limit: i64) -> Result<Vec<Member>> {
        let sql = concat!(
            "SELECT ",
            member_columns!(),
            " FROM group_members m JOIN groups g ON g.id = m.group_id JOIN identities i ON i.id = m.identity_id
             WHERE m.group_id = $1 AND m.id > $2 AND (m.left_at IS NULL OR $3) ORDER BY m.id LIMIT $4"
        );
        self.rows(sql, args![group, after, gone, limit]).await?.iter().map(read_member).collect()
    }

    /// The groups that a person is in.
    pub async fn memberships(&self, person: i64) -> Result<Vec<Member>> {
        let sql = concat!(
            "SELECT ",
            member_columns!(),
            " FROM group_members m JOIN groups g ON g.id = m.group_id JOIN identities i ON i.id = m.identity_id
             WHERE m.identity_id = $1 AND m.left_at IS NULL AND g.left_at IS NULL ORDER BY m.id"
        );
        self.rows(sql, args![person]).await?.iter().map(read_member).collect()
    }

    /// What happened to a group's members, newest first, at most `limit` before the entry `before`.
    pub async fn group_history(&self, group: i64, before: i64, limit: i64) -> Result<Vec<MemberChange>> {
        let sql = "SELECT i.id, i.lid, i.phone, i.push_name, i.full_name, i.first_name, i.business_name, i.dm, i.in_group,
                   i.first_seen_at, i.updated_at, h.id, h.action, h.actor_jid, h.at
                   FROM group_history h JOIN identities i ON i.id = h.identity_id
                   WHERE h.group_id = $1 AND h.id < $2 ORDER BY h.id DESC LIMIT $3";
        let rows = self.rows(sql, args![group, before, limit]).await?;
        rows.iter()
            .map(|row| {
                Ok(MemberChange {
                    person: identity::read(row)?,
                    id: row.get(11)?,
                    action: row.word(12, MemberAction::from_word)?,
                    actor_jid: row.get(13)?,
                    at: row.get(14)?,
                })
            })
            .collect()
    }

    /// What WhatsApp said about a number, if it was asked after `since`: whether somebody uses it, and the address.
    pub async fn contact_check(&self, session: &SessionId, phone: &str, since: Time) -> Result<Option<(bool, Option<String>)>> {
        let sql = "SELECT registered, jid FROM contact_checks WHERE session_id = $1 AND phone = $2 AND checked_at > $3";
        let row = self.row(sql, args![session, phone, since]).await?;
        row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
    }
}

impl Tx {
    /// Remembers what WhatsApp said about a number.
    pub async fn remember_check(&mut self, session: &SessionId, phone: &str, jid: Option<&str>, now: Time) -> Result<()> {
        let sql = "INSERT INTO contact_checks (session_id, phone, registered, jid, checked_at) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (session_id, phone) DO UPDATE SET registered = excluded.registered, jid = excluded.jid,
                   checked_at = excluded.checked_at";
        self.execute(sql, args![session, phone, jid.is_some(), jid, now]).await.map(drop)
    }
}
