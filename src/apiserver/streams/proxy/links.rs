//! Links in proxied pages lead back through the proxy: `Location` headers and the attributes of HTML
//! elements that hold URLs. Upstream: `apimachinery/pkg/util/proxy/transport.go`.

use std::{
    convert::Infallible,
    io::{self, Read as _, Write as _},
};

use axum::body::{Body, Bytes};
use flate2::{Compression, read, write};
use futures::StreamExt as _;
use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};
use http::{HeaderValue, Response, header};

/// Largest page that is rewritten, in bytes, before and after decompression; larger ones pass as they
/// are.
const MAX_PAGE: usize = 16 * 1024 * 1024;

/// Where the proxied page stands.
pub(super) struct Place<'a> {
    /// Path before the proxied path: `/api/v1/namespaces/n/pods/p/proxy`.
    pub(super) prefix: &'a str,
    /// `host:port` that was asked.
    pub(super) backend: &'a str,
    /// `Host` that the client named.
    pub(super) host: &'a str,
}

/// Element and attribute: <https://html.spec.whatwg.org/multipage/indices.html#attributes-3> with HTML 4's.
const URLS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Rewrites what a backend answered.
pub(super) async fn rewritten(mut response: Response<Body>, place: &Place<'_>) -> Response<Body> {
    let headers = response.headers_mut();
    if let Some(location) = headers.get(header::LOCATION) {
        let moved = location.to_str().ok().and_then(|url| place.rewrite(url));
        if let Some(Ok(moved)) = moved.map(HeaderValue::try_from) {
            headers.insert(header::LOCATION, moved);
        }
        return response;
    }
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
            .unwrap_or_default()
    };
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default();
    if kind.trim() != "text/html" {
        return response;
    }
    let Some(packing) = Packing::named(text(header::CONTENT_ENCODING)) else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let mut rest = body.into_data_stream();
    let mut page = Vec::new();
    while let Some(chunk) = rest.next().await {
        let failed = chunk.is_err();
        if let Ok(chunk) = &chunk {
            page.extend_from_slice(chunk);
        }
        if failed || page.len() > MAX_PAGE {
            let read = [
                Ok(Bytes::from(page)),
                if failed { chunk } else { Ok(Bytes::new()) },
            ];
            return Response::from_parts(parts, Body::from_stream(futures::stream::iter(read).chain(rest)));
        }
    }
    match packing.apply(&page, |html| place.page(html)) {
        Ok(new) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(new))
        }
        Err(error) => {
            tracing::debug!(%error, "links in a proxied page stay as they are");
            Response::from_parts(parts, Body::from(page))
        }
    }
}

impl Place<'_> {
    /// A URL as it is reached through the proxy; `None` where it needs no change: it is relative, leads
    /// elsewhere or through the proxy already.
    fn rewrite(&self, url: &str) -> Option<String> {
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest))
                if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                (Some(scheme), rest)
            }
            _ => (None, url),
        };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (place, tail) = rest.split_at(end);
        let (host, path) = match place.strip_prefix("//") {
            Some(named) => named.split_at(named.find('/').unwrap_or(named.len())),
            None => ("", place),
        };
        if !path.starts_with('/') || !(host.is_empty() || host == self.backend || host == self.host) {
            return None;
        }
        let path = if path.starts_with(self.prefix) {
            path.to_owned()
        } else {
            format!("{}{}", self.prefix, clean(path))
        };
        let new = match scheme {
            // The client's own name for this server is good outside, too.
            Some(scheme) if !host.is_empty() && host == self.host => format!("{scheme}://{host}{path}{tail}"),
            None if !host.is_empty() && host == self.host => format!("//{host}{path}{tail}"),
            _ => format!("{path}{tail}"),
        };
        (new != url).then_some(new)
    }

    /// A page with its links rewritten; all other bytes stay as they are.
    fn page(&self, html: &[u8]) -> Vec<u8> {
        let mut changes: Vec<(Span<usize>, String)> = Vec::new();
        let mut attributes: &[&str] = &[];
        let mut wanted = false;
        let mut emitter = CallbackEmitter::new(
            |event: CallbackEvent<'_>, span: Span<usize>| -> Option<Infallible> {
                match event {
                    CallbackEvent::OpenStartTag { name } => {
                        let found = URLS.iter().find(|(element, _)| element.as_bytes() == name);
                        attributes = found.map_or(&[], |(_, attributes)| attributes);
                    }
                    CallbackEvent::AttributeName { name } => {
                        wanted = attributes.iter().any(|attribute| attribute.as_bytes() == name);
                    }
                    CallbackEvent::AttributeValue { value } if wanted => {
                        let new = std::str::from_utf8(value).ok().and_then(|url| self.rewrite(url));
                        changes.extend(new.map(|url| (span, escape(&url))));
                    }
                    _ => {}
                }
                None
            },
        );
        // What a script holds is no markup.
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
        let mut out = Vec::with_capacity(html.len() + changes.len() * self.prefix.len());
        let mut from = 0;
        for (span, url) in changes {
            out.extend_from_slice(&html[from..span.start]);
            out.extend_from_slice(url.as_bytes());
            from = span.end;
        }
        out.extend_from_slice(&html[from..]);
        out
    }
}

/// A path without `.`, `..` and empty parts; a slash at the end stays. Go's `path.Clean`.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", parts.join("/"))
}

/// A value of an attribute in quotes of either kind, or in none.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' | '\'' | '<' | '>' | '`' | ' ' | '\t' | '\n' | '\r' => {
                out.push_str(&format!("&#{};", u32::from(c)))
            }
            _ => out.push(c),
        }
    }
    out
}

/// `Content-Encoding` of a page.
#[derive(Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    /// As Go reads it: without zlib's head.
    Deflate,
}

impl Packing {
    fn named(name: &str) -> Option<Packing> {
        match name {
            "" => Some(Packing::Plain),
            "gzip" => Some(Packing::Gzip),
            "deflate" => Some(Packing::Deflate),
            _ => None,
        }
    }

    /// Changes what is packed.
    fn apply(self, packed: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Packing::Plain => Ok(change(packed)),
            Packing::Gzip => {
                let mut writer = write::GzEncoder::new(Vec::new(), Compression::default());
                writer.write_all(&change(&unpacked(read::MultiGzDecoder::new(packed))?))?;
                writer.finish()
            }
            Packing::Deflate => {
                let mut writer = write::DeflateEncoder::new(Vec::new(), Compression::best());
                writer.write_all(&change(&unpacked(read::DeflateDecoder::new(packed))?))?;
                writer.finish()
            }
        }
    }
}

fn unpacked(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    reader.take(MAX_PAGE as u64 + 1).read_to_end(&mut page)?;
    if page.len() > MAX_PAGE {
        return Err(io::Error::other(format!(
            "the page is larger than {MAX_PAGE} bytes"
        )));
    }
    Ok(page)
}

#[cfg(test)]
mod tests;
