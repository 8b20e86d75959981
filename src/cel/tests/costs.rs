//! Costs of runs and estimates. Expressions and figures are those of upstream's tables
//! (cel-go `interpreter/runtimecost_test.go`, `k8s.io/apiserver/pkg/cel/library/cost_test.go`).

use serde_json::{Value as Json, json};

use crate::{Cost, Env, NoSizes, Program, Type, Vars, schema::Sizes};

fn cost(env: &Env, source: &str, input: &[(&str, Json)]) -> u64 {
    let program = Program::compile(env, source).unwrap_or_else(|e| panic!("{source}: {e}"));
    let mut vars = Vars::new();
    for (name, json) in input {
        vars = vars.json(name, json);
    }
    let mut budget = u64::MAX;
    program
        .run(&vars, &mut budget)
        .unwrap_or_else(|e| panic!("{source}: {e}"));
    let spent = u64::MAX - budget;
    let estimate = program.estimated_cost(&NoSizes);
    assert!(
        estimate.min <= spent && spent <= estimate.max,
        "{source}: {spent} outside {estimate:?}"
    );
    spent
}

#[test]
fn of_runs() {
    let text = "x".repeat(500);
    let input = |ty: Type| Env::new().variable("input", ty).build();
    let none = Env::new().build();
    for (source, want) in [
        ("\"Hello World!\"", 0),
        ("[1, 2, 3]", 10),
        ("{\"a\": 1, \"b\": 2, \"c\": 3}", 30),
        ("[1, 2, 3].all(x, true)", 20),
        ("'123'.matches('[0-9]')", 2),
        ("false || false", 0),
        ("1 < 2", 1),
        ("1 == 2", 1),
        ("2 in [1, 2, 3]", 13),
        ("1 + 1", 1),
        ("true ? 1 : 2", 0),
        ("size(\"123\")", 1),
        ("'12345678901234567890' == '123456789012345678901234567890'", 2),
        ("string(1)", 1),
        ("false ? false : 1 > 3", 1),
        ("(1 > 2 ? 5 : 3) > 1", 2),
        ("(1 > 2 || 2 > 1) == true", 3),
        ("[{'k1': 1}, {'k2': 2}].all(x, true)", 77),
        ("sets.contains([1, 2, 3], [1, 2])", 27),
        ("sets.intersects([1, 2], [1])", 23),
        ("sets.equivalent([1, 2], [2, 1])", 29),
    ] {
        assert_eq!(cost(&none, source, &[]), want, "{source}");
    }
    let map = || Type::map(Type::String, Type::String);
    for (ty, source, value, want) in [
        (Type::list(Type::Int), "input", json!([1, 2]), 1),
        (map(), "input['key']", json!({"key": "v"}), 2),
        (Type::list(Type::String), "input[0]", json!(["v"]), 2),
        (map(), "input['ke' + 'y']", json!({"key": "v"}), 3),
        (Type::list(Type::String), "input[3-3]", json!(["v"]), 3),
        // Kubernetes charges nothing for `has` itself.
        (
            Type::map(Type::String, map()),
            "has(input.a.b)",
            json!({"a": {}}),
            2,
        ),
        (Type::list(Type::Int), "input.all(x, true)", json!([]), 2),
        (Type::String, "input.matches('[0-9]')", json!(text), 103),
        (Type::String, "bytes(input)", json!(text), 51),
        (Type::String, "input.contains(input)", json!(text), 2502),
        (Type::String, "input.startsWith(input)", json!("idc"), 3),
        (Type::String, "input.size()", json!("500"), 2),
        (
            Type::map(Type::String, Type::map(Type::String, Type::Int)),
            "input.all(k, input[k].single > 3)",
            json!({"val": {"single": 1}}),
            9,
        ),
    ] {
        assert_eq!(cost(&input(ty), source, &[("input", value)]), want, "{source}");
    }
    let two = Env::new()
        .variable("x", Type::Int)
        .variable("l", Type::list(Type::Int))
        .variable("m", Type::list(Type::Int))
        .variable("s", Type::String)
        .variable("t", Type::String)
        .build();
    let values = [
        ("x", json!(1)),
        ("l", json!([1])),
        ("m", json!([1])),
        ("s", json!("val1")),
        ("t", json!("val2222222")),
    ];
    for (source, want) in [
        ("(x > 2 ? l : m).all(y, true)", 6),
        ("\"abcdefg\".contains(s + t)", 6),
    ] {
        assert_eq!(cost(&two, source, &values), want, "{source}");
    }
}

