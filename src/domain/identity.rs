//! People: one identity, however many addresses WhatsApp has for it.
//!
//! WhatsApp addresses the same person by phone number and by LID, and which of the two one sees first is chance. The LID is the person's
//! own and lasts; the number can pass to another person, and a person can take another number. So two LIDs are never one person, and
//! a number belongs to whom it was last seen with.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::clock::Time;
use crate::domain::jid::{Address, Kind};
use crate::domain::session::words;

/// What a person is called. What is absent is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What the person calls itself.
    pub push: Option<String>,
    /// The full name in the account's address book.
    pub full: Option<String>,
    /// The first name in the account's address book.
    pub first: Option<String>,
    /// The name of a business, verified by WhatsApp.
    pub business: Option<String>,
}

impl Names {
    /// Nothing but what the person calls itself.
    pub fn push(name: Option<&str>) -> Self {
        Self { push: name.map(str::to_owned), ..Self::default() }
    }

    /// Takes over what `newer` knows; a blank never overwrites a name. True when that changed anything.
    fn take(&mut self, newer: &Self) -> bool {
        let pairs = [
            (&mut self.push, &newer.push),
            (&mut self.full, &newer.full),
            (&mut self.first, &newer.first),
            (&mut self.business, &newer.business),
        ];
        let mut changed = false;
        for (old, new) in pairs {
            if let Some(new) = new.as_deref().map(str::trim).filter(|new| !new.is_empty())
                && old.as_deref() != Some(new)
            {
                *old = Some(new.to_owned());
                changed = true;
            }
        }
        changed
    }
}

/// Where a person was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a chat of two, or in the account's address book.
    Dm,
    /// Among the members of a group.
    Group,
}

words!(Source: Dm = "dm", Group = "group");

/// One sight of a person: under one address or both, with whatever names came along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    lid: Option<String>,
    phone: Option<String>,
    names: Names,
    source: Option<Source>,
}

impl Seen {
    /// A person under all of `addresses`, each in any form with a server (device parts are dropped, what addresses no person is
    /// passed over). `None` when none of them addresses a person.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a str>, names: Names, source: Option<Source>) -> Option<Self> {
        let mut seen = Self { names, source, ..Self::default() };
        for address in addresses.into_iter().filter_map(|text| Address::parse("address", text).ok()) {
            match address.kind {
                Kind::Lid => seen.lid = Some(address.to_string()),
                Kind::Phone => seen.phone = Some(address.user),
                Kind::Group | Kind::Newsletter | Kind::Broadcast => {}
            }
        }
        (seen.lid.is_some() || seen.phone.is_some()).then_some(seen)
    }

    /// Its addresses, for looking up who is known by them.
    pub fn addresses(&self) -> impl Iterator<Item = String> + use<> {
        let phone = self.phone.as_deref().map(phone_jid);
        self.lid.clone().into_iter().chain(phone)
    }
}

fn phone_jid(digits: &str) -> String {
    Address::phone(digits).to_string()
}

/// A person as one session knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Grows with each new person.
    pub id: i64,
    /// `…@lid`, when it is known.
    pub lid: Option<String>,
    /// The number in digits, when it is known.
    pub phone: Option<String>,
    /// What the person is called.
    pub names: Names,
    /// Whether there is a chat of two, or an entry in the address book.
    pub dm: bool,
    /// Whether the person was met in a group.
    pub in_group: bool,
    /// When the person was first seen.
    pub first_seen_at: Time,
    /// When anything about it last changed.
    pub updated_at: Time,
}

impl Identity {
    /// The one address under which the person is told: by number when that is known.
    pub fn address(&self) -> String {
        self.phone_jid().or_else(|| self.lid.clone()).unwrap_or_default()
    }

    /// The number as an address.
    pub fn phone_jid(&self) -> Option<String> {
        self.phone.as_deref().map(phone_jid)
    }

    /// The LID; while that is not known the number's address.
    pub fn lid_or_phone(&self) -> String {
        self.lid.clone().unwrap_or_else(|| self.address())
    }

    /// The best name for people to read: the address book's, then the person's own.
    pub fn name(&self) -> Option<&str> {
        let Names { push, full, first, business } = &self.names;
        [full, first, push, business].into_iter().find_map(|name| name.as_deref())
    }

