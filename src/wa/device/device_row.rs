//! The device itself: one sealed row per session.

use std::sync::Arc;

use async_trait::async_trait;
use wacore::client_profile::ClientProfile;
use wacore::stats::StorageResourceReport;
use wacore::store::Device;
use wacore::store::device::DEVICE_PROPS;
use wacore::store::traits::DeviceStore as Port;

use super::{Answer, DeviceStore, decode, encode};
use crate::store::args;

const TABLE: &str = "wa_devices";

#[async_trait]
impl Port for DeviceStore {
    async fn save(&self, device: &Device) -> Answer<()> {
        let sealed = self.seal(TABLE, &[], &encode(device)?)?;
        let sql = "INSERT INTO wa_devices (session_id, data) VALUES ($1, $2)
                   ON CONFLICT (session_id) DO UPDATE SET data = excluded.data";
        self.execute(sql, args![&self.session, &sealed]).await.map(drop)
    }

    async fn load(&self) -> Answer<Option<Device>> {
        let sql = "SELECT data FROM wa_devices WHERE session_id = $1";
        let Some(row) = self.row(sql, args![&self.session]).await? else { return Ok(None) };
        let mut device: Device = decode(&self.open(TABLE, &[], &row, 0)?)?;
        // These two are not serialized; without them a device would introduce itself as nothing.
        device.device_props = Arc::new(DEVICE_PROPS.clone());
        device.client_profile = ClientProfile::web();
        Ok(Some(device))
    }

    async fn exists(&self) -> Answer<bool> {
        let sql = "SELECT CAST(1 AS BIGINT) FROM wa_devices WHERE session_id = $1";
        Ok(self.row(sql, args![&self.session]).await?.is_some())
    }

    async fn create(&self) -> Answer<i32> {
        let sealed = self.seal(TABLE, &[], &encode(&Device::new())?)?;
        let sql = "INSERT INTO wa_devices (session_id, data) VALUES ($1, $2) ON CONFLICT (session_id) DO NOTHING";
        self.execute(sql, args![&self.session, &sealed]).await?;
        // A session has one device.
        Ok(1)
    }

    async fn resource_report(&self) -> StorageResourceReport {
        // Nothing is kept in this process for one session; the pools are everybody's.
        StorageResourceReport { memory_bytes: Some(0), ..StorageResourceReport::default() }
    }
}
