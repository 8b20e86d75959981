//! Tables of expressions: values, types, errors here; costs in `tests/costs.rs`.

mod costs;
mod libraries;

use std::{cell::Cell, rc::Rc};

use serde_json::{Value as Json, json};

use crate::{
    Env, Program, RunError, Type, Vars, request, schema, types,
    value::{Fields, Made, Object, Value},
};

/// An environment with dynamic variables `a` to `d` and some typed ones.
fn env() -> Env {
    let object = schema::object_type(&schema());
    Env::new()
        .variable("a", Type::Dyn)
        .variable("b", Type::Dyn)
        .variable("x", Type::Int)
        .variable("flag", Type::Bool)
        .variable("names", Type::list(Type::String))
        .variable("self", object)
        .variable("authorizer", types::authorizer())
        .build()
}

fn schema() -> Json {
    json!({"type": "object", "properties": {
        "replicas": {"type": "integer"},
        "ratio": {"type": "number"},
        "namespace": {"type": "string"},
        "x-y": {"type": "string"},
        "when": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "port": {"x-kubernetes-int-or-string": true},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "rows": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    }})
}

/// The value of an expression as JSON, or the message of what went wrong.
fn eval(source: &str) -> Result<Json, String> {
    let program = Program::compile(&env(), source).map_err(|e| e.issues[0].message.clone())?;
    let this = json!({"replicas": 3, "ratio": 1, "namespace": "ns", "x-y": "z",
        "when": "2024-02-29T12:30:00Z", "wait": "1h30m", "port": "80%",
        "set": ["p", "q"], "rows": [{"k": "one", "v": 1}, {"k": "two", "v": 2}], "labels": {"app": "web"},
        "open": {"hidden": 1}});
    let (a, b) = (
        json!({"n": 7, "list": [1, 2, 3], "d": 1.5, "none": null}),
        json!("text"),
    );
    let (x, flag, names) = (json!(5), json!(true), json!(["ada", "bob"]));
    let vars = Vars::new()
        .json("self", &this)
        .json("a", &a)
        .json("b", &b)
        .json("x", &x)
        .json("flag", &flag)
        .json("names", &names);
    let mut budget = crate::POLICY_BUDGET;
    match program.run(&vars, &mut budget) {
        Ok(Value::Type(name)) => Ok(Json::String(name)),
        Ok(value) => value.to_json().ok_or_else(|| format!("a {}", value.type_name())),
        Err(error) => Err(error.to_string()),
    }
}

#[track_caller]
fn table(rows: &[(&str, Json)]) {
    for (source, expected) in rows {
        assert_eq!(eval(source).as_ref(), Ok(expected), "{source}");
    }
}

#[track_caller]
fn failures(rows: &[(&str, &str)]) {
    for (source, expected) in rows {
        match eval(source) {
            Ok(value) => panic!("{source} gave {value}"),
            Err(message) => assert!(message.contains(expected), "{source}: {message}"),
        }
    }
}

#[test]
fn values() {
    table(&[
        ("1 + 2 * 3 - 4 / 2", json!(5)),
        ("-7 % 3", json!(-1)),
        ("7u + 1u", json!(8)),
        ("1.5 + 0.25", json!(1.75)),
        ("0x1F", json!(31)),
        ("- 5", json!(-5)),
        ("-(5)", json!(-5)),
        ("!true || flag", json!(true)),
        ("'a' + \"b\" + r'\\n'", json!("ab\\n")),
        ("'\\u00e9\\x41\\101\\n'", json!("\u{e9}AA\n")),
        ("'''a\n'b'''", json!("a\n'b")),
        ("b'abc' == bytes('abc')", json!(true)),
        ("x > 3 ? 'big' : 'small'", json!("big")),
        ("[1, 2, 3][1]", json!(2)),
        ("{'k': 1}['k'] + {'k': 2}.k", json!(3)),
        ("2 in [1, 2]", json!(true)),
        ("'k' in {'k': 1}", json!(true)),
        ("a.n == 7 && a.d == 1.5", json!(true)),
        ("a.n == 7.0", json!(true)),
        ("has(a.n) && !has(a.missing)", json!(true)),
        ("a.none == null", json!(true)),
        ("a.list.size() + size(b)", json!(7)),
        ("dyn(1) == dyn('1')", json!(false)),
        ("type(1) == int && type(x) == int", json!(true)),
        ("type('s')", json!("string")),
        ("type([1])", json!("list")),
        ("string(1) + string(1.5) + string(true)", json!("11.5true")),
        ("int('42') + int(3.9) + int(2u)", json!(47)),
        ("double('1.5') + double(1)", json!(2.5)),
        ("duration('90s') == duration('1m30s')", json!(true)),
        ("duration('1h30m').getMinutes()", json!(90)),
        ("string(duration('1h1.5s'))", json!("3601.5s")),
        (
            "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
            json!(true),
        ),
        ("timestamp('2024-02-29T12:30:00Z').getDayOfWeek()", json!(4)),
        ("timestamp('2024-02-29T12:30:00Z').getHours('+02:00')", json!(14)),
        ("int(timestamp('1970-01-01T00:00:10Z'))", json!(10)),
        ("true || 1 / 0 == 1", json!(true)),
        ("1 / 0 == 1 || true", json!(true)),
        ("1 / 0 == 1 && false", json!(false)),
        ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", json!(true)),
    ]);
}

