//! Gateways that share this database.

use crate::domain::clock::Time;
use crate::domain::gateway::Gateway;
use crate::domain::ids::GatewayId;
use crate::error::Result;
use crate::store::{Db, Row, args};

fn read(row: &Row) -> Result<Gateway> {
    Ok(Gateway {
        id: row.get(0)?,
        address: row.get(1)?,
        started_at: row.get(2)?,
        heartbeat_at: row.get(3)?,
        sessions: row.get(4)?,
    })
}

impl Db {
    /// Announces a gateway or notes that it lives. When it first announced itself stays; `sessions` is counted from the rows and not
    /// taken from here.
    pub async fn heartbeat(&self, gateway: &Gateway) -> Result<()> {
        let sql = "INSERT INTO gateways (id, address, started_at, heartbeat_at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (id) DO UPDATE SET address = excluded.address, heartbeat_at = excluded.heartbeat_at";
        let args = args![&gateway.id, &gateway.address, gateway.started_at, gateway.heartbeat_at];
        self.execute(sql, args).await.map(drop)
    }

    /// Every gateway that ever announced itself, by id.
    pub async fn list_gateways(&self) -> Result<Vec<Gateway>> {
        let sql = "SELECT id, address, started_at, heartbeat_at,
                          (SELECT COUNT(*) FROM sessions WHERE gateway_id = gateways.id)
                   FROM gateways ORDER BY id";
        self.rows(sql, &[]).await?.iter().map(read).collect()
    }

    /// Of the gateways that have given a sign of life since `alive_since`, the one that holds the fewest sessions.
    pub async fn least_loaded_gateway(&self, alive_since: Time) -> Result<Option<GatewayId>> {
        let sql = "SELECT id FROM gateways WHERE heartbeat_at >= $1
                   ORDER BY (SELECT COUNT(*) FROM sessions WHERE gateway_id = gateways.id), id LIMIT 1";
        self.row(sql, args![alive_since]).await?.map(|row| row.get(0)).transpose()
    }
}
