//! What businesses say about themselves, as messages.

use crate::error::{Error, Result};
use crate::proto::sandbox as proto;
use crate::sandbox::business::{BusinessProfile, OpeningHours, Weekday};

/// The days on the wire and here.
const DAYS: [(proto::Weekday, Weekday); 7] = [
    (proto::Weekday::Sun, Weekday::Sun),
    (proto::Weekday::Mon, Weekday::Mon),
    (proto::Weekday::Tue, Weekday::Tue),
    (proto::Weekday::Wed, Weekday::Wed),
    (proto::Weekday::Thu, Weekday::Thu),
    (proto::Weekday::Fri, Weekday::Fri),
    (proto::Weekday::Sat, Weekday::Sat),
];

impl From<BusinessProfile> for proto::BusinessProfile {
    fn from(profile: BusinessProfile) -> Self {
        let BusinessProfile { name, description, email, address, websites, categories, timezone, hours } = profile;
        let minutes = |minutes| i32::try_from(minutes).unwrap_or(i32::MAX);
        let hours = hours.into_iter().map(|hours| proto::OpeningHours {
            day: DAYS.iter().find(|(_, day)| *day == hours.day).map_or(0, |(day, _)| (*day).into()),
            opens_at: hours.between.map(|(from, _)| minutes(from)),
            closes_at: hours.between.map(|(_, to)| minutes(to)),
        });
        Self { name, description, email, address, websites, categories, timezone, hours: hours.collect() }
    }
}

/// A profile as somebody wrote it.
pub(super) fn profile(asked: proto::BusinessProfile) -> Result<BusinessProfile> {
    let proto::BusinessProfile { name, description, email, address, websites, categories, timezone, hours } = asked;
    let hours = hours.into_iter().map(opening).collect::<Result<_>>()?;
    Ok(BusinessProfile { name, description, email, address, websites, categories, timezone, hours })
}

fn opening(asked: proto::OpeningHours) -> Result<OpeningHours> {
    let day = DAYS.iter().find(|(day, _)| *day == asked.day()).map(|(_, day)| *day);
    let day = day.ok_or_else(|| Error::field("profile.hours.day", "must be a day of the week"))?;
    let minutes = |minutes: i32| u32::try_from(minutes).unwrap_or(0);
    let between = match (asked.opens_at, asked.closes_at) {
        (None, None) => None,
        (Some(from), Some(to)) => Some((minutes(from), minutes(to))),
        _ => return Err(Error::field("profile.hours", "needs both `opensAt` and `closesAt`, or neither")),
    };
    Ok(OpeningHours { day, between })
}