#[test]
fn macros() {
    table(&[
        ("names.all(n, n.size() == 3)", json!(true)),
        ("names.exists(n, n == 'bob')", json!(true)),
        ("names.exists_one(n, n.startsWith('a'))", json!(true)),
        ("names.map(n, n + '!')", json!(["ada!", "bob!"])),
        ("[1, 2, 3].map(i, i > 1, i * 10)", json!([20, 30])),
        ("names.filter(n, n != 'ada')", json!(["bob"])),
        (
            "a.list.map(i, a.list.map(j, i * j))",
            json!([[1, 2, 3], [2, 4, 6], [3, 6, 9]]),
        ),
        ("{'k': 1, 'l': 2}.map(k, k)", json!(["k", "l"])),
        ("[0, 2].exists(i, 4 / i == 2)", json!(true)),
        ("[1, 2].all(i, v, i + 1 == v)", json!(true)),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", json!(true)),
        ("[1, 2].existsOne(i, v, v == 2)", json!(true)),
        ("[4, 5].transformList(i, v, i * v)", json!([0, 5])),
        ("[4, 5].transformList(i, v, i > 0, v)", json!([5])),
        (
            "{'a': 1, 'b': 2}.transformMap(k, v, v * 2)",
            json!({"a": 2, "b": 4}),
        ),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", json!({"b": 2})),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", json!({"x": "a"})),
        ("cel.bind(y, x * 2, y + y)", json!(20)),
        ("optional.of(2).optMap(v, v * 3).orValue(0)", json!(6)),
        ("optional.none().optMap(v, v).orValue(9)", json!(9)),
        (
            "optional.of(2).optFlatMap(v, optional.of(v + 1)).value()",
            json!(3),
        ),
    ]);
    failures(&[
        ("[1, 0].all(i, 1 / i == 1)", "division by zero"),
        ("has(x)", "invalid argument to has() macro"),
        ("[1].all(a.b, true)", "argument must be a simple name"),
        ("[1].map(1, true)", "argument is not an identifier"),
        (
            "{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})",
            "insert failed: key x already exists",
        ),
    ]);
}

#[test]
fn optionals() {
    table(&[
        ("a.?n.orValue(0)", json!(7)),
        ("a.?missing.orValue(1)", json!(1)),
        ("a.?missing.deeper.hasValue()", json!(false)),
        ("a[?'n'].value()", json!(7)),
        ("a.list[?9].orValue(4)", json!(4)),
        ("[?optional.none(), ?optional.of(1)]", json!([1])),
        ("{?'k': optional.none(), 'l': 1}", json!({"l": 1})),
        ("optional.none().or(optional.of(3)).value()", json!(3)),
        ("optional.ofNonZeroValue('').hasValue()", json!(false)),
    ]);
    failures(&[("a.?missing.value()", "optional.none() dereference")]);
}

#[test]
fn typed_objects() {
    table(&[
        ("self.replicas + 1", json!(4)),
        ("type(self.ratio) == double", json!(true)),
        ("self.__namespace__ + self.x__dash__y", json!("nsz")),
        ("self.when.getFullYear()", json!(2024)),
        ("self.wait == duration('90m')", json!(true)),
        (
            "type(self.port) == string ? self.port == '80%' : self.port == 80",
            json!(true),
        ),
        ("self.set == ['q', 'p']", json!(true)),
        ("self.set + ['q', 'r']", json!(["p", "q", "r"])),
        ("self.rows.exists(r, r.k == 'two' && r.v == 2)", json!(true)),
        ("(self.rows + self.rows).size()", json!(2)),
        ("self.labels.app", json!("web")),
        ("self.labels.all(k, self.labels[k] != '')", json!(true)),
        ("has(self.replicas)", json!(true)),
    ]);
    failures(&[
        ("self.nothing", "undefined field 'nothing'"),
        ("self.open.hidden", "undefined field 'hidden'"),
        (
            "self.replicas == 'x'",
            "found no matching overload for '_==_' applied to '(int, string)'",
        ),
        ("self.labels.other", "no such key: other"),
    ]);
}