    /// Names and addresses in small letters.
    pub fn search_text(&self) -> String {
        let Names { push, full, first, business } = &self.names;
        let parts = [full, first, push, business, &self.phone, &self.lid];
        parts.into_iter().flatten().map(|part| part.to_lowercase()).collect::<Vec<_>>().join("\n")
    }
}

/// Which people of a session are asked for.
#[derive(Clone, Debug, Default)]
pub struct ContactFilter {
    /// Those met there; a person met in both is a `Dm`.
    pub source: Option<Source>,
    /// The present members of this group.
    pub group: Option<String>,
    /// Those whose names or addresses contain this, in any case.
    pub text: Option<String>,
    /// Those who are not this account itself: its LID and its number in digits.
    pub except: (Option<String>, Option<String>),
}

/// What was learned from one sight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The person; see [`Identity::id`].
    pub id: i64,
    /// The address under which the person is told from now on.
    pub address: String,
    /// The person's LID, when it is known.
    pub lid: Option<String>,
    /// The person's number in digits, when it is known.
    pub phone: Option<String>,
    /// Addresses under which people were told until now, with what takes their place, in the order in which they have to be replaced.
    /// Whoever keeps things by address (chats, messages) moves them.
    pub moved: Vec<(String, String)>,
    /// Whether a name or an address is news.
    pub changed: bool,
}

/// The part of a session's directory that some sights touch, in memory: decides who is who. What it changed is read off afterwards.
#[derive(Debug, Default)]
pub struct Directory {
    people: BTreeMap<i64, Identity>,
    by_address: HashMap<String, i64>,
    /// Stored people of which something changed.
    changed: HashSet<i64>,
    /// Addresses that lead to somebody else than is stored.
    redirected: HashSet<String>,
    /// Who became whom, in order.
    merged: Vec<(i64, i64)>,
}

impl Directory {
    /// With what is stored: people, and which address leads to whom.
    pub fn new(people: impl IntoIterator<Item = Identity>, aliases: impl IntoIterator<Item = (String, i64)>) -> Self {
        let people = people.into_iter().map(|person| (person.id, person)).collect();
        Self { people, by_address: aliases.into_iter().collect(), ..Self::default() }
    }

    /// Takes in one sight. New people get negative ids until they are stored.
    pub fn learn(&mut self, seen: &Seen, now: Time) -> Learned {
        let phone = seen.phone.as_deref().map(phone_jid);
        let by_lid = seen.lid.as_ref().and_then(|lid| self.by_address.get(lid)).copied();
        let by_phone = phone.as_ref().and_then(|phone| self.by_address.get(phone)).copied();
        let mut moved = Vec::new();
        let id = match (by_lid, by_phone) {
            (None, None) => self.create(now),
            (Some(one), None) => one,
            (Some(one), Some(same)) if one == same => one,
            (Some(one), Some(other)) if self.has_other_lid(other, seen) => {
                self.take_phone(other, seen, now, &mut moved);
                one
            }
            (Some(one), Some(other)) => self.merge(one, other, &mut moved),
            (None, Some(other)) if self.has_other_lid(other, seen) => {
                self.take_phone(other, seen, now, &mut moved);
                self.create(now)
            }
            (None, Some(one)) => one,
        };
        let Some(person) = self.people.get_mut(&id) else {
            // Unreachable: every id above is in the map. Told as somebody without an address.
            return Learned { id, address: String::new(), lid: None, phone: None, moved, changed: false };
        };
        let before = person.address();
        let mut news = person.names.take(&seen.names);
        // A number alone does not say that it is still this person's: it may be one that was given up.
        let told_phone = seen.phone.as_ref().filter(|_| seen.lid.is_some() || person.phone.is_none());
        for (known, told) in [(&mut person.lid, seen.lid.as_ref()), (&mut person.phone, told_phone)] {
            if told.is_some() && known.as_ref() != told {
                *known = told.cloned();
                news = true;
            }
        }
        let met = (person.dm || seen.source == Some(Source::Dm), person.in_group || seen.source == Some(Source::Group));
        if news || met != (person.dm, person.in_group) {
            (person.dm, person.in_group) = met;
            person.updated_at = now;
            self.changed.insert(id);
        }
        let address = person.address();
        if !before.is_empty() && before != address {
            moved.push((before, address.clone()));
        }
        for known in seen.addresses() {
            if self.by_address.insert(known.clone(), id) != Some(id) {
                self.redirected.insert(known);
            }
        }
        let (lid, phone) = self.people.get(&id).map(|person| (person.lid.clone(), person.phone.clone())).unwrap_or_default();
        Learned { id, address, lid, phone, moved, changed: news }
    }

