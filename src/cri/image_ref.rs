//! Image references: how a short name becomes a full one.

/// A reference in its full form: `web:1` becomes `docker.io/library/web:1`, a missing tag
/// `latest`; a name with a registry host, and anything with a digest, keeps what it has.
/// A bare image id (`sha256:…` or 64 hex digits) is returned unchanged.
pub fn normalize(image: &str) -> String {
    if is_image_id(image) {
        return image.to_string();
    }
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let (path, tag) = split_tag(name);
    let path = match path.split_once('/') {
        Some((host, _)) if is_host(host) => {
            if let Some(rest) = path.strip_prefix("index.docker.io/") {
                qualify_hub(rest)
            } else if let Some(rest) = path.strip_prefix("docker.io/") {
                qualify_hub(rest)
            } else {
                path.to_string()
            }
        }
        _ => qualify_hub(path),
    };
    match (tag, digest) {
        (Some(tag), Some(digest)) => format!("{path}:{tag}@{digest}"),
        (None, Some(digest)) => format!("{path}@{digest}"),
        (Some(tag), None) => format!("{path}:{tag}"),
        (None, None) => format!("{path}:latest"),
    }
}

/// The tag a reference asks for: `latest` when it has neither tag nor digest, `None` with only a digest.
pub fn tag(image: &str) -> Option<String> {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    match split_tag(name).1 {
        Some(tag) => Some(tag.to_string()),
        None if digest => None,
        None => Some("latest".into()),
    }
}

/// Whether a reference is well formed enough to be looked up; the error says why not.
pub fn validate(image: &str) -> Result<(), String> {
    if is_image_id(image) {
        return Ok(());
    }
    let bad = || {
        Err(format!(
            "couldn't parse image name \"{image}\": invalid reference format"
        ))
    };
    if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad();
    }
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let (path, tag) = split_tag(name);
    let repository = match path.split_once('/') {
        Some((host, rest)) if is_host(host) => rest,
        _ => path,
    };
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(format!(
            "couldn't parse image name \"{image}\": invalid reference format: repository name ({repository}) must be lowercase"
        ));
    }
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
    if repository.is_empty()
        || !repository.chars().all(good)
        || repository
            .split('/')
            .any(|part| part.is_empty() || !part.starts_with(|c: char| c.is_ascii_alphanumeric()))
    {
        return bad();
    }
    match tag {
        Some(tag)
            if tag.is_empty()
                || !tag
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) =>
        {
            bad()
        }
        _ => Ok(()),
    }
}

fn is_image_id(image: &str) -> bool {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains('.') || part.contains(':')
}

fn qualify_hub(path: &str) -> String {
    if path.contains('/') {
        format!("docker.io/{path}")
    } else {
        format!("docker.io/library/{path}")
    }
}

/// A colon after the last slash separates the tag; an earlier one belongs to a host's port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    let start = name.rfind('/').map_or(0, |i| i + 1);
    match name[start..].find(':') {
        Some(i) => (&name[..start + i], Some(&name[start + i + 1..])),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests;
