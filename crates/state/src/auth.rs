//! Users and roles, in the form that etcd stores.
//!
//! Authentication cannot be switched on yet: entries that prepare it (users, roles, permissions)
//! are applied to the letter, so that the records are right when it can; the entry that switches
//! it on stops the member. So nothing here decides about a request, and no rule that holds only
//! while authentication is on is written down.
//!
//! The auth revision counts successful changes; an entry that changes nothing does not move it.

use crate::answer::{Fatal, Response};
use crate::base64;
use bytes::Bytes;
use std::collections::BTreeMap;
use tenet_base::Index;
use tenet_proto::ApiError;
use tenet_proto::authpb::permission::Type;
use tenet_proto::authpb::{Permission, Role, User, UserAddOptions};
use tenet_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
    AuthStatusResponse, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserListResponse,
    AuthUserRevokeRoleRequest, InternalRaftRequest, ResponseHeader,
};

/// The user and the role that may do everything.
const ROOT: &str = "root";

type Done = Result<(), ApiError>;

/// All users and roles, by name.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
}

impl Auth {
    pub(crate) fn new() -> Self {
        Auth {
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    pub(crate) fn roles(&self) -> impl Iterator<Item = (&str, &Role)> {
        self.roles.iter().map(|(name, role)| (name.as_str(), role))
    }

    pub(crate) fn restore_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    pub(crate) fn restore_user(&mut self, name: String, user: User) {
        self.users.insert(name, user);
    }

    pub(crate) fn restore_role(&mut self, name: String, role: Role) {
        self.roles.insert(name, role);
    }

    /// Applies the request if it is one of users, roles or authentication; `None` if it is not.
    pub(crate) fn apply(
        &mut self,
        index: Index,
        request: &InternalRaftRequest,
        header: ResponseHeader,
    ) -> Option<Result<Result<Response, ApiError>, Fatal>> {
        if let Some(fatal) = self.fatal(index, request) {
            return Some(Err(fatal));
        }
        self.read(request, header)
            .or_else(|| self.change(request, header))
            .map(Ok)
    }

    /// What this member must not go past.
    fn fatal(&self, index: Index, request: &InternalRaftRequest) -> Option<Fatal> {
        let unhashed = |password: &str, hashed: &str| !password.is_empty() && hashed.is_empty();
        let add = request.auth_user_add.as_deref();
        let change = request.auth_user_change_password.as_deref();
        if add.is_some_and(|r| !no_password(r.options) && unhashed(&r.password, &r.hashed_password))
            || change.is_some_and(|r| unhashed(&r.password, &r.hashed_password))
        {
            return Some(Fatal::UnhashedPassword { index });
        }
        let enables = request.auth_enable.is_some() && self.may_be_enabled().is_ok();
        enables.then_some(Fatal::AuthEnabled { index })
    }

    /// Whether switching authentication on would succeed.
    fn may_be_enabled(&self) -> Done {
        let root = self.users.get(ROOT).ok_or(ApiError::RootUserNotExist)?;
        let has_role = root.roles.iter().any(|role| role == ROOT);
        has_role.then_some(()).ok_or(ApiError::RootRoleNotExist)
    }

    /// Requests that change nothing.
    fn read(
        &self,
        request: &InternalRaftRequest,
        header: ResponseHeader,
    ) -> Option<Result<Response, ApiError>> {
        let header = Some(header);
        Some(if request.authenticate.is_some() {
            Err(ApiError::AuthNotEnabled)
        } else if request.auth_enable.is_some() {
            // Success was found fatal before.
            self.may_be_enabled().map(|()| Response::AuthEnable(header))
        } else if request.auth_disable.is_some() {
            Ok(Response::AuthDisable(header))
        } else if request.auth_status.is_some() {
            Ok(Response::AuthStatus(AuthStatusResponse {
                header,
                enabled: false,
                auth_revision: self.revision,
            }))
        } else if let Some(r) = request.auth_user_get.as_deref() {
            self.user_get(r, header)
        } else if request.auth_user_list.is_some() {
            let users = self.users.keys().cloned().collect();
            Ok(Response::AuthUserList(AuthUserListResponse {
                header,
                users,
            }))
        } else if let Some(r) = request.auth_role_get.as_deref() {
            self.role_get(r, header)
        } else if request.auth_role_list.is_some() {
            let roles = self.roles.keys().cloned().collect();
            Ok(Response::AuthRoleList(AuthRoleListResponse {
                header,
                roles,
            }))
        } else {
            return None;
        })
    }

    /// Requests that may change users or roles.
    fn change(
        &mut self,
        request: &InternalRaftRequest,
        header: ResponseHeader,
    ) -> Option<Result<Response, ApiError>> {
        let h = Some(header);
        Some(if let Some(r) = request.auth_user_add.as_deref() {
            self.user_add(r).map(|()| Response::AuthUserAdd(h))
        } else if let Some(r) = request.auth_user_delete.as_deref() {
            self.user_delete(r).map(|()| Response::AuthUserDelete(h))
        } else if let Some(r) = request.auth_user_change_password.as_deref() {
            self.user_change_password(r)
                .map(|()| Response::AuthUserChangePassword(h))
        } else if let Some(r) = request.auth_user_grant_role.as_deref() {
            self.user_grant_role(r)
                .map(|()| Response::AuthUserGrantRole(h))
        } else if let Some(r) = request.auth_user_revoke_role.as_deref() {
            self.user_revoke_role(r)
                .map(|()| Response::AuthUserRevokeRole(h))
        } else if let Some(r) = request.auth_role_add.as_deref() {
            self.role_add(r).map(|()| Response::AuthRoleAdd(h))
        } else if let Some(r) = request.auth_role_delete.as_deref() {
            self.role_delete(r).map(|()| Response::AuthRoleDelete(h))
        } else if let Some(r) = request.auth_role_grant_permission.as_deref() {
            self.role_grant(r)
                .map(|()| Response::AuthRoleGrantPermission(h))
        } else if let Some(r) = request.auth_role_revoke_permission.as_deref() {
            self.role_revoke(r)
                .map(|()| Response::AuthRoleRevokePermission(h))
        } else {
            return None;
        })
    }

    fn user(&self, name: &str) -> Result<&User, ApiError> {
        self.users.get(name).ok_or(ApiError::UserNotFound)
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, ApiError> {
        self.users.get_mut(name).ok_or(ApiError::UserNotFound)
    }

    fn role_mut(&mut self, name: &str) -> Result<&mut Role, ApiError> {
        self.roles.get_mut(name).ok_or(ApiError::RoleNotFound)
    }

    fn changed(&mut self) -> Done {
        self.revision += 1;
        Ok(())
    }

    fn user_add(&mut self, r: &AuthUserAddRequest) -> Done {
        if r.name.is_empty() {
            return Err(ApiError::UserEmpty);
        }
        if self.users.contains_key(&r.name) {
            return Err(ApiError::UserAlreadyExist);
        }
        let user = User {
            name: owned(r.name.as_bytes()),
            password: password(r.options, &r.hashed_password)?,
            roles: Vec::new(),
            options: Some(r.options.unwrap_or_default()),
        };
        self.users.insert(r.name.clone(), user);
        self.changed()
    }

    fn user_delete(&mut self, r: &AuthUserDeleteRequest) -> Done {
        self.users.remove(&r.name).ok_or(ApiError::UserNotFound)?;
        self.changed()
    }

    fn user_change_password(&mut self, r: &AuthUserChangePasswordRequest) -> Done {
        let user = self.user_mut(&r.name)?;
        user.password = password(user.options, &r.hashed_password)?;
        self.changed()
    }

    fn user_get(
        &self,
        r: &AuthUserGetRequest,
        header: Option<ResponseHeader>,
    ) -> Result<Response, ApiError> {
        let roles = self.user(&r.name)?.roles.clone();
        Ok(Response::AuthUserGet(AuthUserGetResponse { header, roles }))
    }

    fn user_grant_role(&mut self, r: &AuthUserGrantRoleRequest) -> Done {
        // The user is looked for first, and the root role need not exist.
        self.user(&r.user)?;
        if r.role != ROOT && !self.roles.contains_key(&r.role) {
            return Err(ApiError::RoleNotFound);
        }
        let roles = &mut self.user_mut(&r.user)?.roles;
        match roles.binary_search(&r.role) {
            Ok(_) => Ok(()),
            Err(place) => {
                roles.insert(place, r.role.clone());
                self.changed()
            }
        }
    }

    fn user_revoke_role(&mut self, r: &AuthUserRevokeRoleRequest) -> Done {
        if !strip(&mut self.user_mut(&r.name)?.roles, &r.role) {
            return Err(ApiError::RoleNotGranted);
        }
        self.changed()
    }

    fn role_add(&mut self, r: &AuthRoleAddRequest) -> Done {
        if r.name.is_empty() {
            return Err(ApiError::RoleEmpty);
        }
        if self.roles.contains_key(&r.name) {
            return Err(ApiError::RoleAlreadyExist);
        }
        let role = Role {
            name: owned(r.name.as_bytes()),
            key_permission: Vec::new(),
        };
        self.roles.insert(r.name.clone(), role);
        self.changed()
    }

    fn role_delete(&mut self, r: &AuthRoleDeleteRequest) -> Done {
        self.roles.remove(&r.role).ok_or(ApiError::RoleNotFound)?;
        for user in self.users.values_mut() {
            strip(&mut user.roles, &r.role);
        }
        self.changed()
    }

    fn role_get(
        &self,
        r: &AuthRoleGetRequest,
        header: Option<ResponseHeader>,
    ) -> Result<Response, ApiError> {
        let role = self.roles.get(&r.role).ok_or(ApiError::RoleNotFound)?;
        let perm = if r.role == ROOT {
            vec![everything()]
        } else {
            role.key_permission.clone()
        };
        Ok(Response::AuthRoleGet(AuthRoleGetResponse { header, perm }))
    }

    fn role_grant(&mut self, r: &AuthRoleGrantPermissionRequest) -> Done {
        let given = r.perm.as_ref().ok_or(ApiError::PermissionNotGiven)?;
        if !is_range(&given.key, &given.range_end) {
            return Err(ApiError::InvalidAuthMgmt);
        }
        let list = &mut self.role_mut(&r.name)?.key_permission;
        // The list is sorted by key alone. Only the first permission of a key is compared, so a
        // permission that is not the first of its key is added again instead of replaced.
        let first = list.partition_point(|held| held.key < given.key);
        match list.get_mut(first) {
            Some(held) if held.key == given.key && held.range_end == given.range_end => {
                held.perm_type = given.perm_type;
            }
            _ => {
                list.push(Permission {
                    perm_type: given.perm_type,
                    key: owned(&given.key),
                    range_end: owned(&given.range_end),
                });
                list.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        self.changed()
    }

    fn role_revoke(&mut self, r: &AuthRoleRevokePermissionRequest) -> Done {
        let list = &mut self.role_mut(&r.role)?.key_permission;
        let before = list.len();
        list.retain(|held| held.key != r.key || held.range_end != r.range_end);
        if list.len() == before {
            return Err(ApiError::PermissionNotGranted);
        }
        self.changed()
    }
}

/// A copy that does not keep the log entry it came with in memory.
fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn no_password(options: Option<UserAddOptions>) -> bool {
    options.is_some_and(|options| options.no_password)
}

/// The stored form of a password: the hash that the proposer made, or nothing.
fn password(options: Option<UserAddOptions>, hashed: &str) -> Result<Bytes, ApiError> {
    if no_password(options) {
        return Ok(Bytes::new());
    }
    let hash = base64::decode(hashed).ok_or(ApiError::NoPasswordUser)?;
    Ok(hash.into())
}

/// Takes a role out of a user's list; whether it was there.
fn strip(roles: &mut Vec<String>, role: &str) -> bool {
    let before = roles.len();
    roles.retain(|held| held != role);
    roles.len() < before
}

/// Whether key and end make a range that a permission may name.
fn is_range(key: &[u8], range_end: &[u8]) -> bool {
    !key.is_empty() && (range_end.is_empty() || key < range_end || range_end == [0])
}

/// What the root role is shown to hold.
fn everything() -> Permission {
    Permission {
        perm_type: Type::Readwrite as i32,
        key: Bytes::new(),
        range_end: Bytes::from_static(&[0]),
    }
}