#[test]
fn of_library_calls() {
    let none = Env::new().build();
    for (source, want) in [
        ("'abc'.lowerAscii()", 1),
        ("'abc'.replace('a', 'b')", 1),
        ("'abc def'.find('[a-z]+')", 2),
        ("url('https:://kubernetes.io/')", 3),
        ("isQuantity('200M')", 1),
        ("quantity('200M').isGreaterThan(quantity('100M'))", 3),
        ("ip('127.0.0.1').family()", 2),
        ("cidr('192.168.0.0/16').containsIP('192.168.10.6')", 5),
        ("format.dns1123Label()", 1),
        ("[1, 2].indexOf(2)", 12),
    ] {
        assert_eq!(cost(&none, source, &[]), want, "{source}");
    }
}

#[test]
fn estimates() {
    let schema = json!({"type": "object", "properties": {
        "names": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 5}},
        "open": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "maxProperties": 4, "additionalProperties": {"type": "string", "maxLength": 8}},
        "text": {"type": "string", "maxLength": 100},
        "mode": {"type": "string", "enum": ["on", "off"]},
        "n": {"type": "integer"}
    }});
    let env = Env::new()
        .variable("self", crate::schema::object_type(&schema))
        .variable("oldSelf", crate::schema::object_type(&schema))
        .build();
    let sizes = Sizes::new(&schema);
    for (source, min, max) in [
        ("self.n > 1", 3, 3),
        ("has(self.n)", 1, 1),
        ("self.n == 1 || self.n == 2", 3, 6),
        // range 2, condition 2 and step (1 + 1 + 1) for each of 10, result 1
        ("self.names.all(x, x == 'a')", 3, 53),
        ("self.text == 'abc'", 3, 3),
        ("self.text.startsWith('abc')", 3, 3),
        // 401 characters by 1 of the pattern
        ("self.text.matches('abc')", 3, 43),
        ("self.text == oldSelf.text", 5, 44),
        ("self.mode == oldSelf.mode", 5, 5),
        ("self.names == oldSelf.names", 5, 5),
        ("self.text + self.text == ''", 4, 84),
        ("self.n > 1 ? self.text : 'a'", 3, 5),
    ] {
        let program = Program::compile(&env, source).unwrap_or_else(|e| panic!("{source}: {e}"));
        assert_eq!(program.estimated_cost(&sizes), Cost { min, max }, "{source}");
    }
    // Nobody tells how long a number's text is: upstream refuses such a messageExpression too
    // (kubernetes/kubernetes#124234).
    let program = Program::compile(&env, "'n is ' + string(self.n)").unwrap();
    assert!(program.estimated_cost(&sizes).max > crate::CRD_RULE_LIMIT);
    let program = Program::compile(&env, "self.open.all(x, self.open.all(y, x == y))").unwrap();
    assert!(program.estimated_cost(&sizes).max > crate::CRD_RULE_LIMIT);
}

/// What upstream does lazily, or pays for when it is done, must not take all memory or time first.
#[test]
fn of_calls_that_would_never_end() {
    let env = Env::new()
        .variable("long", Type::list(Type::Int))
        .variable("texts", Type::list(Type::String))
        .build();
    let long: Vec<i64> = (0..100_000).collect();
    let texts = vec!["x".repeat(1000); 100_000];
    let vars = Vars::new();
    let (long, texts) = (json!(long), json!(texts));
    let vars = vars.json("long", &long).json("texts", &texts);
    let doubled = (0..40).fold("a".to_owned(), |body, _| format!("cel.bind(a, a + a, {body})"));
    for source in [
        format!("cel.bind(a, [1], {doubled}).size() > 0").as_str(),
        "long.distinct().size() > 0",
        "sets.contains(long, long)",
        "sets.equivalent(long, long)",
        "lists.range(1000000000000).size() > 0",
        "long.map(x, long).flatten().size() > 0",
        "long.map(x, texts.join()).size() > 0",
    ] {
        let program = Program::compile(&env, source).unwrap_or_else(|e| panic!("{source}: {e}"));
        let mut budget = 10_000_000;
        let error = program.run(&vars, &mut budget).unwrap_err();
        assert!(
            matches!(error, crate::RunError::CallLimit | crate::RunError::Budget),
            "{source}: {error}"
        );
    }
    let env = Env::new().variable("x", Type::optional(Type::Int)).build();
    let source = format!("x{}.hasValue()", ".optMap(a, a)".repeat(35));
    let error = Program::compile(&env, &source).unwrap_err();
    assert!(
        error.to_string().contains("expression size limit exceeded"),
        "{error}"
    );
}
