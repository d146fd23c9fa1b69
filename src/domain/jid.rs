//! WhatsApp addresses: every form that people write, one form that we answer with.

use std::fmt;

use crate::error::{Error, Result};

/// The number that a device claims towards the sandbox before it is paired. It is nobody's: country code 1 has no area code 000.
pub const PLACEHOLDER: &str = "10000000000";

/// The kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person by phone number.
    Phone,
    /// A person by LID.
    Lid,
    /// A group.
    Group,
    /// A channel.
    Newsletter,
    /// Status posts and broadcast lists.
    Broadcast,
}

impl Kind {
    fn server(self) -> &'static str {
        match self {
            Self::Phone => "s.whatsapp.net",
            Self::Lid => "lid",
            Self::Group => "g.us",
            Self::Newsletter => "newsletter",
            Self::Broadcast => "broadcast",
        }
    }
}

/// An address in its one canonical form, `user@server`, without a device part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What it addresses.
    pub kind: Kind,
    /// The part before the `@`.
    pub user: String,
}

impl Address {
    /// A person by number in digits.
    pub fn phone(digits: impl Into<String>) -> Self {
        Self { kind: Kind::Phone, user: digits.into() }
    }

    /// Reads what a caller wrote in `field`: digits, `+E.164` with spaces, brackets and dashes, or `user@server` with any server that
    /// WhatsApp's clients use.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        let Some((user, server)) = text.split_once('@') else {
            return phone_digits(field, text).map(Self::phone);
        };
        // A device part (`:7`) or an agent part (`.0`) is of no use to callers.
        let user = user.split([':', '.']).next().unwrap_or(user);
        let kind = match server {
            "s.whatsapp.net" | "c.us" => return phone_digits(field, user).map(Self::phone),
            "lid" => Kind::Lid,
            "g.us" => Kind::Group,
            "newsletter" => Kind::Newsletter,
            "broadcast" => Kind::Broadcast,
            _ => {
                let hint = "use a phone number, or an address that ends in @s.whatsapp.net, @c.us, @lid, @g.us or @newsletter";
                return Err(Error::field(field, format!("unknown kind of address; {hint}")));
            }
        };
        let fits = match kind {
            Kind::Lid | Kind::Newsletter => user.bytes().all(|b| b.is_ascii_digit()),
            Kind::Group => user.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
            Kind::Phone | Kind::Broadcast => user.bytes().all(|b| b.is_ascii_alphanumeric()),
        };
        if user.is_empty() || !fits || user.len() > 64 {
            return Err(Error::field(field, format!("the part before @{server} is not an id of that kind")));
        }
        Ok(Self { kind, user: user.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.kind.server())
    }
}

/// Reads a phone number as people write it and gives its digits with country code.
pub fn phone_digits(field: &str, text: &str) -> Result<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let clean = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')' | '.' | '\u{a0}'));
    if !clean || text.rfind('+').is_some_and(|at| at > 0) {
        return Err(Error::field(field, "not a phone number; write it with country code, such as +62 812 3456 7890"));
    }
    if !(7..=15).contains(&digits.len()) {
        let hint = "a phone number has 7 to 15 digits with country code; a group's id ends in @g.us";
        return Err(Error::field(field, hint));
    }
    if digits.starts_with('0') {
        return Err(Error::field(field, "starts with 0; write the country code instead, such as +62 for 0812…"));
    }
    Ok(digits)
}

/// A number or address shortened for the log: the first two and last two characters of its user part.
pub fn shortened(text: &str) -> String {
    let (user, server) = text.split_once('@').unwrap_or((text, ""));
    let chars: Vec<char> = user.chars().collect();
    let at = if server.is_empty() { "" } else { "@" };
    if chars.len() <= 4 {
        return format!("…{at}{server}");
    }
    let (head, tail): (String, String) = (chars[..2].iter().collect(), chars[chars.len() - 2..].iter().collect());
    format!("{head}…{tail}{at}{server}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_form_of_a_number_is_one_address() {
        for text in
            ["6281234567890", "+62 812-3456-7890", "(+62) 81234567890", "6281234567890@c.us", "6281234567890:7@s.whatsapp.net"]
        {
            let parsed = Address::parse("to", text).map(|a| a.to_string());
            if text.starts_with('(') {
                assert!(parsed.is_err(), "{text}: a plus sign inside is refused");
            } else {
                assert_eq!(parsed.ok().as_deref(), Some("6281234567890@s.whatsapp.net"), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_field() {
        for text in ["", "abc", "123", "0812345678", "1234567890123456", "x@example.org", "@g.us", "a b@lid"] {
            let error = Address::parse("to", text).err();
            assert_eq!(error.map(|e| e.fields[0].field.clone()).as_deref(), Some("to"), "{text}");
        }
    }

    #[test]
    fn the_log_shows_only_the_ends_of_a_number() {
        assert_eq!(shortened("6281234567890@s.whatsapp.net"), "62…90@s.whatsapp.net");
        assert_eq!(shortened("123"), "…");
    }
}
