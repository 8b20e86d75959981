//! One check of a probe or hook: http, tcp, exec, gRPC.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rkind_cri::{ErrorKind, Runtime};
use tokio::net::TcpStream;

const AGENT: &str = "kube-probe/1.35";
const MAX_REDIRECTS: usize = 10;
/// Most bytes of an answer or output that a message quotes.
const MAX_QUOTE: usize = 10 * 1024;

/// Runs one check; the error is what the event says.
pub(crate) async fn check(
    runtime: &dyn Runtime,
    id: &str,
    host: &str,
    container: &Container,
    probe: &Probe,
    timeout: Duration,
) -> Result<(), String> {
    if let Some(exec) = &probe.exec {
        return exec_check(runtime, id, exec.command.as_deref().unwrap_or_default(), timeout).await;
    }
    let limited = async {
        if let Some(get) = &probe.http_get {
            let url = url(get, host, container)?;
            probe_http(get, &url).await
        } else if let Some(tcp) = &probe.tcp_socket {
            let port = port(&tcp.port, container)?;
            let host = tcp.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(host);
            let address = join(host, port);
            TcpStream::connect(&address)
                .await
                .map(drop)
                .map_err(|e| format!("dial tcp {address}: connect: {}", os_words(&e)))
        } else if let Some(grpc) = &probe.grpc {
            grpc_health(host, grpc.port, grpc.service.as_deref().unwrap_or_default()).await
        } else {
            Ok(())
        }
    };
    match tokio::time::timeout(timeout, limited).await {
        Ok(result) => result,
        Err(_) => Err(match (&probe.http_get, &probe.grpc) {
            (Some(get), _) => format!(
                "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                url(get, host, container).unwrap_or_default()
            ),
            (None, Some(_)) => format!(
                "timeout: failed to connect service \"{host}\" within {}s",
                timeout.as_secs()
            ),
            (None, None) => format!("dial tcp {host}: i/o timeout"),
        }),
    }
}

/// How Go words an error of the operating system.
fn os_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

async fn exec_check(
    runtime: &dyn Runtime,
    id: &str,
    command: &[String],
    timeout: Duration,
) -> Result<(), String> {
    match runtime.exec_sync(id, command, timeout).await {
        Ok(answer) if answer.exit_code == 0 => Ok(()),
        Ok(answer) => {
            let mut output = answer.stdout;
            output.extend(answer.stderr);
            output.truncate(MAX_QUOTE);
            Err(String::from_utf8_lossy(&output).into_owned())
        }
        Err(error) if error.kind == ErrorKind::DeadlineExceeded => Err(format!(
            "command timed out: \"{}\" timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        )),
        Err(error) => Err(format!(
            "command \"{}\" failed: {}",
            command.join(" "),
            error.rpc_message()
        )),
    }
}

/// A port by number or by the container's name for it.
pub(crate) fn port(value: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match value {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref() == Some(name))
            .map(|p| p.container_port)
            .or_else(|| name.parse().ok()),
    };
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("couldn't find port: {value:?} in container {}", container.name))
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn url(get: &HTTPGetAction, host: &str, container: &Container) -> Result<String, String> {
    let host = get.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(host);
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let path = get.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!(
        "{scheme}://{}{slash}{path}",
        join(host, port(&get.port, container)?)
    ))
}

/// Follows redirects within the host; one that leads elsewhere counts as an answer.
async fn probe_http(get: &HTTPGetAction, first: &str) -> Result<(), String> {
    let mut url = first.to_string();
    for _ in 0..MAX_REDIRECTS {
        let answer = fetch(&url, get, AGENT)
            .await
            .map_err(|error| format!("Get \"{url}\": {error}"))?;
        let redirect = answer
            .location
            .filter(|_| matches!(answer.code, 301 | 302 | 303 | 307 | 308));
        match redirect.map(|location| resolve(&url, &location)) {
            Some(Some(next)) => url = next,
            Some(None) => return Ok(()),
            None if (200..400).contains(&answer.code) => return Ok(()),
            None => return Err(format!("HTTP probe failed with statuscode: {}", answer.code)),
        }
    }
    Err(format!("Get \"{url}\": stopped after {MAX_REDIRECTS} redirects"))
}