    fn create(&mut self, now: Time) -> i64 {
        let id = self.people.keys().next().copied().unwrap_or(0).min(0) - 1;
        let nobody = Identity {
            id,
            lid: None,
            phone: None,
            names: Names::default(),
            dm: false,
            in_group: false,
            first_seen_at: now,
            updated_at: now,
        };
        self.people.insert(id, nobody);
        id
    }

    fn has_other_lid(&self, id: i64, seen: &Seen) -> bool {
        let known = self.people.get(&id).and_then(|person| person.lid.as_ref());
        known.is_some() && seen.lid.is_some() && known != seen.lid.as_ref()
    }

    /// The number has passed to another person.
    fn take_phone(&mut self, from: i64, seen: &Seen, now: Time, moved: &mut Vec<(String, String)>) {
        let Some(person) = self.people.get_mut(&from).filter(|person| person.phone == seen.phone) else { return };
        let before = person.address();
        person.phone = None;
        person.updated_at = now;
        moved.push((before, person.address()));
        self.changed.insert(from);
    }

    /// Two turn out to be one. Who was stored, and longer, stays.
    fn merge(&mut self, one: i64, other: i64, moved: &mut Vec<(String, String)>) -> i64 {
        let age = |id: i64| (id < 0, id.abs());
        let (stays, goes) = if age(one) < age(other) { (one, other) } else { (other, one) };
        let (Some(gone), Some(person)) = (self.people.remove(&goes), self.people.get_mut(&stays)) else { return stays };
        let (before, was) = (person.address(), gone.address());
        let mut names = gone.names;
        names.take(&person.names);
        person.names = names;
        person.lid = person.lid.take().or(gone.lid);
        person.phone = person.phone.take().or(gone.phone);
        person.dm |= gone.dm;
        person.in_group |= gone.in_group;
        person.first_seen_at = person.first_seen_at.min(gone.first_seen_at);
        let address = person.address();
        moved.extend([before, was].into_iter().filter(|old| *old != address).map(|old| (old, address.clone())));
        for leads in self.by_address.values_mut().filter(|id| **id == goes) {
            *leads = stays;
        }
        self.changed.insert(stays);
        self.merged.push((goes, stays));
        stays
    }

    /// Whether anything is to be stored.
    pub fn is_changed(&self) -> bool {
        !(self.changed.is_empty() && self.redirected.is_empty() && self.merged.is_empty())
    }

    /// People that are not stored yet, in the order in which they were seen.
    pub fn new_people(&self) -> impl Iterator<Item = &Identity> {
        self.people.range(..0).rev().map(|(_, person)| person)
    }

    /// Stored people of which something changed.
    pub fn changed_people(&self) -> impl Iterator<Item = &Identity> {
        self.people.range(0..).filter(|(id, _)| self.changed.contains(id)).map(|(_, person)| person)
    }

    /// Stored people who turned out to be others: who, and whom.
    pub fn merged(&self) -> impl Iterator<Item = (i64, i64)> {
        self.merged.iter().copied().filter(|(gone, _)| *gone > 0)
    }

    /// Who somebody is now, that was told before others were learned.
    pub fn current(&self, id: i64) -> i64 {
        self.merged.iter().fold(id, |id, (gone, stays)| if *gone == id { *stays } else { id })
    }

    /// Addresses that lead to somebody else than is stored, and to whom.
    pub fn redirected(&self) -> impl Iterator<Item = (&str, i64)> {
        self.redirected.iter().filter_map(|address| Some((address.as_str(), *self.by_address.get(address)?)))
    }
}

#[cfg(test)]
#[path = "identity/tests.rs"]
mod tests;
