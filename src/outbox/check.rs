//! Whether numbers are on WhatsApp: from what was asked within a day, otherwise by asking. A first message to a number that nobody uses
//! helps no one, and WhatsApp counts such messages against their sender.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::clock::Time;
use crate::domain::identity::{Names, Seen};
use crate::domain::ids::SessionId;
use crate::domain::jid::Address;
use crate::error::Result;
use crate::store::Db;
use crate::wa::connection::Sender;

/// How long WhatsApp's word about a number is remembered.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long a caller waits for its turn to ask WhatsApp.
const PATIENCE: Duration = Duration::from_secs(20);

/// For each of these numbers, in digits, the address of who uses it, or `None` when nobody does. `sender` gives the way to ask and is
/// called only when there is something to ask.
///
/// # Errors
/// What `sender` says when there is no connection, and what WhatsApp answers instead of an answer.
pub async fn registered(
    db: &Db,
    session: &SessionId,
    numbers: &[String],
    now: Time,
    sender: impl FnOnce() -> Result<Sender>,
) -> Result<HashMap<String, Option<String>>> {
    let mut answers = HashMap::with_capacity(numbers.len());
    let mut missing: Vec<String> = Vec::new();
    for digits in numbers {
        match db.contact_check(session, digits, now.minus(LIFE)).await? {
            Some((_, jid)) => drop(answers.insert(digits.clone(), jid)),
            None if !missing.contains(digits) => missing.push(digits.clone()),
            None => {}
        }
    }
    if missing.is_empty() {
        return Ok(answers);
    }
    let sender = sender()?;
    let checked = sender.ask(PATIENCE, sender.check_phones(&missing)).await?;
    let mut tx = db.begin().await?;
    for digits in missing {
        let found = checked.iter().find(|one| one.registered && one.phone == digits);
        let phone_jid = Address::phone(digits.as_str()).to_string();
        if let Some(found) = found {
            let names = Names { business: found.business_name.clone(), ..Names::default() };
            let addresses = [Some(phone_jid.as_str()), found.lid.as_deref()];
            // Being asked for makes nobody a contact; but whoever is one, or becomes one, has a LID from now on.
            if let Some(seen) = Seen::new(addresses.into_iter().flatten(), names, None)
                && (found.lid.is_some() || tx.identity(session, &phone_jid).await?.is_some())
            {
                tx.learn_one(session, &seen, now).await?;
            }
        }
        let jid = found.map(|_| phone_jid);
        tx.remember_check(session, &digits, jid.as_deref(), now).await?;
        answers.insert(digits, jid);
    }
    tx.commit().await?;
    Ok(answers)
}
