//! The listener: TCP and TLS connections -> requests, and a shutdown that lets them end.

mod coalesce;
mod front;
mod tls;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

use axum::body::Body;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{authn, core::Core, pipeline};

pub(crate) use front::Front;
pub use front::PatternError;
pub use tls::{TlsError, TlsOptions};

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take from there to its first request. Upstream: `ReadHeaderTimeout`.
const FIRST_REQUEST: Duration = Duration::from_secs(32);
/// Seconds without a byte after which, and then how often, the other end is asked whether it is there; after
/// [`PROBES`] it is not. As Go's listeners do: streams have no other end than the connection's.
const KEEPALIVE: u32 = 15;
const PROBES: u32 = 9;

/// Answers one request, with what every response carries.
pub(crate) async fn answer(core: Arc<Core>, request: hyper::Request<Body>) -> hyper::Response<Body> {
    if core.front.is_idle() {
        return pipeline::handle(core, request).await;
    }
    let (early, origin) = core.front.before(&request);
    let mut response = match early {
        Some(response) => response,
        None => pipeline::handle(core.clone(), request).await,
    };
    core.front.after(response.headers_mut(), origin);
    response
}

/// Serves until `shutdown`. Then, as upstream: `/readyz` fails at once; for the shutdown delay
/// everything is still accepted, so that balancers notice; after it no connection is, watches and
/// streams end, requests under way are answered, and what is left after the drain time is cut.
pub(crate) async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    // Told when nothing new is accepted any more.
    let closing = CancellationToken::new();
    tokio::spawn({
        let (core, closing) = (core.clone(), closing.clone());
        async move {
            shutdown.cancelled().await;
            core.leaving.cancel();
            tokio::time::sleep(core.settings.shutdown_delay).await;
            closing.cancel();
        }
    });
    loop {
        let (stream, peer) = tokio::select! {
            () = closing.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors or a connection that is already gone: go on.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (core, acceptor, closing, cut) = (core.clone(), acceptor.clone(), closing.clone(), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(core, acceptor, stream, peer, closing) => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    core.shutdown.cancel();
    connections.close();
    if tokio::time::timeout(core.settings.drain, connections.wait())
        .await
        .is_err()
    {
        tracing::info!("cutting connections that did not end in time");
        cut.cancel();
        connections.wait().await;
    }
    if let Some(audit) = &core.audit {
        audit.flush().await;
    }
    Ok(())
}

/// Ends when nothing has begun for [`FIRST_REQUEST`].
async fn silent(begun: CancellationToken) {
    if tokio::time::timeout(FIRST_REQUEST, begun.cancelled())
        .await
        .is_ok()
    {
        std::future::pending().await
    }
}

fn keep_alive(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE)?;
    setsockopt(stream, sockopt::TcpKeepCount, &PROBES)
}

async fn connection(
    core: Arc<Core>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    closing: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    if let Err(error) = keep_alive(&stream) {
        tracing::debug!(%peer, %error, "connection without keep-alive");
    }
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| core.authn.shown(chain));
    let known = authn::Connection {
        peer: Some(peer),
        certificate,
    };
    // A client of a balanced server is now and then told to connect anew, to another one perhaps.
    let goaway = CancellationToken::new();
    let (chance, tell) = (core.front.goaway, goaway.clone());
    let begun = CancellationToken::new();
    let begins = begun.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        begins.cancel();
        let core = core.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(known.clone());
        if chance > 0.0 && request.version() == http::Version::HTTP_2 && rand::random_bool(chance) {
            tell.cancel();
        }
        async move {
            // The streams of HTTP/2 share a task, and answers may take long to make.
            if request.version() == http::Version::HTTP_2 {
                return AbortOnDropHandle::new(tokio::spawn(answer(core, request))).await;
            }
            Ok(answer(core, request).await)
        }
    });
    let streams = coalesce::Streams::default();
    let mut builder = auto::Builder::new(streams.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .max_buf_size(1024 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .keep_alive_interval(Duration::from_secs(30))
        .adaptive_window(true);
    let io = coalesce::Io::new(stream);
    let flusher = io.flusher();
    let ended = async move {
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = goaway.cancelled() => {}
            () = closing.cancelled() => {}
            () = silent(begun) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    let ended = coalesce::drive(ended, streams, flusher).await;
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