#[test]
fn compile_errors() {
    failures(&[
        ("y", "undeclared reference to 'y' (in container '')"),
        ("nope(1)", "undeclared reference to 'nope' (in container '')"),
        (
            "1 + 'a'",
            "found no matching overload for '_+_' applied to '(int, string)'",
        ),
        (
            "'a'.contains(1)",
            "found no matching overload for 'contains' applied to 'string.(int)'",
        ),
        ("x.y", "type 'int' does not support field selection"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("{1: 1, 'a': 2}", "expected type 'int' but found 'string'"),
        (
            "x.all(y, true)",
            "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        (
            "names.all(n, 1)",
            "found no matching overload for '_&&_' applied to '(bool, int)'",
        ),
        ("b.matches('[')", "invalid matches argument"),
        ("duration('1x')", "invalid duration argument"),
        ("timestamp('now')", "invalid timestamp argument"),
        ("Object{}", "undeclared reference to 'Object' (in container '')"),
        ("if", "reserved identifier: if"),
        (
            "1 +",
            "Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!'",
        ),
        ("1 2", "Syntax error: extraneous input '2' expecting <EOF>"),
        ("(1", "Syntax error: mismatched input '<EOF>' expecting ')'"),
        ("'abc", "Syntax error: token recognition error at: ''abc'"),
        ("99999999999999999999", "invalid int literal"),
    ]);
    let errors = Program::compile(&env(), "1 +\n zz == 2").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "ERROR: <input>:2:2: undeclared reference to 'zz' (in container '')\n |  zz == 2\n | .^"
    );
    let errors = Program::compile(&env(), "zz + yy").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "ERROR: <input>:1:1: undeclared reference to 'zz' (in container '')\n | zz + yy\n | ^\nERROR: <input>:1:6: undeclared reference to 'yy' (in container '')\n | zz + yy\n | .....^"
    );
}

#[test]
fn run_errors() {
    failures(&[
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("[1][2]", "index out of bounds: 2"),
        ("a.missing", "no such key: missing"),
        ("a.n + b", "no such overload"),
        ("a.n.contains('x')", "no such overload"),
        ("a.n ? 1 : 2", "no such overload"),
        (
            "timestamp('2024-02-29T12:30:00Z').getHours('600000:00')",
            "unknown time zone 600000:00",
        ),
    ]);
}

#[test]
fn outputs() {
    for (source, expected) in [
        ("1", "int"),
        ("a.n", "dyn"),
        ("names.map(n, n.size())", "list(int)"),
        ("{'a': [1.0]}", "map(string, list(double))"),
        ("[]", "list(dyn)"),
        ("flag ? names : []", "list(string)"),
        ("self.?labels", "optional_type(map(string, string))"),
        ("quantity('1')", "kubernetes.Quantity"),
        ("names.filter(n, true)[0]", "string"),
        ("type(1)", "type(int)"),
        (
            "authorizer.group('').resource('pods').check('get').allowed()",
            "bool",
        ),
        ("names.transformMap(i, n, n)", "map(int, string)"),
    ] {
        let program = Program::compile(&env(), source).unwrap_or_else(|e| panic!("{source}: {e}"));
        assert_eq!(program.output().to_string(), expected, "{source}");
    }
}

#[test]
fn limits() {
    let program = Program::compile(&env(), "a.map(i, a.map(j, a.map(k, i * j * k))).size()").unwrap();
    let long = json!((0..200).collect::<Vec<_>>());
    let vars = Vars::new().json("a", &long);
    let mut budget = crate::POLICY_BUDGET;
    assert_eq!(program.run(&vars, &mut budget).unwrap_err(), RunError::CallLimit);
    assert!(budget < crate::POLICY_BUDGET - crate::PER_CALL_LIMIT);
    let program = Program::compile(&env(), "a.all(i, i >= 0)").unwrap();
    let mut budget = 100;
    assert_eq!(program.run(&vars, &mut budget).unwrap_err(), RunError::Budget);
    assert_eq!(budget, 0);
    let deep = "(".repeat(300) + "1" + &")".repeat(300);
    let errors = Program::compile(&env(), &deep).unwrap_err();
    assert_eq!(
        errors.issues[0].message,
        "expression recursion limit exceeded: 250"
    );
    for long in [
        "1".to_owned() + &" + 1".repeat(5000),
        "a".to_owned() + &".a".repeat(5000),
    ] {
        let errors = Program::compile(&env(), &long).unwrap_err();
        assert_eq!(
            errors.issues[0].message,
            "expression recursion limit exceeded: 250"
        );
    }
    // What is read can be run on a stack of 2 MiB.
    for deep in [
        "1 + (".repeat(100) + "1" + &")".repeat(100),
        "1".to_owned() + &" + 1".repeat(230),
        "[1].map(x, ".repeat(40) + "x" + &")".repeat(40),
        // What upstream reads is read.
        "a.size() == 0 ? 1 : ".repeat(240) + "2",
        "(".repeat(240) + "a.size()" + &")".repeat(240),
    ] {
        let program = Program::compile(&env(), &deep).unwrap();
        assert!(program.estimated_cost(&crate::NoSizes).max > 0);
        assert!(program.run(&vars, &mut crate::POLICY_BUDGET.clone()).is_ok());
    }
    let wide = "true".to_owned() + &" && true".repeat(5000);
    assert!(Program::compile(&env(), &wide).is_ok());
}

