//! The work of one import.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio_util::sync::CancellationToken;

use super::msgstore::{Msgstore, StoredGroup, StoredMember, StoredMessage};
use super::worker::{LEASE, Workers};
use crate::domain::backfill::BackfillStatus;
use crate::domain::backup::{BackupImport, ImportPhase};
use crate::domain::clock::Time;
use crate::domain::content::Content;
use crate::domain::group::{GroupFacts, MemberFacts, Role};
use crate::domain::identity::{Names, Seen, Source};
use crate::domain::jid::{Address, Kind};
use crate::domain::message::{Direction, Marks, Message};
use crate::domain::session::Account;
use crate::error::{Code, Error, Result};
use crate::store::Tx;

/// How many people, groups and messages one transaction takes over: enough to be fast, few enough that nobody waits long for the
/// store's one writer.
const PEOPLE: i64 = 1000;
const GROUPS: i64 = 20;
const MESSAGES: i64 = 1000;

/// Why an import stops before its end.
pub(super) enum Stop {
    /// The gateway stops, or somebody else works on it.
    Leave,
    /// The backup, or the store, does not work.
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// One import under way.
pub struct Merge {
    workers: Workers,
    row: BackupImport,
    token: String,
    account: Account,
    draining: CancellationToken,
}

impl Merge {
    pub(super) fn new(workers: Workers, row: BackupImport, token: String, account: Account, draining: CancellationToken) -> Self {
        Self { workers, row, token, account, draining }
    }

    /// Merges until the end, or until somebody else has to go on.
    pub(super) async fn run(mut self) {
        let job = self.row.id.clone();
        tracing::info!(job, session = %self.row.session, phase = self.row.phase.word(), "an import is under way");
        let ended = match Box::pin(self.phases()).await {
            Ok(()) => self.close(BackfillStatus::Succeeded, None).await,
            // What is wrong with the file does not get better.
            Err(Stop::Broken(error)) if error.code == Code::Validation => {
                self.close(BackfillStatus::Failed, Some(error.message)).await
            }
            Err(stop) => Err(stop),
        };
        match ended {
            Ok(()) => {
                tracing::info!(job, status = self.row.status.word(), messages = self.row.messages, "an import ended");
                self.workers.forget(&job).await;
            }
            Err(Stop::Leave) => {
                let released = self.workers.db.release_import(&job, &self.token).await;
                if let Err(error) = released.and(self.workers.forget_if_gone(&job).await) {
                    tracing::warn!(job, %error, "an import could not be given back; its claim runs out by itself");
                }
            }
            Err(Stop::Broken(error)) => {
                // Its claim runs out, and somebody goes on where it is.
                tracing::error!(job, %error, cause = error.cause().map(tracing::field::display), "an import came to a halt");
            }
        }
    }

    async fn phases(&mut self) -> Result<(), Stop> {
        let path = self.workers.database(&self.row.id);
        if !path.exists() {
            return Err(Error::field("file", "the decrypted database is gone from the gateway's disk; import it again").into());
        }
        let mut backup = Msgstore::open(&path).await?;
        loop {
            let next = match self.row.phase {
                ImportPhase::Identities => {
                    self.people(&mut backup).await?;
                    ImportPhase::Groups
                }
                ImportPhase::Groups => {
                    self.groups(&mut backup).await?;
                    ImportPhase::Messages
                }
                ImportPhase::Messages => {
                    self.messages(&mut backup).await?;
                    ImportPhase::Done
                }
                ImportPhase::Done => return Ok(()),
            };
            (self.row.phase, self.row.position) = (next, 0);
            let tx = self.workers.db.begin().await?;
            self.commit(tx).await?;
        }
    }

