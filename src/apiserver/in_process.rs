//! The API without sockets: a tower service that runs requests as one user.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};

use crate::{authn::Identity, core::Core, pipeline, user::UserInfo};

/// A transport for `kube::Client::new`. Whatever credentials a request carries, it runs as the user
/// that the transport was made for.
#[derive(Clone)]
pub struct InProcess {
    core: Arc<Core>,
    user: UserInfo,
}

impl InProcess {
    pub(crate) fn new(core: Arc<Core>, user: UserInfo) -> Self {
        InProcess { core, user }
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let core = self.core.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Identity(self.user.clone()));
        pipeline::handle(core, request).map(Ok).boxed()
    }
}
