//! Labels, with which WhatsApp Business sorts chats.

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its id within the account.
    pub id: String,
    /// Its name.
    pub name: String,
    /// WhatsApp's number of its colour.
    pub color: i64,
    /// How many chats have it.
    pub chats: i64,
}

/// What became of labels on some device of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelNews {
    /// One was made or changed.
    Set {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// Its colour.
        color: i64,
    },
    /// One was deleted.
    Deleted {
        /// Its id.
        id: String,
    },
    /// A chat was given one, or was taken one.
    Assigned {
        /// The label's id.
        id: String,
        /// The chat.
        chat: String,
        /// Whether the chat has it now.
        on: bool,
    },
}