    async fn people(&mut self, backup: &mut Msgstore) -> Result<(), Stop> {
        loop {
            let page = backup.people(self.row.position, PEOPLE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            self.row.position = last.row;
            let seen = page.iter().filter_map(|person| {
                let source = if person.dm { Source::Dm } else { Source::Group };
                Seen::new(person.addresses.iter().map(String::as_str), Names::default(), Some(source))
            });
            let seen: Vec<Seen> = seen.filter(|seen| !self.is_own(seen)).collect();
            let mut tx = self.workers.db.begin().await?;
            let learned = tx.learn(&self.row.session, &seen, self.workers.ambient.now()).await?;
            let people: HashSet<i64> = learned.iter().map(|one| one.id).collect();
            self.row.identities += count(people.len());
            self.commit(tx).await?;
        }
    }

    async fn groups(&mut self, backup: &mut Msgstore) -> Result<(), Stop> {
        loop {
            let page = backup.groups(self.row.position, GROUPS).await?;
            let Some(last) = page.last() else { return Ok(()) };
            self.row.position = last.row;
            let mut groups = Vec::with_capacity(page.len());
            for group in &page {
                groups.push((group, backup.members(group.row).await?));
            }
            let now = self.workers.ambient.now();
            let mut tx = self.workers.db.begin().await?;
            for (group, members) in groups {
                let Some((facts, is_member)) = self.facts(group, &members) else { continue };
                // Who is no member any more has left some time before.
                let left_at = (!is_member).then_some(self.row.created_at);
                tx.remember_group(&self.row.session, &facts, left_at, now).await?;
                self.row.groups += 1;
                self.row.group_members += count(facts.members.map_or(0, |members| members.len()));
            }
            self.commit(tx).await?;
        }
    }

    /// A group as ours, and whether the account is in it; `None` for what is no group.
    fn facts(&self, group: &StoredGroup, members: &[StoredMember]) -> Option<(GroupFacts, bool)> {
        let jid = Address::parse("group", &group.jid).ok().filter(|jid| jid.kind == Kind::Group)?.to_string();
        let own = [Some(&self.account.wa_jid), self.account.wa_lid.as_ref()];
        let is_member = members.iter().any(|member| member.addresses.iter().any(|address| own.contains(&Some(address))))
            || members.is_empty();
        let members = members.iter().filter_map(|member| {
            let seen = Seen::new(member.addresses.iter().map(String::as_str), Names::default(), Some(Source::Group))?;
            let role = match member.rank {
                2 => Role::Superadmin,
                1 => Role::Admin,
                _ => Role::Member,
            };
            Some(MemberFacts { seen, role, tag: None })
        });
        let members = Some(members.collect());
        let facts =
            GroupFacts { jid, subject: group.subject.clone(), created_at_wa: group.created_at, members, ..GroupFacts::default() };
        Some((facts, is_member))
    }

    async fn messages(&mut self, backup: &mut Msgstore) -> Result<(), Stop> {
        loop {
            let page = backup.messages(self.row.position, MESSAGES).await?;
            let Some(last) = page.last().map(|message| message.row) else { return Ok(()) };
            let page: Vec<StoredMessage> = page.into_iter().filter(|message| !message.id.is_empty()).collect();
            let ids: Vec<&str> = page.iter().map(|message| message.id.as_str()).collect();
            let phones = self.phones(&page).await?;
            let mut tx = self.workers.db.begin().await?;
            // Not by the store's own key alone: what came live may have named the sender by another address than the backup does.
            let mut known = tx.known_messages(&self.row.session, &ids).await?;
            let mut past = Vec::with_capacity(page.len());
            for stored in &page {
                let Some(message) = self.message(stored, &phones) else { continue };
                self.row.messages += 1;
                if known.insert((stored.id.clone(), stored.from_me)) {
                    past.push(message);
                }
            }
            let new: HashSet<String> = tx.insert_past(&past).await?.into_iter().collect();
            self.row.new_messages += count(new.len());
            // What was said long ago makes a chat, and none of it waits to be read.
            let mut chats: BTreeMap<&str, Time> = BTreeMap::new();
            for message in past.iter().filter(|message| new.contains(&message.id)) {
                let at = chats.entry(&message.chat_jid).or_insert(message.timestamp);
                *at = message.timestamp.max(*at);
            }
            tx.touch_past_chats(&self.row.session, &chats, self.workers.ambient.now()).await?;
            self.row.position = last;
            self.commit(tx).await?;
        }
    }

    /// The numbers of those whom the backup knows by LID alone.
    async fn phones(&self, page: &[StoredMessage]) -> Result<HashMap<String, String>> {
        let named = page.iter().flat_map(|it| [(Some(&it.chat), &it.chat_alt), (it.sender.as_ref(), &it.sender_alt)]);
        let lids = named.filter(|(_, alt)| alt.is_none()).filter_map(|(address, _)| address.filter(|it| it.ends_with("@lid")));
        let lids: HashSet<&String> = lids.collect();
        let mut phones = HashMap::new();
        for lid in lids {
            let person = self.workers.db.identity(&self.row.session, lid).await?;
            if let Some(phone) = person.and_then(|person| person.phone_jid()) {
                phones.insert(lid.clone(), phone);
            }
        }
        Ok(phones)
    }

    /// A message as ours; `None` for what is none of people's.
    fn message(&self, stored: &StoredMessage, phones: &HashMap<String, String>) -> Option<Message> {
        let kind = kind(stored.kind)?;
        let canonical = |address: &str, alt: &Option<String>| {
            let address = alt.as_deref().or_else(|| phones.get(address).map(String::as_str)).unwrap_or(address);
            Some(Address::parse("address", address).ok()?.to_string())
        };
        let chat = canonical(&stored.chat, &stored.chat_alt)?;
        let named = stored.sender.as_ref().filter(|sender| !sender.is_empty());
        let (sender, lid) = match named {
            _ if stored.from_me => (self.account.wa_jid.clone(), self.account.wa_lid.clone()),
            Some(sender) => (canonical(sender, &stored.sender_alt)?, Some(sender.clone())),
            None => (chat.clone(), Some(stored.chat.clone())),
        };
        Some(Message {
            id: self.workers.ambient.ulid(),
            session: self.row.session.clone(),
            organization: self.row.organization.clone(),
            wa_message_id: stored.id.clone(),
            chat_jid: chat,
            sender_jid: sender,
            sender_lid: lid.filter(|lid| lid.ends_with("@lid")),
            sender_name: None,
            direction: if stored.from_me { Direction::Out } else { Direction::In },
            from_me: stored.from_me,
            kind: kind.to_owned(),
            body: stored.text.clone(),
            content: Content::default(),
            status: None,
            error: None,
            idempotency_key: None,
            idempotency_hash: None,
            timestamp: stored.at,
            created_at: self.workers.ambient.now(),
            marks: Marks::default(),
        })
    }

    fn is_own(&self, seen: &Seen) -> bool {
        seen.addresses().any(|one| one == self.account.wa_jid || Some(&one) == self.account.wa_lid.as_ref())
    }

    /// Commits a piece of work together with how far that brings the import.
    async fn commit(&mut self, mut tx: Tx) -> Result<(), Stop> {
        let now = self.workers.ambient.now();
        self.row.updated_at = now;
        if !tx.advance_import(&self.row, &self.token, now, LEASE).await? {
            return Err(Stop::Leave);
        }
        tx.commit().await?;
        if self.draining.is_cancelled() && self.row.finished_at.is_none() {
            return Err(Stop::Leave);
        }
        Ok(())
    }

    async fn close(&mut self, status: BackfillStatus, error: Option<String>) -> Result<(), Stop> {
        (self.row.status, self.row.error) = (status, error);
        self.row.finished_at = Some(self.workers.ambient.now());
        let tx = self.workers.db.begin().await?;
        self.commit(tx).await
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Our word for WhatsApp's number of what a message is; `None` for notices of the app, calls and deleted messages.
fn kind(number: i64) -> Option<&'static str> {
    Some(match number {
        0 => "text",
        1 | 42 => "image",
        2 => "audio",
        3 | 13 | 43 | 81 => "video",
        4 | 14 => "contact",
        5 | 16 => "location",
        9 => "document",
        20 => "sticker",
        66 => "poll",
        7 | 8 | 10 | 11 | 12 | 15 | 64 | 90 => return None,
        _ => "unsupported",
    })
}
