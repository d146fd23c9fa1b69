//! The phones' pasts, for those who make them from outside.

use super::Sandbox;
use super::server::account::Place;
use crate::domain::jid::phone_digits;
use crate::error::{Error, Result};

pub use super::phone::history::Past;

impl Sandbox {
    /// Gives a phone a past with people from 628770000000 on, drawn from a seed, and these the same; gives the number of messages.
    /// Fails when there is no such phone, and when it would have more than 10,000 messages.
    pub async fn generate_history(&self, number: &str, past: Past) -> Result<usize> {
        let number = phone_digits("phoneNumber", number)?;
        let sandbox = self.clone();
        let drawn = tokio::task::spawn_blocking(move || sandbox.inner.act(|world| world.draw_past(&number, past)));
        let drawn = drawn.await.map_err(Error::internal)??;
        self.inner.settled().await;
        Ok(drawn)
    }

    /// The phone sends a linked device, or all (`device` 0), its history once more. Fails when there is no such phone or device.
    pub async fn send_history(&self, number: &str, device: u16) -> Result<()> {
        let number = phone_digits("phoneNumber", number)?;
        self.inner.act(|world| {
            let account = world.known(&number)?;
            let devices: Vec<u16> = account.devices.keys().copied().filter(|id| device == 0 || *id == device).collect();
            if devices.is_empty() {
                return Err(Error::not_found("device"));
            }
            for device in devices {
                world.phone_sends_history(&Place { number: number.clone(), device });
            }
            Ok(())
        })?;
        self.inner.settled().await;
        Ok(())
    }
}
