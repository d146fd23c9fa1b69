//! What an account shows of itself, and to whom.

/// The profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The number in digits.
    pub phone_number: String,
    /// The name that others see.
    pub name: Option<String>,
    /// What the account tells about itself.
    pub about: Option<String>,
    /// The picture's id and where it can be had for a while.
    pub picture: Option<(String, String)>,
}

/// What to change of it; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// The name.
    pub name: Option<String>,
    /// The text; the empty one removes it.
    pub about: Option<String>,
    /// A JPEG; no bytes remove the picture.
    pub picture: Option<Vec<u8>>,
}

/// The privacy settings there are: our name, and WhatsApp's.
pub const PRIVACY: [(&str, &str); 8] = [
    ("lastSeen", "last"),
    ("online", "online"),
    ("picture", "profile"),
    ("about", "status"),
    ("groupAdd", "groupadd"),
    ("readReceipts", "readreceipts"),
    ("callAdd", "calladd"),
    ("messages", "messages"),
];

/// Privacy settings in the order of [`PRIVACY`], in WhatsApp's words; what is absent is not known, or stays.
pub type Privacy = [Option<String>; 8];
