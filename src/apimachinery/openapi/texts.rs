//! Upstream's own descriptions of types and fields, compressed in the binary.

use std::collections::HashMap;
use std::io::Read as _;
use std::ops::Range;

use super::Descriptions;

/// Written by `cargo xtask generate`: the form stands at the head of `xtask/generate/texts.go`'s
/// `printTexts`, the texts' copyright and licence at the head of the file itself.
static PACKED: &[u8] = include_bytes!("../schema/v1.35.texts.z");

/// All texts, a megabyte: made for one document and dropped again.
#[derive(Debug)]
pub struct Texts {
    text: String,
    /// Where a type's own line and its fields' lines stand, by OpenAPI name.
    types: HashMap<String, Range<usize>>,
}

impl Texts {
    /// Unpacks the texts.
    ///
    /// # Panics
    /// Never: a test proves that what is in the binary can be unpacked.
    #[must_use]
    pub fn unpack() -> Texts {
        let mut text = String::new();
        flate2::read::ZlibDecoder::new(PACKED)
            .read_to_string(&mut text)
            .expect("the texts in this binary are well formed");
        let mut types = HashMap::new();
        let mut package = "";
        let mut open: Option<(String, usize)> = None;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let end = line.starts_with(['=', '>']);
            if end && let Some((name, start)) = open.take() {
                types.insert(name, start..at);
            }
            if let Some(name) = line.strip_prefix('=') {
                package = name.trim_end();
            } else if let Some(rest) = line.strip_prefix('>') {
                let name = rest.split_whitespace().next().unwrap_or_default();
                open = Some((format!("{package}.{name}"), at + 1));
            }
            at += line.len();
        }
        if let Some((name, start)) = open {
            types.insert(name, start..at);
        }
        Texts { text, types }
    }

    /// Lines of a type: its own, then its fields'; each begins with a name.
    fn lines(&self, type_name: &str) -> impl Iterator<Item = (&str, &str)> {
        let range = self.types.get(type_name).cloned().unwrap_or_default();
        self.text[range]
            .lines()
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
    }
}

impl Descriptions for Texts {
    fn of_type(&self, name: &str) -> Option<String> {
        self.lines(name).next().and_then(|(_, text)| plain(text))
    }

    fn of_field(&self, type_name: &str, field: &str) -> Option<String> {
        self.lines(type_name)
            .skip(1)
            .find(|(name, _)| *name == field)
            .and_then(|(_, text)| plain(text))
    }
}

/// Without escapes; `None` for an empty text.
fn plain(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn nearly_every_type_and_field_has_a_text() {
        let texts = Texts::unpack();
        let (mut fields, mut without) = (0, Vec::new());
        for def in Schema::get().types() {
            for field in &def.fields {
                fields += 1;
                if texts.of_field(&def.name, &field.name).is_none() {
                    without.push(format!("{}.{}", def.name, field.name));
                }
            }
        }
        assert!(fields > 2000, "{fields}");
        assert!(
            without.len() * 50 < fields,
            "{} of {fields}: {without:?}",
            without.len()
        );
    }

    #[test]
    fn texts_are_whole() {
        let texts = Texts::unpack();
        let pod = "io.k8s.api.core.v1.PodSpec";
        let policy = texts.of_field(pod, "restartPolicy").unwrap();
        assert!(
            policy.starts_with("Restart policy for all containers within the pod."),
            "{policy}"
        );
        assert!(
            policy
                .ends_with("\n\nPossible enum values:\n - `\"Always\"`\n - `\"Never\"`\n - `\"OnFailure\"`"),
            "{policy}"
        );
        assert_eq!(texts.of_type(pod).unwrap(), "PodSpec is a description of a pod.");
        let quantity = texts
            .of_type("io.k8s.apimachinery.pkg.api.resource.Quantity")
            .unwrap();
        assert!(
            quantity.contains("fixed-point representation of a number"),
            "{quantity}"
        );
        assert_eq!(texts.of_type("no.such.Type"), None);
        assert_eq!(texts.of_field(pod, "PodSpec"), None);
        assert!(
            texts.text.starts_with("# Descriptions of the Kubernetes API"),
            "the notice is kept"
        );
    }
}
