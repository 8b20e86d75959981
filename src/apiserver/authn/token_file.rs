//! Static tokens: lines of `token,user,uid,"group1,group2"`.
//! Upstream: `authentication/token/tokenfile`.

use std::collections::HashMap;

use super::Error;
use crate::user::UserInfo;

/// Reads a token file's text.
///
/// # Errors
/// When a line has fewer than three columns or an empty token.
pub(super) fn parse(text: &str) -> Result<HashMap<String, UserInfo>, Error> {
    let mut all = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields = columns(line);
        let [token, name, uid, rest @ ..] = fields.as_slice() else {
            return Err(Error::TokenFile(format!(
                "line {} must have at least 3 columns (token, user name, user uid), found {}",
                number + 1,
                fields.len()
            )));
        };
        if token.is_empty() {
            return Err(Error::TokenFile(format!("line {}: empty token", number + 1)));
        }
        let groups = rest
            .first()
            .into_iter()
            .flat_map(|g| g.split(','))
            .map(str::trim)
            .filter(|g| !g.is_empty())
            .map(str::to_owned)
            .collect();
        let user = UserInfo {
            name: name.clone(),
            uid: uid.clone(),
            groups,
            ..Default::default()
        };
        all.insert(token.clone(), user);
    }
    Ok(all)
}

/// Comma-separated columns, double quotes around those that hold commas.
fn columns(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            c => all.last_mut().expect("never empty").push(c),
        }
    }
    all.iter_mut().for_each(|c| *c = c.trim().to_owned());
    all
}
