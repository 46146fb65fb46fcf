//! The members of the cluster.

use tenet_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};

use crate::call::call;
use crate::services::cluster_client::ClusterClient;
use crate::{Client, Error};

#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Lists the members.
    pub async fn member_list(
        &self,
        request: MemberListRequest,
    ) -> Result<MemberListResponse, Error> {
        let name = "/etcdserverpb.Cluster/MemberList";
        call!(self, name, Read, ClusterClient::member_list, request)
    }

    /// Adds a member.
    pub async fn member_add(&self, request: MemberAddRequest) -> Result<MemberAddResponse, Error> {
        let name = "/etcdserverpb.Cluster/MemberAdd";
        call!(self, name, Write, ClusterClient::member_add, request)
    }

    /// Removes a member.
    pub async fn member_remove(
        &self,
        request: MemberRemoveRequest,
    ) -> Result<MemberRemoveResponse, Error> {
        let name = "/etcdserverpb.Cluster/MemberRemove";
        call!(self, name, Write, ClusterClient::member_remove, request)
    }

    /// Changes the peer URLs of a member.
    pub async fn member_update(
        &self,
        request: MemberUpdateRequest,
    ) -> Result<MemberUpdateResponse, Error> {
        let name = "/etcdserverpb.Cluster/MemberUpdate";
        call!(self, name, Write, ClusterClient::member_update, request)
    }

    /// Makes a learner a voter.
    pub async fn member_promote(
        &self,
        request: MemberPromoteRequest,
    ) -> Result<MemberPromoteResponse, Error> {
        let name = "/etcdserverpb.Cluster/MemberPromote";
        call!(self, name, Write, ClusterClient::member_promote, request)
    }
}
