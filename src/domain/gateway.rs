//! Gateways: the programs that share one database and hold its sessions.

use crate::domain::clock::Time;
use crate::domain::ids::GatewayId;

/// One running (or formerly running) gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Where other gateways reach it, `host:port`.
    pub address: String,
    /// When it first announced itself.
    pub started_at: Time,
    /// When it last said that it lives.
    pub heartbeat_at: Time,
    /// How many sessions it holds.
    pub sessions: i64,
}
