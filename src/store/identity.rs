//! People: the rows behind [`Directory`], which decides who is who.

use std::collections::HashMap;

use crate::domain::clock::Time;
use crate::domain::identity::{ContactFilter, Directory, Identity, Learned, Names, Seen, Source};
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::error::Result;
use crate::store::{Arg, Db, Row, Tx, args, list, one_of};

/// How many sights are dealt with together.
const BATCH: usize = 500;

/// How many people one statement stores.
const ROWS: usize = 50;

macro_rules! columns {
    () => {
        "i.id, i.lid, i.phone, i.push_name, i.full_name, i.first_name, i.business_name, i.dm, i.in_group, i.first_seen_at, i.updated_at"
    };
}

pub(super) fn read(row: &Row) -> Result<Identity> {
    Ok(Identity {
        id: row.get(0)?,
        lid: row.get(1)?,
        phone: row.get(2)?,
        names: Names { push: row.get(3)?, full: row.get(4)?, first: row.get(5)?, business: row.get(6)? },
        dm: row.get(7)?,
        in_group: row.get(8)?,
        first_seen_at: row.get(9)?,
        updated_at: row.get(10)?,
    })
}

impl Tx {
    /// Takes in sights of people, in their order, and answers each with who it was. What was known already costs one read.
    pub async fn learn(&mut self, session: &SessionId, seen: &[Seen], now: Time) -> Result<Vec<Learned>> {
        let mut all: Vec<Learned> = Vec::with_capacity(seen.len());
        let mut merged = Vec::new();
        for seen in seen.chunks(BATCH) {
            let (directory, learned) = self.look(session, seen, now).await?;
            if !directory.is_changed() {
                all.extend(learned);
                continue;
            }
            // One writer at a time for each session: what is decided from the rows must still be so when it is written.
            self.execute("UPDATE sessions SET generation = generation WHERE id = $1", args![session]).await?;
            let (directory, learned) = self.look(session, seen, now).await?;
            let ids = self.store(session, &directory).await?;
            merged.extend(directory.merged());
            // Chats and messages are kept by address.
            for (from, to) in learned.iter().flat_map(|one| &one.moved) {
                self.move_address(session, from, to).await?;
            }
            all.extend(learned.into_iter().map(|one| {
                let id = directory.current(one.id);
                Learned { id: ids.get(&id).copied().unwrap_or(id), ..one }
            }));
        }
        // Who was told in an earlier batch may have turned out to be somebody else in a later one.
        for one in &mut all {
            one.id = merged.iter().fold(one.id, |id, (gone, stays)| if *gone == id { *stays } else { id });
        }
        Ok(all)
    }

    /// The same for one sight.
    pub async fn learn_one(&mut self, session: &SessionId, seen: &Seen, now: Time) -> Result<Option<Learned>> {
        Ok(self.learn(session, std::slice::from_ref(seen), now).await?.pop())
    }

    /// Reads what these sights touch and decides.
    async fn look(&mut self, session: &SessionId, seen: &[Seen], now: Time) -> Result<(Directory, Vec<Learned>)> {
        let addresses: Vec<String> = seen.iter().flat_map(Seen::addresses).collect();
        let mut directory = Directory::default();
        if !addresses.is_empty() {
            let mut args = args![session].to_vec();
            let one_of = one_of(&mut args, addresses.iter().map(Arg::from));
            let sql = format!(
                "SELECT {}, a.address FROM identity_aliases a JOIN identities i ON i.id = a.identity_id
                 WHERE a.session_id = $1 AND a.address IN ({one_of})",
                columns!()
            );
            let rows = self.rows_built(sql, &args).await?;
            let people = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
            let aliases = rows.iter().zip(&people).map(|(row, person)| Ok((row.get(11)?, person.id)));
            let aliases = aliases.collect::<Result<Vec<(String, i64)>>>()?;
            directory = Directory::new(people, aliases);
        }
        let learned = seen.iter().map(|seen| directory.learn(seen, now)).collect();
        Ok((directory, learned))
    }

