//! The contract's JSON outside of a call: what is delivered to webhooks is written by the same hand as what is read.

use anyhow::Context as _;
use prost_reflect::DescriptorPool;

use crate::error::{Error, Result};
use crate::rest::plan::{Planner, Plans};
use crate::rest::writer::write;

/// Writes one kind of message.
#[derive(Debug)]
pub struct Renderer {
    plans: Plans,
    message: usize,
}

impl Renderer {
    /// Reads the message's form from an encoded `FileDescriptorSet`; `name` is its full name.
    ///
    /// # Errors
    /// Descriptors without that message.
    pub fn new(descriptors: &[u8], name: &str) -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(descriptors).context("the descriptors cannot be read")?;
        let message = pool.get_message_by_name(name).with_context(|| format!("there is no message {name}"))?;
        let mut planner = Planner::new(&pool)?;
        let message = planner.message(&message)?;
        Ok(Self { plans: planner.finish()?, message })
    }

    /// The JSON of an encoded message.
    pub fn json(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut json = Vec::with_capacity(message.len() * 2 + 64);
        let written = write(&self.plans, self.message, message, &mut json);
        written.map(|()| json).ok_or_else(|| Error::internal(anyhow::anyhow!("a message does not fit its descriptor")))
    }
}
