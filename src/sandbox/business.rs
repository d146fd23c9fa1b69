//! What a business says about itself.

use serde::{Deserialize, Serialize};

use super::{Phone, Sandbox};
use crate::domain::jid::phone_digits;
use crate::error::{Error, Result};

/// The longest text of a profile, in bytes.
const MAX_TEXT: usize = 512;

/// How many websites, categories or opening hours a profile has at most.
const MAX_PARTS: usize = 21;

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// A business's profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusinessProfile {
    /// The name that WhatsApp has verified.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// Where to write to.
    #[serde(default)]
    pub email: String,
    /// Where it is.
    #[serde(default)]
    pub address: String,
    /// Its addresses in the web.
    #[serde(default)]
    pub websites: Vec<String>,
    /// What kind of business it is.
    #[serde(default)]
    pub categories: Vec<String>,
    /// The time zone of the opening hours, such as `Asia/Jakarta`.
    #[serde(default)]
    pub timezone: String,
    /// When it is open; a day that is not named it is closed.
    #[serde(default)]
    pub hours: Vec<OpeningHours>,
}

/// When a business is open on a day of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningHours {
    /// Which day.
    pub day: Weekday,
    /// From when to when, in minutes since midnight; all day when absent.
    #[serde(default)]
    pub between: Option<(u32, u32)>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the days speak for themselves")]
pub enum Weekday {
    Sun,
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
}

impl BusinessProfile {
    /// Refuses what no business could say.
    pub(super) fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::field("profile.name", "a business has a name"));
        }
        let parts = [("profile.websites", &self.websites), ("profile.categories", &self.categories)];
        if let Some((field, _)) = parts.iter().find(|(_, parts)| parts.len() > MAX_PARTS) {
            return Err(Error::field(*field, format!("must be at most {MAX_PARTS}")));
        }
        let texts = [&self.name, &self.description, &self.email, &self.address, &self.timezone];
        let mut texts = texts.into_iter().chain(&self.websites).chain(&self.categories);
        if texts.any(|text| text.len() > MAX_TEXT) {
            return Err(Error::field("profile", format!("each text has at most {MAX_TEXT} bytes")));
        }
        let backwards = |hours: &OpeningHours| hours.between.is_some_and(|(from, to)| from >= to || to > DAY);
        if self.hours.len() > MAX_PARTS || self.hours.iter().any(backwards) {
            return Err(Error::field("profile.hours", "opening hours are minutes of one day, the later one behind the earlier"));
        }
        Ok(())
    }
}

impl Sandbox {
    /// Makes the account a business's, changes what it says about itself, or makes it a person's again; those who know it are told.
    /// Fails when there is no such phone and when no business could say so.
    pub async fn set_business(&self, number: &str, profile: Option<BusinessProfile>) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        profile.as_ref().map_or(Ok(()), BusinessProfile::check)?;
        self.lasting(|world| {
            world.known(&number)?;
            world.set_business(&number, profile);
            world.phone(&number)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_checked() {
        let good = BusinessProfile {
            name: "Bakery".into(),
            hours: vec![OpeningHours { day: Weekday::Mon, between: Some((420, 720)) }],
            ..BusinessProfile::default()
        };
        good.check().unwrap();
        let bad = [
            BusinessProfile { name: String::new(), ..good.clone() },
            BusinessProfile { description: "x".repeat(MAX_TEXT + 1), ..good.clone() },
            BusinessProfile { websites: vec![String::new(); MAX_PARTS + 1], ..good.clone() },
            BusinessProfile { hours: vec![OpeningHours { day: Weekday::Mon, between: Some((720, 420)) }], ..good.clone() },
            BusinessProfile { hours: vec![OpeningHours { day: Weekday::Mon, between: Some((0, DAY + 1)) }], ..good },
        ];
        for profile in bad {
            profile.check().unwrap_err();
        }
    }
}
