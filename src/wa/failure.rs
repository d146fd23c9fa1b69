//! What it means to a caller when WhatsApp does not do what was asked.

use std::time::Duration;

use whatsapp_rust::CallError;
use whatsapp_rust::client::ClientError;
use whatsapp_rust::features::{
    AppStateError, BlockingError, ChatStateError, CommunityError, ContactError, GroupError, MexError, NewsletterError,
    PresenceError, ProfileError,
};
use whatsapp_rust::request::IqError;
use whatsapp_rust::send::SendError;

use crate::error::{Code, Error};

/// Why a question was not answered, in the library's terms.
#[derive(Debug)]
pub enum Refused {
    /// By the server, or by the connection.
    Iq(IqError),
    /// By the library: the question is no question.
    Invalid(String),
    /// Somebody else changed it meanwhile.
    Changed,
    /// For another reason.
    Other(anyhow::Error),
}

/// Why a message did not leave.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// It cannot be sent to this recipient; trying again does not help.
    #[error("{0}")]
    Refused(#[source] SendError),
    /// The connection, or something on the way, failed; it may have left or not.
    #[error("{0}")]
    Broken(#[source] SendError),
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        let refused = match &error {
            SendError::InvalidRequest(_) => true,
            SendError::Iq(IqError::ServerError { code, .. }) => (400..500).contains(code) && *code != 429,
            _ => false,
        };
        if refused { Self::Refused(error) } else { Self::Broken(error) }
    }
}

impl Refused {
    /// Whether the server wants fewer questions, and for how long it wants to be left alone.
    pub fn is_too_much(&self) -> Option<Option<Duration>> {
        match self {
            Self::Iq(IqError::ServerError { code: 429, backoff, .. }) => Some(backoff.map(|s| Duration::from_secs(s.into()))),
            _ => None,
        }
    }
}

impl From<IqError> for Refused {
    fn from(error: IqError) -> Self {
        Self::Iq(error)
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<IqError>() {
            Ok(iq) => Self::Iq(iq),
            Err(other) => Self::Other(other),
        }
    }
}

impl From<GroupError> for Refused {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Iq(iq) => Self::Iq(iq),
            GroupError::InvalidRequest(text) => Self::Invalid(text),
            GroupError::DescriptionConflict => Self::Changed,
            GroupError::Internal(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<CommunityError> for Refused {
    fn from(error: CommunityError) -> Self {
        match error {
            CommunityError::Iq(iq) => Self::Iq(iq),
            CommunityError::Group(group) => group.into(),
            CommunityError::InvalidRequest(text) => Self::Invalid(text),
            CommunityError::Mex(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<MexError> for Refused {
    fn from(error: MexError) -> Self {
        // GraphQL's refusals have the codes that those of other questions have.
        let refused = |code, text| Self::Iq(IqError::ServerError { code, text, error_type: None, backoff: None });
        match error {
            MexError::ExtensionError { code, message } => refused(u16::try_from(code).unwrap_or(500), message),
            MexError::Request(IqError::ParseError(error)) => match mex_code(&error.to_string()) {
                Some(code) => refused(code, String::new()),
                None => Self::Iq(IqError::ParseError(error)),
            },
            MexError::Request(iq) => Self::Iq(iq),
            other => Self::Other(other.into()),
        }
    }
}

impl From<ContactError> for Refused {
    fn from(error: ContactError) -> Self {
        match error {
            ContactError::Iq(iq) => Self::Iq(iq),
            ContactError::InvalidJid(text) => Self::Invalid(text),
            other => Self::Other(other.into()),
        }
    }
}

impl From<BlockingError> for Refused {
    fn from(error: BlockingError) -> Self {
        match error {
            BlockingError::Iq(iq) => Self::Iq(iq),
            BlockingError::InvalidJid(text) => Self::Invalid(text),
            BlockingError::Internal(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Iq(iq) => Self::Iq(iq),
            ClientError::Internal(error) => error.into(),
            other => Self::Iq(IqError::ClientState(Box::new(other))),
        }
    }
}

impl From<PresenceError> for Refused {
    fn from(error: PresenceError) -> Self {
        match error {
            PresenceError::Client(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<ChatStateError> for Refused {
    fn from(error: ChatStateError) -> Self {
        match error {
            ChatStateError::Client(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Send(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<ProfileError> for Refused {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Iq(iq) => Self::Iq(iq),
            ProfileError::Client(error) => error.into(),
            ProfileError::InvalidArgument(text) => Self::Invalid(text),
            ProfileError::Internal(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<AppStateError> for Refused {
    fn from(error: AppStateError) -> Self {
        match error {
            AppStateError::InvalidRequest(text) => Self::Invalid(text),
            AppStateError::Internal(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<NewsletterError> for Refused {
    fn from(error: NewsletterError) -> Self {
        match error {
            NewsletterError::Iq(iq) => Self::Iq(iq),
            NewsletterError::Mex(error) => error.into(),
            NewsletterError::Client(error) => error.into(),
            NewsletterError::InvalidRequest(text) => Self::Invalid(text),
            NewsletterError::Internal(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Iq(IqError::ServerError { code, text, .. }) => by_code(code, &text),
            Refused::Iq(IqError::Timeout) => Self::new(Code::Timeout, "WhatsApp did not answer in time").reason("no_answer"),
            Refused::Iq(error @ (IqError::ParseError(_) | IqError::EncodeError(_) | IqError::UnexpectedResponseType { .. })) => {
                Self::internal(error)
            }
            Refused::Iq(error) => Self::new(Code::SessionNotConnected, "the connection to WhatsApp was lost")
                .reason("connection_lost")
                .because(error),
            Refused::Invalid(text) => Self::new(Code::Validation, text).reason("refused_by_whatsapp"),
            Refused::Changed => Self::new(Code::Conflict, "somebody else changed it meanwhile").reason("changed_meanwhile"),
            Refused::Other(error) => Self::internal(error),
        }
    }
}

/// The code in the library's sentence about a refusal, `MEX fatal error (query=…, code=404): …`: it has no other form for it.
fn mex_code(text: &str) -> Option<u16> {
    let (_, rest) = text.strip_prefix("MEX fatal error (")?.split_once("code=")?;
    rest.split_once(')')?.0.parse().ok()
}

/// WhatsApp's error codes are those of HTTP as far as they have a meaning there.
fn by_code(code: u16, text: &str) -> Error {
    let (kind, message) = match code {
        401 | 403 | 405 => (Code::Forbidden, "WhatsApp does not allow this to the session's account"),
        404 | 410 => (Code::NotFound, "WhatsApp does not know it"),
        409 => (Code::Conflict, "WhatsApp refused it because of how things stand"),
        400 | 406 => (Code::Validation, "WhatsApp refused it"),
        429 => (Code::RateLimited, "WhatsApp wants fewer questions for now"),
        501 => (Code::NotImplemented, "WhatsApp does not offer this to the session's account"),
        _ => (Code::Unavailable, "WhatsApp could not do it now"),
    };
    let text = if text.is_empty() { "no text" } else { text };
    Error::new(kind, message).reason("refused_by_whatsapp").detail("whatsappCode", code).detail("whatsappText", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_graphql_keep_their_code() {
        assert_eq!(mex_code("MEX fatal error (query=WAWebMexFetch, code=404): there is no such channel"), Some(404));
        for text in ["MEX fatal error (query=x, code=99999): y", "Missing <result> node in MEX response", "code=404)"] {
            assert_eq!(mex_code(text), None, "{text}");
        }
    }
}
