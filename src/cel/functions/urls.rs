//! URLs as Go's `url.ParseRequestURI` reads them: absolute, or a path.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::{Out, no_overload};
use crate::value::Value;

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: String,
    /// With port and brackets, without user.
    host: String,
    /// As written.
    path: String,
    query: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Url, String> {
        let wrong =
            |why: &str| format!("URL parse error during conversion from string: parse {text:?}: {why}");
        if text.is_empty() {
            return Err(wrong("empty url"));
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err(wrong("net/url: invalid control character in URL"));
        }
        let (rest, query) = text.split_once('?').unwrap_or((text, ""));
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, rest))
                if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) =>
            {
                (scheme.to_ascii_lowercase(), rest)
            }
            Some(("", _)) => return Err(wrong("missing protocol scheme")),
            _ => (String::new(), rest),
        };
        if !rest.starts_with('/') {
            if scheme.is_empty() {
                return Err(wrong("invalid URI for request"));
            }
            // `mailto:x`: neither host nor path.
            return Ok(Url {
                text: text.to_owned(),
                scheme,
                host: String::new(),
                path: String::new(),
                query: query.to_owned(),
            });
        }
        // A request URI without scheme is a path, whatever it looks like.
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) if !scheme.is_empty() => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                (
                    authority
                        .rsplit_once('@')
                        .map_or(authority, |(_, host)| host)
                        .to_owned(),
                    path,
                )
            }
            _ => (String::new(), rest),
        };
        if host.contains(' ') {
            return Err(wrong("invalid character \" \" in host name"));
        }
        if let Some((_, port)) = host_port(&host)
            && !port.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(wrong(&format!("invalid port \":{port}\" after host")));
        }
        if path.bytes().enumerate().any(|(i, b)| {
            b == b'%'
                && !(path.as_bytes().get(i + 1).is_some_and(u8::is_ascii_hexdigit)
                    && path.as_bytes().get(i + 2).is_some_and(u8::is_ascii_hexdigit))
        }) {
            return Err(wrong("invalid URL escape"));
        }
        Ok(Url {
            text: text.to_owned(),
            scheme,
            host,
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    fn hostname(&self) -> &str {
        let host = host_port(&self.host).map_or(&*self.host, |(host, _)| host);
        host.strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host)
    }

    fn escaped_path(&self) -> String {
        self.path.replace(' ', "%20")
    }

    fn query(&self) -> Vec<(String, Vec<String>)> {
        let mut out: Vec<(String, Vec<String>)> = Vec::new();
        let decoded = |s: &str| {
            percent_decode_str(&s.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        for pair in self.query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key), decoded(value));
            match out.iter_mut().find(|(k, _)| *k == key) {
                Some((_, values)) => values.push(value),
                None => out.push((key, vec![value])),
            }
        }
        out
    }
}

fn host_port(host: &str) -> Option<(&str, &str)> {
    let (name, port) = host.rsplit_once(':')?;
    (!port.contains(']')).then_some((name, port))
}

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match (name, args) {
        ("url", [Value::String(s)]) => Url::parse(s).map(|url| Value::Url(url.into())),
        ("isURL", [Value::String(s)]) => Ok(Value::Bool(Url::parse(s).is_ok())),
        (_, [Value::Url(url)]) => Ok(match name {
            "getScheme" => Value::string(url.scheme.clone()),
            "getHost" => Value::string(url.host.clone()),
            "getHostname" => Value::string(url.hostname().to_owned()),
            "getPort" => Value::string(host_port(&url.host).map_or("", |(_, port)| port).to_owned()),
            "getEscapedPath" => Value::string(url.escaped_path()),
            "getQuery" => Value::map(url.query().into_iter().map(|(key, values)| {
                let values = values.into_iter().map(Value::string).collect();
                (key, Value::list(values))
            })),
            _ => return no_overload(),
        }),
        _ => no_overload(),
    }
}