    /// Stores what a directory has learned; gives the ids of those that had none.
    async fn store(&mut self, session: &SessionId, directory: &Directory) -> Result<HashMap<i64, i64>> {
        for (gone, stays) in directory.merged() {
            self.merge(gone, stays).await?;
        }
        let ids = self.insert_people(session, directory).await?;
        for person in directory.changed_people() {
            let sql = "UPDATE identities SET lid = $2, phone = $3, push_name = $4, full_name = $5, first_name = $6,
                       business_name = $7, dm = $8, in_group = $9, first_seen_at = $10, updated_at = $11, search = $12
                       WHERE id = $1";
            let Names { push, full, first, business } = &person.names;
            let search = person.search_text();
            let args = args![
                person.id,
                &person.lid,
                &person.phone,
                push,
                full,
                first,
                business,
                person.dm,
                person.in_group,
                person.first_seen_at,
                person.updated_at,
                &search
            ];
            self.execute(sql, args).await?;
        }
        let mut values = Vec::new();
        for (address, id) in directory.redirected() {
            values.extend([Arg::from(session), Arg::from(address), Arg::from(ids.get(&id).copied().unwrap_or(id))]);
        }
        let head = "INSERT INTO identity_aliases (session_id, address, identity_id) VALUES";
        let tail = "ON CONFLICT (session_id, address) DO UPDATE SET identity_id = excluded.identity_id";
        self.insert(head, 3, tail, &values).await?;
        Ok(ids)
    }

    async fn insert_people(&mut self, session: &SessionId, directory: &Directory) -> Result<HashMap<i64, i64>> {
        let people: Vec<(&Identity, String)> = directory.new_people().map(|person| (person, person.search_text())).collect();
        let mut ids = HashMap::new();
        for people in people.chunks(ROWS) {
            let mut args = Vec::with_capacity(people.len() * 12);
            for (person, search) in people {
                let Names { push, full, first, business } = &person.names;
                args.extend(args![
                    session,
                    &person.lid,
                    &person.phone,
                    push,
                    full,
                    first,
                    business,
                    person.dm,
                    person.in_group,
                    search,
                    person.first_seen_at,
                    person.updated_at
                ]);
            }
            let rows: Vec<String> = (0..people.len()).map(|row| format!("({})", list(row * 12 + 1, 12))).collect();
            let sql = format!(
                "INSERT INTO identities (session_id, lid, phone, push_name, full_name, first_name, business_name, dm, in_group,
                 search, first_seen_at, updated_at) VALUES {} RETURNING id, lid, phone",
                rows.join(", ")
            );
            let mut stored = HashMap::new();
            for row in self.rows_built(sql, &args).await? {
                stored.insert((row.get::<Option<String>>(1)?, row.get::<Option<String>>(2)?), row.get::<i64>(0)?);
            }
            for (person, _) in people {
                if let Some(id) = stored.get(&(person.lid.clone(), person.phone.clone())) {
                    ids.insert(person.id, *id);
                }
            }
        }
        Ok(ids)
    }

    /// Lets one row take over everything that belongs to another, which goes.
    async fn merge(&mut self, gone: i64, stays: i64) -> Result<()> {
        // In groups that have both, the one that was seen later tells the role; the person was there since the first was.
        const STATEMENTS: [&str; 6] = [
            "UPDATE group_members SET
               role = CASE WHEN o.last_seen_at > group_members.last_seen_at THEN o.role ELSE group_members.role END,
               left_at = CASE WHEN o.last_seen_at > group_members.last_seen_at THEN o.left_at ELSE group_members.left_at END,
               tag = COALESCE(group_members.tag, o.tag),
               first_seen_at = CASE WHEN o.first_seen_at < group_members.first_seen_at THEN o.first_seen_at
                                    ELSE group_members.first_seen_at END,
               last_seen_at = CASE WHEN o.last_seen_at > group_members.last_seen_at THEN o.last_seen_at
                                   ELSE group_members.last_seen_at END
             FROM group_members AS o
             WHERE o.group_id = group_members.group_id AND o.identity_id = $1 AND group_members.identity_id = $2",
            "DELETE FROM group_members WHERE identity_id = $1
             AND group_id IN (SELECT group_id FROM group_members WHERE identity_id = $2)",
            "UPDATE group_members SET identity_id = $2 WHERE identity_id = $1",
            "DELETE FROM group_history WHERE identity_id = $1 AND EXISTS (SELECT 1 FROM group_history o
             WHERE o.group_id = group_history.group_id AND o.identity_id = $2 AND o.action = group_history.action
             AND o.at = group_history.at)",
            "UPDATE group_history SET identity_id = $2 WHERE identity_id = $1",
            "UPDATE identity_aliases SET identity_id = $2 WHERE identity_id = $1",
        ];
        for sql in STATEMENTS {
            self.execute(sql, args![gone, stays]).await?;
        }
        let count = "UPDATE groups SET participant_count = (SELECT COUNT(*) FROM group_members m WHERE m.group_id = groups.id
                     AND m.left_at IS NULL) WHERE id IN (SELECT group_id FROM group_members WHERE identity_id = $1)";
        self.execute(count, args![stays]).await?;
        self.execute("DELETE FROM identities WHERE id = $1", args![gone]).await.map(drop)
    }

    /// Who is behind an address, inside the transaction; see [`Db::identity`].
    pub async fn identity(&mut self, session: &SessionId, address: &str) -> Result<Option<Identity>> {
        self.row(BY_ADDRESS, args![session, address]).await?.as_ref().map(read).transpose()
    }

    /// The address under which a chat or a person is told; see [`Db::canonical`].
    pub async fn canonical(&mut self, session: &SessionId, address: &Address) -> Result<String> {
        let text = address.to_string();
        Ok(self.identity(session, &text).await?.map_or(text, |person| person.address()))
    }
}

