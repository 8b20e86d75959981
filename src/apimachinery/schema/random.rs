//! Random objects for tests: the schema itself is the strategy.

use serde_json::{Value, json};

use super::{Schema, Type, TypeDef};

/// Random values that fit a type, from a seed: the schema is the strategy.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len() as u64) as usize]
    }

    pub(crate) fn object(&mut self, def: &TypeDef, depth: u32) -> Value {
        let mut object = serde_json::Map::new();
        for field in &def.fields {
            if matches!(&*field.name, "apiVersion" | "kind") && field.tag == 0 {
                continue;
            }
            // A required time or quantity has no empty value to stand for it.
            let optional = !(field.required && matches!(field.ty, Type::Time | Type::Quantity));
            if self.next(3) == 0 && optional {
                continue;
            }
            if let Some(value) = self.value(&field.ty, depth) {
                object.insert(field.name.to_string(), value);
            }
        }
        Value::Object(object)
    }

    fn value(&mut self, ty: &Type, depth: u32) -> Option<Value> {
        Some(match ty {
            Type::Bool => (self.next(2) == 0).into(),
            Type::Int32 => (self.next(1 << 32) as u32 as i32).into(),
            Type::Int64 => (self.next(u64::MAX) as i64).into(),
            Type::Float => (self.next(1000) as f64 / 8.0).into(),
            Type::String => self
                .pick(&["", "a", "long enough to be no flag", "zażółć", "\"\\\u{1}"])
                .into(),
            Type::Bytes => self.pick(&["", "AA==", "aGVsbG8="]).into(),
            Type::Quantity => self.pick(&["0", "500m", "1Gi", "3", "100k", "1e6"]).into(),
            Type::IntOrString if self.next(2) == 0 => (self.next(65536) as i32).into(),
            Type::IntOrString => self.pick(&["25%", "http", ""]).into(),
            Type::Time => self
                .pick(&["2024-01-02T03:04:05Z", "1969-12-31T23:59:59Z"])
                .into(),
            Type::MicroTime => self
                .pick(&["2024-01-02T03:04:05.000006Z", "1969-12-31T23:59:59.500000Z"])
                .into(),
            Type::Duration => self.pick(&["0s", "1m30s", "1.5ms", "-2h0m0s"]).into(),
            Type::RawExtension | Type::FieldsV1 | Type::Json => json!({"f:a": {}, "b": [1, null, "x"]}),
            Type::SchemaOrBool if self.next(2) == 0 => (self.next(2) == 0).into(),
            Type::SchemaOrStrings if self.next(2) == 0 => json!(["a", "b"]),
            Type::SchemaOrArray if self.next(2) == 0 && depth < 4 => {
                Value::Array(vec![self.object(Schema::json_schema_props(), depth + 3)])
            }
            Type::SchemaOrBool | Type::SchemaOrArray | Type::SchemaOrStrings => {
                if depth > 4 {
                    return None;
                }
                self.object(Schema::json_schema_props(), depth + 3)
            }
            Type::Message(_) | Type::List(_) | Type::Map(_) if depth > 6 => return None,
            Type::Message(id) => self.object(id.def(), depth + 1),
            Type::List(item) => {
                let items: Vec<Value> = (0..=self.next(2))
                    .filter_map(|_| self.value(item, depth + 1))
                    .collect();
                if items.is_empty() {
                    return None;
                }
                Value::Array(items)
            }
            Type::Map(item) => {
                let keys = 1 + self.next(2);
                let entries =
                    (0..keys).filter_map(|n| Some((format!("key{n}"), self.value(item, depth + 1)?)));
                Value::Object(entries.collect())
            }
        })
    }
}

/// The first place where two trees differ.
pub(crate) fn difference(a: &Value, b: &Value, at: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => x.keys().chain(y.keys()).find_map(|key| {
            let null = Value::Null;
            difference(
                x.get(key).unwrap_or(&null),
                y.get(key).unwrap_or(&null),
                &format!("{at}.{key}"),
            )
        }),
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x
            .iter()
            .zip(y)
            .enumerate()
            .find_map(|(i, (x, y))| difference(x, y, &format!("{at}[{i}]"))),
        _ if a == b => None,
        _ => Some(format!("{at}: {a} is not {b}")),
    }
}
