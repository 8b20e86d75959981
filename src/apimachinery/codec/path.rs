//! Where the decoder stands, as a list on the stack: it costs nothing until an error names it.

use crate::schema::Field;

/// One step from the object's root.
pub(super) enum Path<'a> {
    Root,
    /// A field of a type, whose Go name goes into type errors.
    Field {
        parent: &'a Path<'a>,
        owner: &'a str,
        field: &'a Field,
    },
    /// A key of a map.
    Key {
        parent: &'a Path<'a>,
        key: &'a str,
    },
    Index {
        parent: &'a Path<'a>,
        index: usize,
    },
}

impl Path<'_> {
    /// Upstream's strict errors name every step: `spec.containers[0].foo`.
    pub(super) fn strict(&self, last: &str) -> String {
        let mut out = String::new();
        self.write_strict(&mut out);
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(last);
        out
    }

    fn write_strict(&self, out: &mut String) {
        let (parent, step) = match self {
            Path::Root => return,
            Path::Field { parent, field, .. } => (parent, &*field.name),
            Path::Key { parent, key } => (parent, *key),
            Path::Index { parent, index } => {
                parent.write_strict(out);
                out.push_str(&format!("[{index}]"));
                return;
            }
        };
        parent.write_strict(out);
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(step);
    }

    /// What Go calls the scalar that is expected here, where it has a name of its own.
    pub(super) fn go_type(&self) -> Option<&str> {
        match self {
            Path::Root => None,
            Path::Field { field, .. } => field.go_type.as_deref(),
            Path::Key { parent, .. } | Path::Index { parent, .. } => parent.go_type(),
        }
    }

    /// Upstream's type errors name the innermost Go struct and only fields:
    /// `EnvVar.spec.containers.env.value`. None at the root.
    pub(super) fn go_field(&self) -> Option<String> {
        let mut owner = None;
        let mut names = Vec::new();
        let mut at = self;
        loop {
            at = match at {
                Path::Root => break,
                Path::Field {
                    parent,
                    owner: this,
                    field,
                } => {
                    owner.get_or_insert(*this);
                    names.push(&*field.name);
                    names.extend(field.go_embedded.as_deref());
                    parent
                }
                Path::Key { parent, .. } | Path::Index { parent, .. } => parent,
            };
        }
        names.push(owner?);
        names.reverse();
        Some(names.join("."))
    }
}