/// Where a redirect leads; `None` for another host.
fn resolve(from: &str, location: &str) -> Option<String> {
    let base: http::Uri = from.parse().ok()?;
    if let Some(path) = location.strip_prefix('/').filter(|p| !p.starts_with('/')) {
        return Some(format!("{}://{}/{path}", base.scheme_str()?, base.authority()?));
    }
    let target: http::Uri = location.parse().ok()?;
    (target.host()? == base.host()?).then(|| location.to_string())
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Its beginning.
    pub(crate) body: String,
    location: Option<String>,
}

/// Sends the GET of a hook.
pub(crate) async fn http_get(
    get: &HTTPGetAction,
    host: &str,
    container: &Container,
    agent: &str,
) -> Result<Answer, String> {
    fetch(&url(get, host, container)?, get, agent).await
}

async fn fetch(url: &str, get: &HTTPGetAction, agent: &str) -> Result<Answer, String> {
    let uri: http::Uri = url.parse().map_err(|e| format!("invalid URL: {e}"))?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let stream = TcpStream::connect(&authority)
        .await
        .map_err(|e| format!("dial tcp {authority}: connect: {}", os_words(&e)))?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_string();
    let mut request = http::Request::get(path).header("Connection", "close");
    let mut named = (false, false, false);
    for header in get.http_headers.iter().flatten() {
        named.0 |= header.name.eq_ignore_ascii_case("host");
        named.1 |= header.name.eq_ignore_ascii_case("user-agent");
        named.2 |= header.name.eq_ignore_ascii_case("accept");
        request = request.header(header.name.as_str(), header.value.as_str());
    }
    if !named.0 {
        request = request.header("Host", authority.as_str());
    }
    if !named.1 {
        request = request.header("User-Agent", agent);
    }
    if !named.2 {
        request = request.header("Accept", "*/*");
    }
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| e.to_string())?;
    if uri.scheme_str() == Some("https") {
        let connector = tokio_rustls::TlsConnector::from(crate::tls::trusting_anyone());
        let name = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_string();
        let name = rustls_pki_types::ServerName::try_from(name).map_err(|e| e.to_string())?;
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        send(TokioIo::new(stream), request).await
    } else {
        send(TokioIo::new(stream), request).await
    }
}

async fn send<S>(io: S, request: http::Request<Empty<bytes::Bytes>>) -> Result<Answer, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let code = response.status().as_u16();
    let location = response
        .headers()
        .get(http::header::LOCATION)
        .and_then(|v| v.to_str().ok())
        .map(str::to_string);
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
        if text.len() > MAX_QUOTE {
            text.truncate(MAX_QUOTE);
            break;
        }
    }
    driver.abort();
    Ok(Answer {
        code,
        body: String::from_utf8_lossy(&text).into_owned(),
        location,
    })
}

/// `grpc.health.v1.Health/Check`: serving or not. The two messages are so small that they are
/// written here by hand: field 1 of the request is the service's name, field 1 of the answer the status.
async fn grpc_health(host: &str, port: i32, service: &str) -> Result<(), String> {
    let port = u16::try_from(port).map_err(|_| format!("invalid port {port}"))?;
    let address = join(host, port);
    let stream = TcpStream::connect(&address).await.map_err(|e| {
        format!(
            "timeout: failed to connect service \"{address}\": {}",
            os_words(&e)
        )
    })?;
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        message.push(u8::try_from(service.len().min(127)).unwrap_or(127));
        message.extend_from_slice(&service.as_bytes()[..service.len().min(127)]);
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    framed.extend(message);
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.35")
        .body(http_body_util::Full::new(bytes::Bytes::from(framed)))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let collected = response.into_body().collect().await.map_err(|e| e.to_string())?;
    driver.abort();
    let status = collected
        .trailers()
        .and_then(|t| t.get("grpc-status"))
        .and_then(|v| v.to_str().ok())
        .unwrap_or("0")
        .to_string();
    let body = collected.to_bytes();
    if status == "12" {
        return Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {status}"
        ));
    }
    if status != "0" {
        return Err(format!("error: health rpc failed: rpc error: code = {status}"));
    }
    // 5 bytes of frame, tag 0x08, then the status: 1 is SERVING.
    match body.get(5..7) {
        Some([0x08, 1]) => Ok(()),
        Some([0x08, 2]) => Err("service unhealthy (responded with \"NOT_SERVING\")".into()),
        _ => Err("service unhealthy (responded with \"UNKNOWN\")".into()),
    }
}

#[cfg(test)]
mod tests;
