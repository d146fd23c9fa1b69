//! Gateways on one database wake each other's followers and webhook workers.
//!
//! A wake is said after its commit and not within, where PostgreSQL would let commits wait for each other; wakes of the meantime go as
//! one word. One that is lost costs time only: followers and workers look into the table by themselves now and then.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::hub::{Hub, Rung};
use crate::domain::clock::Ambient;
use crate::domain::ids::OrganizationId;
use crate::error::Result;
use crate::store::{Db, Ear};

/// After how long a database that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// About how many bytes of names go into one word.
const WORD: usize = 4000;

/// What one gateway says to the others.
#[derive(Serialize, Deserialize)]
struct Word {
    /// Who says it; a gateway has heard its own bells already.
    from: String,
    /// Whose log has grown.
    organizations: Vec<String>,
    /// Whether webhook deliveries were planned.
    deliveries: bool,
}

/// Carries wakes both ways until `end` is cancelled; then says what has not been said. On SQLite it only waits.
pub async fn run(db: Db, hub: Hub, ambient: Ambient, end: CancellationToken) {
    let me = ambient.ulid();
    let listening = async {
        loop {
            match db.hear().await {
                Ok(None) => std::future::pending().await,
                Ok(Some(ear)) => listen(ear, &hub, &me).await,
                Err(error) => {
                    tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "other gateways cannot be heard");
                }
            }
            tokio::time::sleep(PAUSE).await;
            // What was said meanwhile was not heard.
            hub.ring_all();
        }
    };
    let speaking = async {
        loop {
            let rung = hub.rung().await;
            speak(&db, &me, rung).await;
        }
    };
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = listening => {}
        () = speaking => {}
    }
    speak(&db, &me, hub.take_rung()).await;
}

/// Hears others until the database fails.
async fn listen(mut ear: Ear, hub: &Hub, me: &str) {
    loop {
        match ear.next().await {
            Ok(Some(said)) => match serde_json::from_str::<Word>(&said) {
                Ok(word) if word.from != me => {
                    for organization in word.organizations {
                        hub.ring(&OrganizationId::new(organization));
                    }
                    if word.deliveries {
                        hub.ring_deliveries();
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "an unknown word of another gateway"),
            },
            Ok(None) => hub.ring_all(),
            Err(error) => {
                tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "other gateways are not heard any more");
                return;
            }
        }
    }
}

async fn speak(db: &Db, me: &str, rung: Rung) {
    for word in words(me, rung) {
        if let Err(error) = say(db, &word).await {
            tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "other gateways could not be told of events");
            return;
        }
    }
}

async fn say(db: &Db, word: &Word) -> Result<()> {
    db.say(&serde_json::to_string(word).map_err(crate::error::Error::internal)?).await
}

/// One word, or several where one would be too long.
fn words(me: &str, rung: Rung) -> Vec<Word> {
    let word = |deliveries| Word { from: me.to_owned(), organizations: Vec::new(), deliveries };
    let (mut all, mut length) = (Vec::new(), 0);
    if rung != Rung::default() {
        all.push(word(rung.deliveries));
    }
    for organization in rung.organizations {
        let name = organization.as_str();
        // Escapes make a character six bytes at most; a name too long for any word waits for the others' own look.
        let bytes = name.len() * 6;
        if bytes > WORD {
            continue;
        }
        if length + bytes > WORD {
            all.push(word(false));
            length = 0;
        }
        length += bytes;
        if let Some(last) = all.last_mut() {
            last.organizations.push(name.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_make_several_words_and_none_is_too_long_for_postgres() {
        let organizations = (0..2000).map(|n| OrganizationId::new(format!("org \u{1}{n}\"")));
        let all = words("me", Rung { organizations: organizations.collect(), deliveries: true });
        assert!(all.len() > 1 && all[0].deliveries && !all[1].deliveries);
        assert_eq!(all.iter().map(|word| word.organizations.len()).sum::<usize>(), 2000);
        for word in all {
            assert!(serde_json::to_string(&word).unwrap().len() < 8000);
        }
        assert!(words("me", Rung::default()).is_empty());
    }
}
