//! The passkey step of a pairing, which WhatsApp asks for with some accounts. What is asked stands in the session's state.

use std::time::Duration;

use super::Service;
use crate::domain::ids::SessionId;
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Reason;
use crate::error::{Code, Error, Result};
use crate::session::actor::Command;
use crate::wa::connection::Sender;
use crate::wa::passkey::{Proof, Refused};

/// How long WhatsApp may take to answer.
const LIMIT: Duration = Duration::from_secs(30);

impl Service {
    /// Gives WhatsApp the WebAuthn assertion (JSON) that it asked for.
    pub async fn answer_passkey(&self, caller: &Principal, id: &SessionId, assertion: &str) -> Result<()> {
        caller.require(Capability::Manage)?;
        self.get_session(caller, id).await?;
        let proof = Proof::parse(assertion).map_err(|why| Error::field("assertion", why))?;
        let sender = self.passkey_step(id, Reason::PasskeyRequired)?;
        in_time(sender.answer_passkey(proof)).await?;
        self.0.supervisor.command(id, Command::PasskeySent);
        Ok(())
    }

    /// Says that the code is the one that the phone shows; the phone links the device then.
    pub async fn confirm_passkey(&self, caller: &Principal, id: &SessionId) -> Result<()> {
        caller.require(Capability::Manage)?;
        self.get_session(caller, id).await?;
        let sender = self.passkey_step(id, Reason::PasskeyConfirm)?;
        in_time(sender.confirm_passkey()).await
    }

    /// The way to answer, when the session is where this answer is asked for.
    fn passkey_step(&self, id: &SessionId, wanted: Reason) -> Result<Sender> {
        let live = self.0.supervisor.live(id);
        let sender = live.and_then(|live| {
            let live = live.borrow();
            live.sender.clone().filter(|_| live.state.reason == wanted)
        });
        let message = "WhatsApp does not wait for this now; see the session's statusDetail";
        sender.ok_or_else(|| Error::new(Code::Conflict, message).reason("not_asked_for").detail("needs", wanted.word()))
    }
}

async fn in_time(work: impl Future<Output = Result<(), Refused>>) -> Result<()> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => {
            Err(Error::new(Code::Conflict, "WhatsApp did not take the answer; try again").reason("passkey_refused").because(e))
        }
        Err(_) => Err(Error::new(Code::Timeout, "WhatsApp did not answer in time; try again")),
    }
}
