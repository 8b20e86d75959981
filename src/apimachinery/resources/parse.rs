//! The resource table's text form.
//!
//! ```text
//! group apps io.k8s.api.apps 17800
//! version v1
//! deployments Deployment namespaced short=deploy in=all
//! /scale autoscaling/v1/Scale get,patch,update
//! /status = get,patch,update
//! ```
//!
//! A group (`-` is core) has its types' package and its priority in discovery; versions stand in the order of
//! preference, `off` marking those not served by default. A resource may have `verbs=`, `short=`, `in=`
//! (categories), `singular=` (else the kind in lower case) and `stored=<group>/<version>` (else the first
//! version of its group that has it). A subresource belongs to the resource above it; its kind is `=` (the
//! resource's own), a kind of the same version, or `<group>/<version>/<Kind>`.

use super::{ResourceDef, Subresource};

/// Why a resource table can't be read.
#[derive(Debug, thiserror::Error)]
#[error("resource table, line {line}: {problem}")]
pub struct ParseError {
    line: usize,
    problem: String,
}

const ALL_VERBS: &str = "create,delete,deletecollection,get,list,patch,update,watch";

#[derive(Clone, Copy)]
struct Group {
    name: &'static str,
    package: &'static str,
    priority: u32,
}

pub(super) fn parse(text: &'static str) -> Result<Vec<ResourceDef>, ParseError> {
    let groups = groups(text)?;
    let mut group = groups[0];
    let (mut version, mut off) = ("", false);
    let mut out: Vec<ResourceDef> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let err = |problem: String| ParseError {
            line: number + 1,
            problem,
        };
        let words: Vec<&'static str> = line.split(' ').collect();
        match *words.as_slice() {
            ["" | "#", ..] => {}
            ["group", name, ..] => {
                let name = if name == "-" { "" } else { name };
                group = *groups
                    .iter()
                    .find(|group| group.name == name)
                    .expect("collected before");
            }
            ["version", name, ref rest @ ..] => (version, off) = (name, rest == ["off"]),
            [name, kind, verbs] if name.starts_with('/') => {
                let Some(parent) = out.last_mut() else {
                    return Err(err("no resource above".into()));
                };
                let sub = subresource(&name[1..], kind, verbs, parent, &groups)
                    .ok_or_else(|| err(format!("no group for {kind}")))?;
                parent.subresources.push(sub);
            }
            [
                name,
                kind,
                scope @ ("namespaced" | "cluster"),
                ref attributes @ ..,
            ] => {
                let mut def = resource(group, version, off, name, kind, scope == "namespaced");
                for attribute in attributes {
                    set(&mut def, attribute).ok_or_else(|| err(format!("no attribute {attribute}")))?;
                }
                out.push(def);
            }
            _ => return Err(err(format!("not understood: {line}"))),
        }
    }
    finish(&mut out);
    Ok(out)
}

fn groups(text: &'static str) -> Result<Vec<Group>, ParseError> {
    let mut groups = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some(rest) = line.strip_prefix("group ") else {
            continue;
        };
        let words: Vec<&'static str> = rest.split(' ').collect();
        let parsed = match *words.as_slice() {
            [name, package, priority] => priority.parse().ok().map(|priority| Group {
                name: if name == "-" { "" } else { name },
                package,
                priority,
            }),
            _ => None,
        };
        groups.push(parsed.ok_or_else(|| ParseError {
            line: number + 1,
            problem: format!("group {rest}"),
        })?);
    }
    if groups.is_empty() {
        return Err(ParseError {
            line: 1,
            problem: "no groups".into(),
        });
    }
    Ok(groups)
}

/// The table is read once and lives as long as the process.
fn leak(text: String) -> &'static str {
    text.leak()
}

fn resource(
    group: Group,
    version: &'static str,
    off: bool,
    name: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> ResourceDef {
    let list_kind = leak(format!("{kind}List"));
    ResourceDef {
        group: group.name,
        version,
        resource: name,
        kind,
        list_kind,
        singular: leak(kind.to_ascii_lowercase()),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        type_name: leak(format!("{}.{version}.{kind}", group.package)),
        list_type_name: leak(format!("{}.{version}.{list_kind}", group.package)),
        verbs: ALL_VERBS.split(',').collect(),
        subresources: Vec::new(),
        storage_prefix: "",
        storage_group: group.name,
        storage_version: "",
        group_priority: group.priority,
        off_by_default: off,
    }
}

fn set(def: &mut ResourceDef, attribute: &'static str) -> Option<()> {
    let (name, value) = attribute.split_once('=')?;
    match name {
        "verbs" => def.verbs = value.split(',').collect(),
        "short" => def.short_names = value.split(',').collect(),
        "in" => def.categories = value.split(',').collect(),
        "singular" => def.singular = value,
        "stored" => {
            let (group, version) = value.split_once('/')?;
            def.storage_group = if group == "-" { "" } else { group };
            def.storage_version = version;
        }
        _ => return None,
    }
    Some(())
}

fn subresource(
    name: &'static str,
    kind: &'static str,
    verbs: &'static str,
    parent: &ResourceDef,
    groups: &[Group],
) -> Option<Subresource> {
    let verbs = verbs.split(',').collect();
    let parts: Vec<&'static str> = kind.split('/').collect();
    let (group, version, kind) = match *parts.as_slice() {
        ["="] => (parent.group, parent.version, parent.kind),
        [kind] => (parent.group, parent.version, kind),
        [group, version, kind] => (group, version, kind),
        _ => return None,
    };
    let package = groups.iter().find(|candidate| candidate.name == group)?.package;
    Some(Subresource {
        name,
        group,
        version,
        kind,
        type_name: leak(format!("{package}.{version}.{kind}")),
        verbs,
    })
}

/// Fills what depends on other rows, and sorts.
fn finish(rows: &mut [ResourceDef]) {
    let first_versions: Vec<(&str, &str, &'static str)> = rows
        .iter()
        .map(|def| (def.group, def.resource, def.version))
        .collect();
    for def in &mut *rows {
        if def.storage_version.is_empty() {
            let first = first_versions
                .iter()
                .find(|row| row.0 == def.group && row.1 == def.resource);
            def.storage_version = first.map_or(def.version, |row| row.2);
        }
        let group = if def.storage_group.is_empty() {
            "core"
        } else {
            def.storage_group
        };
        def.storage_prefix = leak(format!("{group}/{}", def.resource));
    }
    // Stable: versions keep the table's order of preference, names are sorted in it already.
    rows.sort_by(|a, b| {
        let core_first = (!a.group.is_empty()).cmp(&!b.group.is_empty());
        core_first
            .then(b.group_priority.cmp(&a.group_priority))
            .then(a.group.cmp(b.group))
    });
}
