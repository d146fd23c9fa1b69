//! Privacy tokens: how somebody shows that they are no stranger.
//!
//! Who writes to somebody gives them a token (`<tokens>` in the namespace `privacy`), which all devices of that account get, and renews
//! it every week. They show it (`<tctoken>`) when they write back, look at a picture or ask for presence; it is good for four weeks. Who
//! has none shows a `<cstoken>`, which says no more than that it was made by a device of the account: devices have the secret for it (the
//! NCT salt) from the history and from the app state (`nct_salt_sync`). An account whose `messages` are for its contacts alone takes
//! nothing from a stranger who shows neither (463). Phones are trusted to show what they should.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wacore::iq::tctoken::{TcTokenConfig, compute_cs_token, is_tc_token_expired_with_at, should_send_new_tc_token_with_at};
use wacore_binary::{Jid, Node};

use super::World;
use super::account::{Account, Place};
use super::iq::Answer;
use crate::sandbox::wire::node::{attr, child_bytes, el, jid};

impl World {
    /// `<tokens>`: an account trusts others, whose devices each get a token to show. The answer says nothing about them.
    pub(super) fn issue_tokens(&mut self, place: &Place, wish: &Node) -> Answer {
        for wanted in wish.get_children_by_tag("token").filter(|wanted| attr(wanted, "type") == "trusted_contact") {
            let since = attr(wanted, "t").parse().unwrap_or(0).min(self.now_secs());
            if let Some(peer) = jid(wanted, "jid").and_then(|jid| self.number_of(&jid)) {
                self.give_token(&place.number, &peer, since);
            }
        }
        Ok(Vec::new())
    }

    /// A phone wrote to somebody: it gives them a token when the last one is of another week.
    pub(in crate::sandbox) fn phone_gives_token(&mut self, number: &str, peer: &str) {
        let now = self.now_secs();
        let last = self.accounts.get(number).and_then(|account| account.trusts.get(peer)).copied();
        if should_send_new_tc_token_with_at(last.map(signed), &TcTokenConfig::default(), signed(now)) {
            self.give_token(number, peer, now);
        }
    }

    fn give_token(&mut self, number: &str, peer: &str, since: u64) {
        if number == peer || self.blocks(peer, number) {
            return;
        }
        let Some(account) = self.accounts.get_mut(number) else { return };
        account.trusts.insert(peer.to_owned(), since);
        let token = trust_token(account, peer);
        let (jid, lid) = (account.jid(0, self.lid_addressing), account.jid(0, true));
        let node = el("token").attr("type", "trusted_contact").attr("t", since.to_string()).bytes(token).build();
        let notification = el("notification")
            .attr("from", jid)
            .attr("sender_lid", lid)
            .attr("type", "privacy_token")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([el("tokens").children([node]).build()])
            .build();
        self.touch_account(number);
        self.tell_devices(&[peer.to_owned()], &notification);
    }

    /// Whether `owner` gave `other` a token that is still good.
    pub(super) fn trusts(&self, owner: &Account, other: &str) -> bool {
        let now = signed(self.now_secs());
        let since = owner.trusts.get(other).copied().map(signed);
        since.is_some_and(|since| !is_tc_token_expired_with_at(since, &TcTokenConfig::default(), now))
    }

    /// Whether this is the token that `owner` gave `other`.
    pub(super) fn is_token(&self, owner: &Account, other: &str, shown: Option<&[u8]>) -> bool {
        shown.is_some_and(|shown| shown == trust_token(owner, other)) && self.trusts(owner, other)
    }

    /// Whether the server refuses a message because its author is a stranger to an account that does not want any.
    pub(super) fn refuses_stranger(&self, from: &Place, chat: &Jid, message: &Node) -> bool {
        let (Some(owner), Some(author)) = (self.number_of(chat), self.accounts.get(&from.number)) else { return false };
        let Some(owner) = self.accounts.get(&owner).filter(|owner| owner.number != author.number) else { return false };
        let open = owner.privacy.get("messages").is_none_or(|who| who == "all");
        // What is sent to one device alone was sent before, and could not be read.
        if open || message.get_optional_child("participants").is_none() || owner.contacts.contains_key(&author.number) {
            return false;
        }
        let own = child_bytes(message, "cstoken");
        let made = compute_cs_token(&nct_salt(author), &owner.jid(0, true).to_string());
        !self.is_token(owner, &author.number, child_bytes(message, "tctoken").as_deref()) && own.is_none_or(|own| own != made)
    }
}

/// The token that an account gives to somebody; the same each time.
fn trust_token(account: &Account, peer: &str) -> Vec<u8> {
    sealed(account, peer.as_bytes()).into_iter().take(16).collect()
}

/// The secret from which an account's devices make tokens for those who gave them none.
pub(in crate::sandbox) fn nct_salt(account: &Account) -> Vec<u8> {
    sealed(account, b"nct salt")
}

fn sealed(account: &Account, text: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&account.app_state_key.0) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Ambient, Time};

    const ALICE: &str = "5511900000001";
    const BOB: &str = "5511900000002";
    const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;

    #[test]
    fn a_token_is_good_for_four_weeks_and_for_nobody_else() {
        let mut world = World::for_tests();
        for number in [ALICE, BOB] {
            world.create_account(number, "", true).unwrap();
        }
        let begin = world.ambient.now();
        world.phone_gives_token(ALICE, BOB);
        let token = trust_token(world.known(ALICE).unwrap(), BOB);
        let good = |world: &World, who: &str, shown: &[u8]| world.is_token(world.known(ALICE).unwrap(), who, Some(shown));
        assert!(good(&world, BOB, &token));
        assert!(!good(&world, BOB, &token[1..]) && !good(&world, "5511900000003", &token));
        assert!(!world.is_token(world.known(ALICE).unwrap(), BOB, None));
        // Bob trusts nobody.
        assert!(!world.is_token(world.known(BOB).unwrap(), ALICE, Some(&trust_token(world.known(BOB).unwrap(), ALICE))));
        world.ambient = Ambient::held(Time(begin.0 + 5 * WEEK));
        assert!(!good(&world, BOB, &token), "it is too old");
        world.phone_gives_token(ALICE, BOB);
        assert!(good(&world, BOB, &token), "until it is renewed");
    }
}
