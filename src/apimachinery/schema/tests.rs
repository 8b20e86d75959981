use super::*;

const SMALL: &str = r#"# a comment
version v1.0.0
package io.k8s.api.x.v1
type Selector atomic
 matchLabels 1 {}string o atomic
type Volume
 name 1 string r
 kind 2/1 string o p enum=A,'',B\u0020C default="A\u0020b"
 items 3 []Volume o list=map:name,kind patch=merge,retainKeys key=name
 selector 4 io.k8s.api.x.v1.Selector z
"#;

#[test]
fn reads_every_attribute() {
    let schema = Schema::parse(SMALL).unwrap();
    assert_eq!(schema.version(), "v1.0.0");
    assert!(schema.type_by_name("io.k8s.api.x.v1.Selector").unwrap().atomic);
    let volume = schema.type_by_name("io.k8s.api.x.v1.Volume").unwrap();
    assert_eq!(volume.go_name(), "Volume");
    let names: Vec<&str> = volume.fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["items", "kind", "name", "selector"]);
    let wire: Vec<&str> = volume.wire_fields().map(|field| &*field.name).collect();
    assert_eq!(wire, ["name", "kind", "items", "selector"]);
    let kind = volume.field("kind").unwrap();
    assert_eq!(
        (&*kind.via, kind.tag, kind.pointer, kind.omitempty),
        (&[2][..], 1, true, true)
    );
    assert_eq!(kind.enum_values, ["A".into(), "".into(), Box::<str>::from("B C")]);
    assert_eq!(kind.default, Some("A b".into()));
    let items = volume.field("items").unwrap();
    assert_eq!((items.list_type, items.list_keys.len()), (ListType::Map, 2));
    assert!(items.patch_strategy.merge && items.patch_strategy.retain_keys && !items.patch_strategy.replace);
    assert_eq!(items.ty, Type::List(Box::new(Type::Message(volume.id))));
    assert!(volume.field("Name").is_none());
}

#[test]
fn names_the_line_of_a_fault() {
    for (text, want) in [
        (
            "version v1\npackage p\ntype T\n x 1 Missing\n",
            "line 4: no type \"Missing\"",
        ),
        (
            "version v1\npackage p\ntype T\n x one string\n",
            "line 4: \"one\" is not a tag",
        ),
        (
            "version v1\npackage p\ntype T\n x 1 string q\n",
            "line 4: no attribute \"q\"",
        ),
        (
            "version v1\n x 1 string\n",
            "line 2: a field stands before the first type",
        ),
        (
            "version v1\ntype T\n",
            "line 2: a type stands before the first package",
        ),
        ("package p\n", "no version line"),
    ] {
        let error = Schema::parse(text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn fields_are_found_by_their_whole_name() {
    for def in Schema::get().types() {
        for (index, field) in def.fields.iter().enumerate() {
            assert_eq!(
                def.field_index(&field.name),
                Some(index),
                "{} {}",
                def.name,
                field.name
            );
            let longer = format!("{}X", field.name);
            let shorter = &field.name[..field.name.len() - 1];
            for other in [longer.as_str(), shorter] {
                let expected = def.fields.iter().position(|field| &*field.name == other);
                assert_eq!(def.field_index(other), expected, "{} {other}", def.name);
            }
        }
        assert_eq!(def.field_index(""), None);
        assert_eq!(def.field_index("\0"), None);
    }
}
