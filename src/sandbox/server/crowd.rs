//! Crowds: many people and groups at once, for whoever wants to see what a large account does to a gateway.

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::World;
use super::group::{Description, Role};
use crate::error::Result;
use crate::sandbox::Phone;
use crate::sandbox::keys::hex;

/// The first number of a crowd.
const FIRST: u64 = 628_770_000_000;

impl World {
    /// Founds a group with its admins and members, without telling anybody: it was there before. Gives its id.
    pub(in crate::sandbox) fn found_group(
        &mut self,
        owner: &str,
        subject: &str,
        description: &str,
        (admins, members): (&[String], &[String]),
        announcement: bool,
        dice: &mut StdRng,
    ) -> String {
        let mut group = self.new_group(owner, subject.to_owned());
        group.id = format!("120363{:012}", dice.random_range(0..1_000_000_000_000_u64));
        group.announcement = announcement;
        if !description.is_empty() {
            let (id, text) = (hex(&dice.random::<[u8; 8]>()), description.to_owned());
            group.description = Some(Description { id, text, author: owner.to_owned(), at: group.created });
        }
        for (numbers, role) in [(members, Role::Member), (admins, Role::Admin)] {
            let others = numbers.iter().filter(|number| *number != owner);
            group.members.extend(others.map(|number| (number.clone(), role)));
        }
        let id = group.id.clone();
        self.insert_group(group);
        self.touch_group(&id);
        id
    }

    /// Adds people that are not there yet, and groups that `owner` has founded among them.
    pub(in crate::sandbox) fn populate(
        &mut self,
        owner: &str,
        people: usize,
        groups: usize,
        members: usize,
    ) -> Result<Vec<Phone>> {
        self.known(owner)?;
        let numbers: Vec<String> = (FIRST..).take(people).map(|number| number.to_string()).collect();
        for (at, number) in numbers.iter().enumerate() {
            if !self.accounts.contains_key(number) {
                self.create_account(number, &format!("Person {at}"), false)?;
            }
        }
        for at in 0..groups {
            let mut group = self.new_group(owner, format!("Crowd {at}"));
            // Each group begins with another person, so that people are in several and everybody is in some.
            let others = numbers.iter().cycle().skip(at * members % people.max(1)).take(people);
            group.members.extend(others.take(members.saturating_sub(1)).map(|number| (number.clone(), Role::Member)));
            let id = group.id.clone();
            self.insert_group(group);
            self.touch_group(&id);
        }
        numbers.iter().map(|number| self.phone(number)).collect()
    }
}
