//! Businesses: their profiles, and the certificate of their name.

use buffa::Message as _;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;
use waproto::whatsapp::verified_name_certificate::Details;

use super::World;
use super::account::Account;
use crate::sandbox::business::{BusinessProfile, Weekday};
use crate::sandbox::wire::node::{children, el, jid};

impl World {
    /// Answers `<business_profile>`: what those among the named say who are businesses.
    pub(super) fn business_profiles(&self, wish: &Node) -> Node {
        let named = children(wish).iter().filter_map(|wanted| jid(wanted, "jid"));
        let profiles = named.filter_map(|jid| {
            let account = self.number_of(&jid).and_then(|number| self.accounts.get(&number))?;
            Some(shown(&jid, account.business.as_ref()?))
        });
        el("business_profile").children(profiles).build()
    }

    /// Changes what an account says about its business, and tells those who know it.
    pub(in crate::sandbox) fn set_business(&mut self, number: &str, profile: Option<BusinessProfile>) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        account.business = profile;
        let from = account.jid(0, self.lid_addressing);
        let (jid, peers) = (from.clone(), account.peers.iter().cloned().collect::<Vec<String>>());
        let mut news = Vec::new();
        match account.business {
            Some(_) => {
                news.extend(verified_name(account).map(|mut name| {
                    name.attrs.insert("jid", jid);
                    name
                }));
                news.push(el("profile").build());
            }
            None => news.push(el("remove").attr("jid", jid).build()),
        }
        self.touch_account(number);
        // Each is news of its own.
        for part in news {
            let notification = el("notification")
                .attr("from", from.clone())
                .attr("type", "business")
                .attr("id", self.stanza_id())
                .attr("t", self.now_secs().to_string())
                .children([part])
                .build();
            self.tell_devices(&peers, &notification);
        }
    }
}

/// The certificate of a business's name.
pub(super) fn verified_name(account: &Account) -> Option<Node> {
    let profile = account.business.as_ref()?;
    let details = Details {
        serial: Some(u64::from(account.raw_id)),
        issuer: Some("smb:wa".to_owned()),
        verified_name: Some(profile.name.clone()),
        ..Default::default()
    };
    let certificate = wa::VerifiedNameCertificate { details: Some(details.encode_to_vec()), ..Default::default() };
    Some(el("verified_name").attr("v", "2").bytes(certificate.encode_to_vec()).build())
}

/// Puts a business's name on its message; a person's stays as it is.
pub(super) fn vouch(sender: &Account, message: NodeBuilder, parts: &mut Vec<Node>) -> NodeBuilder {
    let Some(name) = verified_name(sender) else { return message };
    parts.push(name);
    message.attr("verified_name", sender.raw_id.to_string()).attr("verified_level", "unknown")
}

fn shown(jid: &Jid, profile: &BusinessProfile) -> Node {
    let texts = [("description", &profile.description), ("email", &profile.email), ("address", &profile.address)];
    let texts = texts.into_iter().chain(profile.websites.iter().map(|website| ("website", website)));
    let mut parts: Vec<Node> =
        texts.filter(|(_, said)| !said.is_empty()).map(|(tag, said)| el(tag).string_content(said.clone()).build()).collect();
    let category =
        |(at, name): (usize, &String)| el("category").attr("id", (at + 1).to_string()).string_content(name.clone()).build();
    if !profile.categories.is_empty() {
        parts.push(el("categories").children(profile.categories.iter().enumerate().map(category)).build());
    }
    if !profile.hours.is_empty() {
        let hours = profile.hours.iter().map(|hours| {
            let config = el("business_hours_config").attr("day_of_week", day(hours.day));
            match hours.between {
                None => config.attr("mode", "open_24h"),
                Some((from, to)) => {
                    config.attr("mode", "specific_hours").attr("open_time", from.to_string()).attr("close_time", to.to_string())
                }
            }
            .build()
        });
        parts.push(el("business_hours").attr("timezone", profile.timezone.clone()).children(hours).build());
    }
    el("profile").attr("jid", jid.to_non_ad()).children(parts).build()
}

fn day(day: Weekday) -> &'static str {
    match day {
        Weekday::Sun => "sun",
        Weekday::Mon => "mon",
        Weekday::Tue => "tue",
        Weekday::Wed => "wed",
        Weekday::Thu => "thu",
        Weekday::Fri => "fri",
        Weekday::Sat => "sat",
    }
}
