//! Syntax of names, labels and sizes.

/// Longest cluster name: `<name>-control-plane` must be a host name.
pub const CLUSTER_NAME_MAX: usize = 63 - "-control-plane".len();

/// Whether `name` can name a cluster: an RFC 1123 label of at most
/// [`CLUSTER_NAME_MAX`] characters, because host names and container names are
/// made of it.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn check_cluster_name(name: &str) -> Result<(), String> {
    check_label_name(name)?;
    if name.len() > CLUSTER_NAME_MAX {
        return Err(format!(
            "{name:?} is too long: must be no more than {CLUSTER_NAME_MAX} characters"
        ));
    }
    Ok(())
}

/// Whether `name` is an RFC 1123 label.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn check_label_name(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err(format!(
            "{name:?} is too long: must be no more than 63 characters"
        ));
    }
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let bytes = name.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    if !bytes.is_empty() && bytes.iter().all(|b| inner(*b)) && ends(bytes.first()) && ends(bytes.last()) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is not a valid name: a lowercase RFC 1123 label must consist of lower case alphanumeric \
         characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', or '123-abc')"
    ))
}

/// A dotted sequence of labels, at most 253 characters.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|part| check_label_name(part).is_ok())
}

/// A label or annotation key: `[prefix/]name`.
pub(crate) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// A label's value: empty, or at most 63 of letters, digits, `-`, `_`, `.`,
/// with a letter or digit at both ends.
pub(crate) fn is_label_value(value: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    value.is_empty()
        || (value.len() <= 63
            && bytes.iter().all(inner)
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric))
}

/// Bytes of a size: `4Gi`, `4g`, `4GB`, `512m`, `512Mi`; MiB without a unit, as
/// with minikube's `--memory`. Units are powers of 1024. `None` for `max` and
/// `no-limit`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_memory(text: &str) -> Result<Option<u64>, String> {
    let expected = || format!("{text:?} is no size; write for example 4Gi, 512Mi, or MiB without a unit");
    let lower = text.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "max" | "no-limit") {
        return Ok(None);
    }
    let digits = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let scale: u64 = match unit.trim() {
        "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "" | "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        "t" | "tb" | "ti" | "tib" => 1 << 40,
        _ => return Err(expected()),
    };
    let bytes = number * scale as f64;
    if bytes < 1.0 || bytes > (1u64 << 60) as f64 {
        return Err(expected());
    }
    Ok(Some(bytes as u64))
}

/// Cores: `2`, `1.5`, `500m`; `None` for `max` and `no-limit`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_cpus(text: &str) -> Result<Option<f64>, String> {
    let expected = || format!("{text:?} is no number of cores; write for example 2, 1.5 or 500m");
    let trimmed = text.trim();
    if matches!(trimmed, "max" | "no-limit") {
        return Ok(None);
    }
    let (number, scale) = match trimmed.strip_suffix('m') {
        Some(milli) => (milli, 0.001),
        None => (trimmed, 1.0),
    };
    let cores = number.parse::<f64>().map_err(|_| expected())? * scale;
    if !(0.01..=4096.0).contains(&cores) {
        return Err(expected());
    }
    Ok(Some(cores))
}
