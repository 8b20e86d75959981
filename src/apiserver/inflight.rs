//! How many requests are served at once: upstream's `--max-requests-inflight` and
//! `--max-mutating-requests-inflight`, where priority and fairness is switched off.

use std::sync::Arc;

use rkind_apimachinery::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::Result,
    request::RequestInfo,
    user::{MASTERS, UserInfo},
};

/// The two limits.
pub(crate) struct Limits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(reads: usize, writes: usize) -> Self {
        Limits {
            reads: Arc::new(Semaphore::new(reads)),
            writes: Arc::new(Semaphore::new(writes)),
        }
    }

    /// A place for a request, held while it is served. Administrators and the server's own loops
    /// need none, so that an overload can be looked into.
    ///
    /// # Errors
    /// 429, to be tried again after a second.
    pub(crate) fn admit(
        &self,
        info: &RequestInfo,
        user: &UserInfo,
        own: bool,
    ) -> Result<Option<OwnedSemaphorePermit>> {
        if own || user.in_group(MASTERS) {
            return Ok(None);
        }
        let reads = matches!(info.verb.as_str(), "get" | "list" | "watch" | "head" | "options");
        let limit = if reads { &self.reads } else { &self.writes };
        match limit.clone().try_acquire_owned() {
            Ok(place) => Ok(Some(place)),
            Err(_) => Err(Status::too_many_requests("Too many requests, please try again later.", 1).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_are_counted_apart() {
        let limits = Limits::new(1, 1);
        let info = |verb: &str| RequestInfo {
            verb: verb.into(),
            ..Default::default()
        };
        let (user, admin) = (UserInfo::new("u", &[]), UserInfo::new("a", &[MASTERS]));
        let held = limits.admit(&info("list"), &user, false).unwrap();
        let refused = limits.admit(&info("get"), &user, false).unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
        assert!(limits.admit(&info("get"), &admin, false).unwrap().is_none());
        assert!(limits.admit(&info("get"), &user, true).unwrap().is_none());
        assert!(limits.admit(&info("create"), &user, false).unwrap().is_some());
        drop(held);
        assert!(limits.admit(&info("get"), &user, false).unwrap().is_some());
    }
}
