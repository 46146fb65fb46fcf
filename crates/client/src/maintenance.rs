//! The state of members. What is about one member is asked through [`Client::at`].

use tenet_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, StatusRequest, StatusResponse, alarm_request,
};

use crate::call::call;
use crate::services::maintenance_client::MaintenanceClient;
use crate::{Client, Error};

#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Lists, raises or lowers alarms. Doing it twice is doing it once.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Error> {
        let name = "/etcdserverpb.Maintenance/Alarm";
        call!(self, name, Read, MaintenanceClient::alarm, request)
    }

    /// Lists all alarms.
    pub async fn alarms(&self) -> Result<AlarmResponse, Error> {
        self.alarm(AlarmRequest::default()).await
    }

    /// Lowers all alarms that are up now. The answer names them and has no header.
    pub async fn disarm_all(&self) -> Result<AlarmResponse, Error> {
        let mut disarmed = AlarmResponse::default();
        for alarm in self.alarms().await?.alarms {
            let request = AlarmRequest {
                action: alarm_request::AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            };
            let answer = self.alarm(request).await?;
            disarmed.alarms.extend(answer.alarms);
        }
        Ok(disarmed)
    }

    /// The state of the member that answers.
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        let name = "/etcdserverpb.Maintenance/Status";
        call!(
            self,
            name,
            Read,
            MaintenanceClient::status,
            StatusRequest {}
        )
    }

    /// The hash of all that the member that answers has stored.
    pub async fn hash(&self) -> Result<HashResponse, Error> {
        let name = "/etcdserverpb.Maintenance/Hash";
        call!(self, name, Read, MaintenanceClient::hash, HashRequest {})
    }

    /// The hash of the keys of the member that answers, at a revision.
    pub async fn hash_kv(&self, request: HashKvRequest) -> Result<HashKvResponse, Error> {
        let name = "/etcdserverpb.Maintenance/HashKV";
        call!(self, name, Read, MaintenanceClient::hash_kv, request)
    }

    /// Gives space of the member that answers back to its file system.
    pub async fn defragment(&self) -> Result<DefragmentResponse, Error> {
        let name = "/etcdserverpb.Maintenance/Defragment";
        call!(
            self,
            name,
            Write,
            MaintenanceClient::defragment,
            DefragmentRequest {}
        )
    }

    /// Hands leadership over. Must be asked of the leader.
    pub async fn move_leader(
        &self,
        request: MoveLeaderRequest,
    ) -> Result<MoveLeaderResponse, Error> {
        let name = "/etcdserverpb.Maintenance/MoveLeader";
        call!(self, name, Read, MaintenanceClient::move_leader, request)
    }

    /// Validates, begins or cancels a downgrade of the cluster.
    pub async fn downgrade(&self, request: DowngradeRequest) -> Result<DowngradeResponse, Error> {
        let name = "/etcdserverpb.Maintenance/Downgrade";
        call!(self, name, Write, MaintenanceClient::downgrade, request)
    }
}
