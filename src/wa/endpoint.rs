//! Where sessions connect, and how the sandbox is trusted.
//!
//! WhatsApp's own endpoint always goes through the library's fully verified handshake. The sandbox cannot have a certificate that the
//! library trusts, and no build of this program contains a switch that turns verification off. Instead a device that connects to the
//! sandbox is given, before its client is built, what a device has that talked to the server before: the server's static key (so the
//! client takes the IK handshake, which only a holder of that key's secret can answer) and, as long as it is not paired, a placeholder
//! number (without which the library would not take IK). A server that does not hold the pinned key cannot complete the handshake; the
//! client then falls back to the verified one and refuses it. Tests hold each of these cases.

use wacore::store::{CachedNoiseCert, CachedServerCertChain};
use wacore_binary::Jid;
use whatsapp_rust::store::Device;
use whatsapp_rust::store::persistence_manager::PersistenceManager;

use crate::domain::jid::PLACEHOLDER;

/// The end of validity in the seed. WhatsApp's own certificates end within years, so this marks a device as seeded for the sandbox.
const SEED_NOT_AFTER: i64 = i64::MAX;

/// The client version that is claimed towards the sandbox, which takes any.
const SANDBOX_VERSION: (u32, u32, u32) = (2, 3000, 1_042_742_319);

/// The sandbox as sessions see it. Address and key stand together: there is no way to have one without the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxEndpoint {
    /// Its websocket, such as `ws://127.0.0.1:8088/ws/chat`.
    pub url: String,
    /// Its static public key, against which every connection is checked.
    pub key: [u8; 32],
}

/// Where sessions connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// WhatsApp. `version` overrides the client version that the library finds by itself.
    WhatsApp {
        /// Such as `(2, 3000, 1042742319)`.
        version: Option<(u32, u32, u32)>,
    },
    /// The sandbox.
    Sandbox(SandboxEndpoint),
}

/// A device that was made for another endpoint than the configured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Paired with the sandbox, and the endpoint is WhatsApp.
    #[error(
        "this session's device was made for the sandbox and is refused towards WhatsApp; log the session out and pair it anew"
    )]
    SandboxDevice,
    /// Paired with WhatsApp, and the endpoint is the sandbox.
    #[error(
        "this session's device is paired with WhatsApp and is kept away from the sandbox; use another database for the sandbox"
    )]
    WhatsAppDevice,
}

impl Endpoint {
    /// Whether it is the sandbox.
    pub fn is_sandbox(&self) -> bool {
        matches!(self, Self::Sandbox(_))
    }

    /// The client version to claim; `None` lets the library find the current one.
    pub(super) fn version(&self) -> Option<(u32, u32, u32)> {
        match self {
            Self::WhatsApp { version } => *version,
            Self::Sandbox(_) => Some(SANDBOX_VERSION),
        }
    }

    /// Makes the device fit the endpoint, or refuses it. To be called before the client is built.
    pub(super) async fn prepare(&self, manager: &PersistenceManager) -> Result<(), Mismatch> {
        let device = manager.get_device_snapshot();
        let (seeded, paired) = (is_seeded(&device), device.account.is_some());
        match self {
            Self::WhatsApp { .. } if seeded && paired => Err(Mismatch::SandboxDevice),
            Self::WhatsApp { .. } if seeded => {
                // Never paired: forget the seed and go the verified way.
                manager
                    .modify_device(|device| {
                        device.server_cert_chain = None;
                        device.pn = None;
                    })
                    .await;
                Ok(())
            }
            Self::WhatsApp { .. } => Ok(()),
            Self::Sandbox(_) if paired && !seeded => Err(Mismatch::WhatsAppDevice),
            Self::Sandbox(sandbox) => {
                // At every start, because the library forgets the chain when an answer could not be decrypted.
                let cert = CachedNoiseCert { key: sandbox.key, not_before: 0, not_after: SEED_NOT_AFTER };
                let chain = CachedServerCertChain { intermediate: cert.clone(), leaf: cert };
                manager
                    .modify_device(|device| {
                        device.server_cert_chain = Some(chain);
                        if !paired {
                            device.pn = Some(Jid::pn(PLACEHOLDER));
                        }
                    })
                    .await;
                Ok(())
            }
        }
    }
}

fn is_seeded(device: &Device) -> bool {
    let marked = device.server_cert_chain.as_ref().is_some_and(|chain| chain.leaf.not_after == SEED_NOT_AFTER);
    marked || device.pn.as_ref().is_some_and(|pn| pn.user.as_str() == PLACEHOLDER)
}
