use proptest::prelude::*;

use super::*;

const NOW: Time = Time(1_760_000_000_000);
const LID: &str = "205227043110953@lid";
const PHONE: &str = "6281234567890@s.whatsapp.net";

fn seen(addresses: &[&str], push: Option<&str>) -> Seen {
    Seen::new(addresses.iter().copied(), Names::push(push), Some(Source::Dm)).unwrap_or_default()
}

/// The people that a directory has, whoever is stored and whoever is not.
fn people(directory: &Directory) -> Vec<Identity> {
    directory.people.values().cloned().collect()
}

#[test]
fn what_addresses_nobody_is_nobody() {
    for address in ["120363000000000001@g.us", "status@broadcast", "", "abc"] {
        assert_eq!(Seen::new([address], Names::default(), None), None, "{address}");
    }
    let seen = Seen::new(["6281234567890:17@s.whatsapp.net", "205227043110953:3@lid"], Names::default(), None);
    assert_eq!(seen.map(|seen| seen.addresses().collect::<Vec<_>>()), Some(vec![LID.to_owned(), PHONE.to_owned()]));
}

#[test]
fn a_number_that_passes_on_takes_nobody_along() {
    let mut directory = Directory::default();
    let old = directory.learn(&seen(&[LID, PHONE], Some("Ana")), NOW);
    let new = directory.learn(&seen(&["111@lid", PHONE], Some("Ben")), NOW);
    assert_ne!(old.id, new.id);
    assert_eq!(
        (new.address.as_str(), new.moved),
        (PHONE, vec![(PHONE.to_owned(), LID.to_owned())]),
        "Ana is told by her LID now"
    );
    let again = directory.learn(&seen(&[LID], None), NOW);
    assert_eq!((again.id, again.address.as_str()), (old.id, LID));
    let by_number = directory.learn(&seen(&[PHONE], None), NOW);
    assert_eq!(by_number.id, new.id);
}

#[test]
fn somebody_with_a_new_number_is_the_same() {
    let mut directory = Directory::default();
    let old = directory.learn(&seen(&[LID, PHONE], Some("Ana")), NOW);
    let new = directory.learn(&seen(&[LID, "4915112345678@s.whatsapp.net"], None), NOW);
    assert_eq!(new.id, old.id);
    assert_eq!(new.moved, [(PHONE.to_owned(), "4915112345678@s.whatsapp.net".to_owned())]);
    // News under the old number that was long on its way changes nothing.
    let late = directory.learn(&seen(&[PHONE], None), NOW);
    assert_eq!((late.id, late.address), (old.id, "4915112345678@s.whatsapp.net".to_owned()));
}

#[test]
fn blanks_never_overwrite_a_name() {
    let mut directory = Directory::default();
    directory.learn(&seen(&[LID], Some("Ana")), NOW);
    for blank in [None, Some(""), Some("  ")] {
        assert!(!directory.learn(&seen(&[LID], blank), NOW).changed);
    }
    assert_eq!(people(&directory)[0].name(), Some("Ana"));
    assert!(directory.learn(&seen(&[LID], Some("Ana Maria")), NOW).changed);
    assert_eq!(people(&directory)[0].name(), Some("Ana Maria"));
}

proptest! {
    /// The same person seen as LID, as number and as both, in every order, with a start from any stored state: one person.
    #[test]
    fn every_order_of_discovery_gives_one_person(
        mut sights in proptest::collection::vec(0..3_u8, 0..8),
        both_at in 0..8_usize,
        cut in 0..8_usize,
    ) {
        sights.insert(both_at.min(sights.len()), 2);
        let mut directory = Directory::default();
        let mut told = HashMap::new();
        for (at, sight) in sights.iter().enumerate() {
            // At some point all is stored and read again: ids become positive, and nothing is different.
            if at == cut {
                let (people, aliases) = (directory.people.clone(), directory.by_address.clone());
                directory = Directory::new(
                    people.into_values().map(|person| Identity { id: person.id.abs(), ..person }),
                    aliases.into_iter().map(|(address, id)| (address, id.abs())),
                );
                told = told.into_iter().map(|(address, id): (String, i64)| (address, id.abs())).collect();
            }
            let addresses: &[&str] = match sight { 0 => &[LID], 1 => &[PHONE], _ => &[LID, PHONE] };
            let learned = directory.learn(&seen(addresses, None), NOW);
            for (from, to) in learned.moved {
                if let Some(id) = told.remove(&from) {
                    told.insert(to, id);
                }
            }
            told.insert(learned.address, learned.id);
        }
        let people = people(&directory);
        prop_assert_eq!(people.len(), 1);
        prop_assert_eq!((people[0].lid.as_deref(), people[0].address()), (Some(LID), PHONE.to_owned()));
        prop_assert!([LID, PHONE].iter().all(|address| directory.by_address.get(*address) == Some(&people[0].id)));
        prop_assert_eq!(told.len(), 1, "whoever follows the moves keeps one conversation");
        prop_assert!(told.contains_key(PHONE));
    }
}
