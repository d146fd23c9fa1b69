//! A phone changes its number: the account goes on under another one.

use wacore_binary::Jid;

use crate::error::{Code, Error, Result};
use crate::sandbox::server::World;
use crate::sandbox::server::account::{Place, lid_of};
use crate::sandbox::wire::node::el;

impl World {
    /// Moves an account to another number, and tells those who know it. Linked devices are logged out, as by the real server. Fails
    /// when the number is taken.
    pub(in crate::sandbox) fn phone_changes_number(&mut self, old: &str, new: &str) -> Result<()> {
        self.known(old)?;
        if self.accounts.contains_key(new) || new == crate::sandbox::PLACEHOLDER {
            return Err(Error::new(Code::Conflict, "a phone with this number exists already").reason("phone_exists"));
        }
        self.unlink(old, 0)?;
        let groups = self.leave_for_a_while(old);
        let keys = self.account_keys(old);
        let Some(mut account) = self.take_account(old) else { return Ok(()) };
        let old_lid = account.jid(0, true);
        new.clone_into(&mut account.number);
        account.lid = lid_of(new);
        // Sessions and keys go by address, so they begin anew.
        account.sessions.clear();
        account.sender_keys.clear();
        account.distributed.clear();
        account.peers.remove(new);
        let new_lid = account.jid(0, true);
        let peers: Vec<String> = account.peers.iter().cloned().collect();
        self.insert_account(account);
        for key in keys.into_iter().chain(self.account_keys(new)) {
            self.touch(key);
        }
        let phone = Place { number: old.to_owned(), device: 0 };
        for peer in &peers {
            self.forget_session(peer, &phone);
            let Some(account) = self.accounts.get_mut(peer) else { continue };
            account.peers.remove(old);
            account.peers.insert(new.to_owned());
            if let Some(since) = account.trusts.remove(old) {
                account.trusts.insert(new.to_owned(), since);
            }
            if account.blocked.remove(old) {
                account.blocked.insert(new.to_owned());
            }
            self.touch_account(peer);
        }
        let modify = el("modify")
            .attr("old", Jid::pn(old))
            .attr("new", Jid::pn(new))
            .attr("old_lid", old_lid)
            .attr("new_lid", new_lid)
            .build();
        let notification = el("notification")
            .attr("from", Jid::pn(old))
            .attr("type", "contacts")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([modify])
            .build();
        for peer in &peers {
            for place in self.all_devices(peer).into_iter().filter(|place| place.device != 0) {
                self.deliver(&place, notification.clone());
            }
        }
        self.return_as(new, groups);
        Ok(())
    }
}