const BY_ADDRESS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM identity_aliases a JOIN identities i ON i.id = a.identity_id WHERE a.session_id = $1 AND a.address = $2"
);

impl Db {
    /// The person behind an address in canonical form (`…@lid` or `…@s.whatsapp.net`), whichever of the person's it is.
    pub async fn identity(&self, session: &SessionId, address: &str) -> Result<Option<Identity>> {
        self.row(BY_ADDRESS, args![session, address]).await?.as_ref().map(read).transpose()
    }

    /// The address under which a chat or a person is told: for a person by number when that is known, and for everything else, and for
    /// whom nobody knows, the address as it is.
    pub async fn canonical(&self, session: &SessionId, address: &Address) -> Result<String> {
        let text = address.to_string();
        Ok(self.identity(session, &text).await?.map_or(text, |person| person.address()))
    }

    /// Every address under which a person was ever seen.
    pub async fn aliases(&self, identity: i64) -> Result<Vec<String>> {
        let rows =
            self.rows("SELECT address FROM identity_aliases WHERE identity_id = $1 ORDER BY address", args![identity]).await?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// At most `limit` people of a session behind the person `after`, those known longest first.
    pub async fn contacts(&self, session: &SessionId, filter: &ContactFilter, after: i64, limit: i64) -> Result<Vec<Identity>> {
        let pattern = filter.text.as_ref().map(|text| format!("%{}%", escaped(&text.to_lowercase())));
        let mut args = args![session, after].to_vec();
        let mut sql = String::from(concat!("SELECT ", columns!(), " FROM identities i WHERE i.session_id = $1 AND i.id > $2"));
        match filter.source {
            Some(Source::Dm) => sql.push_str(" AND i.dm"),
            Some(Source::Group) => sql.push_str(" AND i.in_group AND NOT i.dm"),
            None => {}
        }
        let conditions = [
            ("i.search LIKE ? ESCAPE '!'", &pattern),
            (
                "i.id IN (SELECT m.identity_id FROM group_members m JOIN groups g ON g.id = m.group_id
                 WHERE g.session_id = $1 AND g.group_jid = ? AND m.left_at IS NULL)",
                &filter.group,
            ),
            ("(i.lid IS NULL OR i.lid <> ?)", &filter.except.0),
            ("(i.phone IS NULL OR i.phone <> ?)", &filter.except.1),
        ];
        for (condition, value) in conditions {
            if let Some(value) = value {
                args.push(value.into());
                sql.push_str(" AND ");
                sql.push_str(&condition.replace('?', &format!("${}", args.len())));
            }
        }
        args.push(limit.into());
        sql.push_str(&format!(" ORDER BY i.id LIMIT ${}", args.len()));
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }
}

/// What `LIKE` would read as more than itself, marked.
fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}