#[test]
fn what_a_program_reads() {
    let program = Program::compile(&env(), "names.all(x, x != '') && a.n == 1").unwrap();
    assert!(program.reads("names") && program.reads("a"));
    assert!(!program.reads("x"), "a macro's variable is not the environment's");
}

#[test]
fn fields_that_a_program_reads() {
    let fields = |source: &str| {
        let program = Program::compile(&env(), source).unwrap();
        program.fields_of("a").map(|f| f.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(
        fields("a.n + a.list[0] + a['d']"),
        Some(vec!["d".into(), "list".into(), "n".into()])
    );
    assert_eq!(
        fields("a.?m.hasValue() && has(a.k)"),
        Some(vec!["k".into(), "m".into()])
    );
    assert_eq!(fields("size(a) == 1"), None);
    assert_eq!(fields("a[b] == 1"), None);
    assert_eq!(fields("[1].all(a, a == 1)"), Some(Vec::new()));
}

#[test]
fn made_fields_are_charged_once() {
    let fields = [("x".to_owned(), Type::Int)];
    let env = Env::new()
        .variable("variables", request::variables_type(&fields))
        .build();
    let program = Program::compile(&env, "variables.x + variables.x").unwrap();
    let made = Made {
        value: Ok(Value::Int(2)),
        cost: Rc::new(Cell::new(50)),
    };
    let object = Object {
        ty: std::sync::Arc::default(),
        fields: Fields::Made(Rc::new([("x".to_owned(), made)].into())),
    };
    let vars = Vars::new().value("variables", Value::Object(object));
    let mut budget = 1000;
    assert!(matches!(program.run(&vars, &mut budget), Ok(Value::Int(4))));
    // Two names with a field each, one addition, the making.
    assert_eq!(1000 - budget, 2 * 2 + 1 + 50);
    let failed = Made {
        value: Err(RunError::Failed("no".into())),
        cost: Rc::new(Cell::new(1)),
    };
    let object = Object {
        ty: std::sync::Arc::default(),
        fields: Fields::Made(Rc::new([("x".to_owned(), failed)].into())),
    };
    let vars = Vars::new().value("variables", Value::Object(object));
    assert_eq!(
        program.run(&vars, &mut budget).unwrap_err(),
        RunError::Failed("no".into())
    );
}

#[test]
fn objects_for_patches() {
    let env = request::policy(false, true);
    let source = "Object{spec: Object.spec{replicas: 3, ?paused: optional.none()}}";
    let program = Program::compile(&env, source).unwrap();
    assert_eq!(program.output().to_string(), "Object");
    let vars = Vars::new();
    let mut budget = crate::POLICY_BUDGET;
    let value = program.run(&vars, &mut budget).unwrap();
    assert_eq!(value.to_json().unwrap(), json!({"spec": {"replicas": 3}}));
    let source = "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]";
    let program = Program::compile(&env, source).unwrap();
    assert_eq!(program.output().to_string(), "list(JSONPatch)");
    let value = program.run(&vars, &mut budget).unwrap();
    assert_eq!(
        value.to_json().unwrap(),
        json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "x"}])
    );
    let wrong = Program::compile(&env, "[JSONPatch{op: 1}]").unwrap_err();
    assert_eq!(
        wrong.issues[0].message,
        "expected type of field 'op' is 'string' but provided type is 'int'"
    );
}

#[test]
fn names_are_escaped() {
    for (json, escaped) in [
        ("namespace", Some("__namespace__")),
        ("a-b", Some("a__dash__b")),
        ("a.b/c", Some("a__dot__b__slash__c")),
        ("a__b", Some("a__underscores__b")),
        ("int", Some("int")),
        ("in", Some("__in__")),
        ("9a", None),
        ("a$", None),
    ] {
        assert_eq!(crate::names::escape(json).as_deref(), escaped, "{json}");
        if let Some(escaped) = escaped {
            assert_eq!(crate::names::unescape(escaped).as_deref(), Some(json));
        }
    }
}
